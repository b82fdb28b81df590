"""Fixtures of the tests of whole runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from factories import TINY_CONFIG, write_coco
from runs import ALL, Run, start_own_verbs_here


@pytest.fixture(scope="session")
def finished(once, tiny_weights) -> Run:
    """A finished run of all stages on drawn images, each in its own process; tests work on copies of it."""
    pytest.importorskip("torch")

    def fill(folder: Path) -> None:
        weights = Path(shutil.copy(tiny_weights, folder))
        run = Run(folder, weights, write_coco(folder / "coco", TINY_CONFIG))
        assert run() == list(ALL)

    folder = once("pipeline", fill)
    return Run(folder, folder / tiny_weights.name, folder / "coco")


@pytest.fixture
def copied(finished, tmp_path, monkeypatch) -> Run:
    """A copy of the finished run: its records hold wherever it lies. Further runs call our verbs in this process."""
    start_own_verbs_here(monkeypatch)
    shutil.copytree(finished.out.parent, tmp_path / "w", copy_function=shutil.copy2)
    run = Run(tmp_path / "w", tmp_path / "w" / finished.weights.name, tmp_path / "w" / "coco")
    return run
