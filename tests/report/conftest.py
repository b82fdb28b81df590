"""What the tests of reports share: a finished work folder of a network with some tasks."""

from dataclasses import replace

import pytest
from factories import TINY_CONFIG, write_coco
from finished import BATCH_SIZE, write_outputs

from yolact_ascend.models.config import CONFIGS
from yolact_ascend.pipeline.context import RunContext
from yolact_ascend.pipeline.records import Records
from yolact_ascend.pipeline.settings import parse_words
from yolact_ascend.process import Runner
from yolact_ascend.targets.folder import WorkFolder
from yolact_ascend.targets.onnxruntime.target import OnnxRuntimeTarget


@pytest.fixture
def finish(tmp_path, monkeypatch):
    """Return what writes a finished work folder of a network with these tasks, and gives its run."""
    write_coco(tmp_path / "coco", TINY_CONFIG)
    (tmp_path / "a.pth").write_bytes(b"weights")

    def finish(tasks, *words):
        monkeypatch.setitem(CONFIGS, TINY_CONFIG.name, replace(TINY_CONFIG, tasks=tasks))
        places = [f"weights={tmp_path}/a.pth", f"coco={tmp_path}/coco", f"out={tmp_path}/out"]
        named = [f"config={TINY_CONFIG.name}", "target=onnxruntime", f"bs={BATCH_SIZE}"]
        settings = parse_words([*places, *named, *words])
        run = RunContext(settings, OnnxRuntimeTarget(), Records(WorkFolder(settings.out)), Runner(0, {}))
        write_outputs(run, tasks)
        return run

    return finish
