"""What pyproject.toml cannot say: the metadata that clients of aclruntime read, and a build that leaves no files here.

The 2023 release of ais_bench asks `pkg_resources`, that of 2024 `working_set`, for the distribution "aclruntime". A
wheel has one .dist-info of its own, so the installed form gets the older kind of metadata, which both readers know.
"""

import shutil
import tempfile
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SCRATCH = tempfile.mkdtemp(prefix="ascend-emulation-")
[ACLRUNTIME] = Path(__file__).resolve().parent.glob("aclruntime-*.dist-info")


class BuildPackages(build_py):
    """Copies the packages, and the metadata of aclruntime."""

    def run(self) -> None:
        """Build; see the module."""
        super().run()
        folder = Path(self.build_lib) / f"{ACLRUNTIME.stem}.egg-info"
        folder.mkdir(exist_ok=True)
        shutil.copyfile(ACLRUNTIME / "METADATA", folder / "PKG-INFO")


try:
    # build/ here would be taken for the emulation's own sources, and a checkout may be read-only.
    setup(
        cmdclass={"build_py": BuildPackages},
        options={"build": {"build_base": SCRATCH}, "egg_info": {"egg_base": SCRATCH}},
    )
finally:
    shutil.rmtree(SCRATCH)
