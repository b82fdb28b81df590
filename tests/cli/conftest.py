"""Fixtures of the tests of whole runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from factories import TINY_CONFIG, write_coco
from runs import ALL, Run


@pytest.fixture(scope="session")
def finished(tmp_path_factory, tiny_weights) -> Run:
    """A finished run of all stages on drawn images; tests work on copies of it."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("pipeline")
    weights = Path(shutil.copy(tiny_weights, folder))
    run = Run(folder, weights, write_coco(folder / "coco", TINY_CONFIG))
    assert run() == list(ALL)
    return run


@pytest.fixture
def copied(finished, tmp_path) -> Run:
    """A copy of the finished run: its records hold wherever it lies."""
    shutil.copytree(finished.out.parent, tmp_path / "w", copy_function=shutil.copy2)
    run = Run(tmp_path / "w", tmp_path / "w" / finished.weights.name, tmp_path / "w" / "coco")
    return run
