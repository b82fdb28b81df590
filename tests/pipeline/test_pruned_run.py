"""A run of pruned weights: each of its commands knows the config, whose name is in no list."""

import dataclasses

import pytest
from factories import TINY_CONFIG, write_coco

from yolact_ascend.models.config import CONFIGS, listed_name, with_classes
from yolact_ascend.models.families import family_of
from yolact_ascend.models.labels import COCO_CATEGORY_IDS, COCO_CLASSES
from yolact_ascend.models.values import Preprocessing
from yolact_ascend.pipeline.context import RunContext
from yolact_ascend.pipeline.records import Records
from yolact_ascend.pipeline.settings import parse_words
from yolact_ascend.pipeline.stages import preprocess
from yolact_ascend.process import Runner
from yolact_ascend.targets.folder import WorkFolder
from yolact_ascend.targets.onnxruntime.target import OnnxRuntimeTarget

PRUNED = dataclasses.replace(TINY_CONFIG, name="pruned_config", widths=(("proto_net.4", 32),))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param(TINY_CONFIG, TINY_CONFIG.name, id="listed"),
        pytest.param(PRUNED, TINY_CONFIG.name, id="pruned"),
        pytest.param(dataclasses.replace(PRUNED, preprocessing=Preprocessing(96, 96)), None, id="of another input"),
    ],
)
def test_the_listed_config_of_a_pruned_one_has_its_preprocessing(config, expected):
    assert listed_name(config) == expected
    assert expected is None or CONFIGS[expected].preprocessing == config.preprocessing


@pytest.mark.needs("torch")
def test_preprocess_is_asked_for_the_config_that_was_pruned(tmp_path, monkeypatch):
    from yolact_ascend.models.weights import write_weights

    write_coco(tmp_path / "coco")
    config = with_classes(PRUNED, COCO_CLASSES, COCO_CATEGORY_IDS)  # those of the data set
    write_weights(family_of(config).build(config), config, tmp_path / "pruned.pth")
    settings = parse_words([f"weights={tmp_path}/pruned.pth", f"coco={tmp_path}/coco", f"out={tmp_path}/out"])
    assert settings.model_config.widths == PRUNED.widths
    run = RunContext(settings, OnnxRuntimeTarget(), Records(WorkFolder(settings.out)), Runner(0, {}))
    commands = []
    monkeypatch.setattr(Runner, "run_own", lambda _, command: commands.append(command))
    (step,) = preprocess.steps(run)
    step.work()
    assert f"--config={TINY_CONFIG.name}" in commands[0] and "--dtype=float32" in commands[0]
