"""What pyproject.toml cannot say: the files beside the package that `run` needs, and a build that leaves no files here.

A wheel gets them in `yolact_ascend/share/`, where `files.shipped` finds them; a checkout, also an editable one, has no
such folder. In `share/` they lie as in a checkout, so that scripts find each other.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
SHARED = ("emulation", "golden", "patches", "scripts/apply_patch.sh", "weights")
# What only the checkout needs: documents, and how the stand-ins are installed alone.
LEFT_OUT = ("__pycache__", "*.egg-info", "*.md", "*_curve.png", "LICENSE", "ruff.toml", "pyproject.toml", "setup.py")
SCRATCH = tempfile.mkdtemp(prefix="yolact-ascend-")


class BuildPackages(build_py):
    """Copies the packages, and what a wheel needs beside them."""

    def run(self) -> None:
        """Build; see the module."""
        super().run()
        if self.editable_mode:
            return
        share = Path(self.build_lib) / "yolact_ascend" / "share"
        for name in SHARED:
            source, target = ROOT / name, share / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns(*LEFT_OUT))
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)


options = {"build": {"build_base": SCRATCH}}  # build/ here would outlive the files that were copied into it
if "bdist_wheel" in sys.argv or "dist_info" in sys.argv:
    options["egg_info"] = {"egg_base": SCRATCH}  # a checkout may be read-only
try:
    setup(cmdclass={"build_py": BuildPackages}, options=options)
finally:
    shutil.rmtree(SCRATCH)
