"""Fixtures of the tests of whole runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from factories import QUICK_CONFIG, QUICK_HEADS_ONNX, QUICK_ONNX, QUICK_WEIGHTS, write_coco
from runs import ALL, Run, start_own_verbs_here

from yolact_ascend.models.config import CONFIGS


@pytest.fixture(scope="session")
def quick_onnx(made) -> Path:
    """The network of `finished` as an ONNX file."""
    return made(QUICK_ONNX)


@pytest.fixture(scope="session")
def quick_heads_onnx(made) -> Path:
    """The same with its heads inside."""
    return made(QUICK_HEADS_ONNX)


@pytest.fixture(scope="session")
def finished(once, made) -> Run:
    """A finished run of all stages on drawn images, each in its own process; tests work on copies of it."""
    pytest.importorskip("torch")

    def fill(folder: Path) -> None:
        weights = Path(shutil.copy(made(QUICK_WEIGHTS), folder))
        run = Run(folder, weights, write_coco(folder / "coco", QUICK_CONFIG))
        assert run() == list(ALL)

    folder = once("pipeline", fill)
    return Run(folder, folder / Path(QUICK_WEIGHTS).name, folder / "coco")


@pytest.fixture
def copied(finished, tmp_path, monkeypatch) -> Run:
    """A copy of the finished run: its records hold wherever it lies. Further runs call our verbs in this process.

    There its config is a listed one.
    """
    start_own_verbs_here(monkeypatch)
    monkeypatch.setitem(CONFIGS, QUICK_CONFIG.name, QUICK_CONFIG)
    shutil.copytree(finished.out.parent, tmp_path / "w", copy_function=shutil.copy2)
    run = Run(tmp_path / "w", tmp_path / "w" / finished.weights.name, tmp_path / "w" / "coco")
    run.words["workers"] = "1"  # `finished` starts as many as there are cores, for the same bytes
    return run
