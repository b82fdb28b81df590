"""The two upstreams that scripts/apply_patch.sh knows, written down once more for its tests."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "apply_patch.sh"


@dataclass(frozen=True)
class Project:
    """One upstream: where its patch leads, and what the tests need to make or find a checkout."""

    name: str
    pin: str
    network_file: str
    patched_files: frozenset[str]
    url_variable: str
    dir_variable: str  # names a checkout for the tests, if there is one

    @property
    def patch(self) -> Path:
        return ROOT / "patches" / f"{self.name}.patch"

    @property
    def option(self) -> str:
        return f"--upstream={self.name}"


YOLACT_EDGE = Project(
    "yolact_edge",
    "a9a00281b33b3ac90253a4939773308a8f95e21d",
    "yolact_edge/yolact.py",
    frozenset(
        {
            "eval.py",
            "yolact_edge/data/coco.py",
            "yolact_edge/data/flying_chairs.py",
            "yolact_edge/data/youtube_vis.py",
            "yolact_edge/utils/augmentations.py",
            "yolact_edge/utils/cython_nms.pyx",
            "yolact_edge/yolact.py",
        }
    ),
    "YOLACT_EDGE_URL",
    "YOLACT_EDGE_DIR",
)
YOLACT = Project(
    "yolact",
    "57b8f2d95e62e2e649b382f516ab41f949b57239",
    "yolact.py",
    frozenset(
        {
            "data/coco.py",
            "eval.py",
            "layers/output_utils.py",
            "utils/augmentations.py",
            "utils/cython_nms.pyx",
            "yolact.py",
        }
    ),
    "YOLACT_URL",
    "YOLACT_DIR",
)
PROJECTS = (YOLACT_EDGE, YOLACT)
# For tests that need a real checkout: each project with the marker of the tests that need it.
MARKED = (
    pytest.param(YOLACT_EDGE, marks=pytest.mark.upstream, id=YOLACT_EDGE.name),
    pytest.param(YOLACT, marks=pytest.mark.yolact, id=YOLACT.name),
)


def given_checkout(project: Project) -> str:
    """Return the checkout that the project's variable names; skips the test when there is none."""
    given = os.environ.get(project.dir_variable)
    if not given:
        pytest.skip(f"no checkout of {project.name}: {project.dir_variable} is not set")
    return given
