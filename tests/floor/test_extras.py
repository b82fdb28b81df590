"""The core and the extras: one table, the lists of packages, and what is said when one is missing."""

import re
import subprocess
import sys

import pytest
from factories import CHECKOUT

from yolact_ascend import extras
from yolact_ascend.extras import (
    ALONE,
    CORE,
    EXPORT,
    OPENVINO,
    PACKAGES,
    TRACK,
    describe_missing,
    extra_of,
    how_to_install,
)


def packages_in(*names):
    lines = [line for name in names for line in (CHECKOUT / name).read_text().splitlines()]
    return {re.match(r"[\w-]+", line).group() for line in lines if line and not line.startswith("#")}


@pytest.mark.parametrize("extra", PACKAGES)
def test_the_table_has_what_the_lists_have(extra):
    names = [f"requirements-{extra}.txt" if extra else "requirements.txt"]
    if extra == EXPORT:
        names.append("requirements-build.txt")  # pyproject.toml adds it
    if extra in ALONE:
        names.append(f"requirements-{extra}-alone.txt")  # setup.sh installs it by --no-deps
    assert set(PACKAGES[extra]) == packages_in(*names)


@pytest.mark.parametrize("extra", ALONE)
def test_what_is_installed_alone_is_named_as_in_its_list(extra):
    lines = (CHECKOUT / f"requirements-{extra}-alone.txt").read_text().splitlines()
    assert ALONE[extra] == tuple(line.split(";")[0] for line in lines if not line.startswith("#"))


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("torch", EXPORT),
        ("torch.nn", EXPORT),
        ("cv2", CORE),
        ("openvino", OPENVINO),
        ("deprecate", TRACK),
        ("unheard_of", CORE),
    ],
)
def test_a_module_belongs_to_an_extra(module, extra):
    assert extra_of(module) == extra


def test_what_is_missing_is_installed_as_the_package_was(monkeypatch):
    assert describe_missing("torch") == (
        f"torch is not installed for {sys.executable}. Run bash scripts/setup.sh, and then .venv/bin/python."
    )
    assert how_to_install(OPENVINO) == "Run bash scripts/setup.sh openvino, and then .venv/bin/python."
    monkeypatch.setattr(extras, "IS_CHECKOUT", False)
    assert how_to_install(EXPORT) == 'Run pip install "yolact-ascend[export]".'
    assert how_to_install(TRACK) == (
        'Run pip install "yolact-ascend[track]", and pip install --no-deps trackers==2.6.1 supervision==0.31.2.'
    )
    assert how_to_install(extra_of("numpy")) == "Run pip install yolact-ascend."


# What a card's host imports: the work after the export, with the part of the network behind the device inside.
RUNTIME = (
    *("host.preprocess", "host.infer", "host.postprocess", "host.stream", "host.predict", "host.inference"),
    *("host.footage", "host.view", "host.track", "images.live"),
    *(
        "analysis.compare",
        "analysis.explain",
        "analysis.doctor",
        "report.report",
        "report.overlays",
        "report.time_per_image",
    ),
    *("models.detector", "models.families", "models.yolact.family", "models.yolact.detect", "models.classes"),
    *("targets.registry", "targets.compiled", "targets.ascend.target", "targets.ascend.engine"),
    *("pipeline.context", "pipeline.settings", "pipeline.stages.plan", "cli.main", "cli.orchestration", "download"),
)
BLOCKED = {module for extra in PACKAGES if extra for module in PACKAGES[extra].values()} | {"aclruntime", "ais_bench"}


def run_without(modules, code):
    """Run code in a Python of its own that has none of these modules."""
    blocker = f"import sys; sys.modules.update(dict.fromkeys({sorted(modules)!r}))\n"
    command = [sys.executable, "-c", blocker + code]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)


def test_the_core_alone_imports_all_that_runs_after_the_export():
    names = [f"yolact_ascend.{name}" for name in RUNTIME]
    done = run_without(BLOCKED, f"import importlib\nfor name in {names!r}: importlib.import_module(name)")
    assert done.returncode == 0, done.stderr


def test_the_blocker_blocks():
    done = run_without(BLOCKED, "import yolact_ascend.models.weights")
    assert done.returncode == 1 and "torch" in done.stderr
