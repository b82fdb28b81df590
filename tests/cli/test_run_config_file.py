"""A run by a user's own Detectron2 config file: afterwards the model states the config, and nobody needs the file."""

import argparse
import pickle

import numpy as np
import pytest
import torch
from factories import random_rcnn_state_dict, write_coco
from runs import kill_in, start_own_verbs_here

import yolact_ascend
from yolact_ascend.cli.flags import chosen_config
from yolact_ascend.cli.main import main
from yolact_ascend.errors import UsageError
from yolact_ascend.host import cache
from yolact_ascend.models.config import get_config
from yolact_ascend.models.weights import load_network, write_weights
from yolact_ascend.pipeline.context import RunContext
from yolact_ascend.pipeline.records import Records
from yolact_ascend.pipeline.settings import parse_words
from yolact_ascend.pipeline.stages import export
from yolact_ascend.targets.described import read_description
from yolact_ascend.targets.folder import WorkFolder

NARROW = """_BASE_: ../Base-RCNN-FPN.yaml
MODEL:
  RESNETS: {STEM_OUT_CHANNELS: 8, RES2_OUT_CHANNELS: 16, WIDTH_PER_GROUP: 8}
  FPN: {OUT_CHANNELS: 16}
  RPN: {PRE_NMS_TOPK_TEST: 50, POST_NMS_TOPK_TEST: 30}
  ROI_HEADS: {NUM_CLASSES: 3}
  ROI_BOX_HEAD: {FC_DIM: 32}
INPUT: {MIN_SIZE_TEST: 90, MAX_SIZE_TEST: 120}
TEST: {DETECTIONS_PER_IMAGE: 10}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with mine.yaml, weights.pth of it, and a work folder with the exported model."""
    folder = tmp_path_factory.mktemp("config file")
    (folder / "mine.yaml").write_text(NARROW)
    config = get_config(str(folder / "mine.yaml"))
    torch.save({"model": random_rcnn_state_dict(config), "iteration": 3}, folder / "weights.pth")
    with pytest.MonkeyPatch.context() as patch:
        start_own_verbs_here(patch)
        assert main(words(folder)) == 0
    return folder


def words(folder, *more):
    own = [f"config={folder / 'mine.yaml'}", f"weights={folder / 'weights.pth'}", "to=export", f"out={folder / 'out'}"]
    return ["run", "target=onnxruntime", *own, *more]


def test_the_model_states_the_config_as_a_value(made):
    stated = read_description(made / "out" / "yolact_edge.onnx").config
    config = get_config(str(made / "mine.yaml"))
    assert (stated.name, stated.rcnn, stated.preprocessing) == (config.name, config.rcnn, config.preprocessing)
    assert stated.class_names == ("class 1", "class 2", "class 3")


def test_a_comment_changes_nothing_and_a_value_exports_again(made):
    def inputs():
        settings = parse_words(words(made)[1:])
        run = RunContext(settings, None, Records(WorkFolder(settings.out)), None)
        return export.steps(run)[0].inputs()

    path, before = made / "mine.yaml", inputs()
    try:
        path.write_text(f"# a comment\n{NARROW}SOLVER: {{BASE_LR: 0.5}}\n")
        assert inputs() == before
        path.write_text(NARROW.replace("PER_IMAGE: 10", "PER_IMAGE: 12"))
        assert inputs()["config"] != before["config"]
    finally:
        path.write_text(NARROW)


def test_the_exported_model_stands_in_without_the_file_and_the_weights(made):
    (made / "weights.pth").rename(made / "away.pth")
    (made / "mine.yaml").rename(made / "away.yaml")
    try:
        settings = parse_words([f"out={made / 'out'}", "target=onnxruntime"])
        assert settings.exported is not None
        assert settings.config == settings.model_config.name and settings.config.startswith("mine-")
        with pytest.raises(
            UsageError, match=f"config=mask_rcnn_R_50_FPN_3x: the exported model is one of {settings.config}"
        ):
            parse_words([f"out={made / 'out'}", "target=onnxruntime", "config=mask_rcnn_R_50_FPN_3x"])
        with pytest.raises(UsageError, match=r"There is no config file .*mine.yaml"):
            parse_words(words(made)[1:])
    finally:
        (made / "away.pth").rename(made / "weights.pth")
        (made / "away.yaml").rename(made / "mine.yaml")


def test_the_name_of_a_config_that_travels_in_weights_is_taken_where_they_record_it(made, tmp_path):
    config = get_config(str(made / "mine.yaml"))
    write_weights(load_network(made / "weights.pth", config), config, tmp_path / "trained.pth")
    settings = parse_words([f"config={config.name}", f"weights={tmp_path / 'trained.pth'}", f"out={tmp_path}"])
    assert (settings.config, settings.config_file, settings.model_config.rcnn) == (config.name, None, config.rcnn)
    with pytest.raises(UsageError, match=f"Unknown config '{config.name}'"):
        parse_words([f"config={config.name}", f"weights={made / 'weights.pth'}", f"out={tmp_path}"])


def test_the_flags_take_the_file_and_names_of_the_classes(made):
    given = argparse.Namespace(config=str(made / "mine.yaml"), trained_model=made / "weights.pth", classes="a,b,c")
    config = chosen_config(given)
    assert config.class_names == ("a", "b", "c") and config.fpn_channels == 16


def test_load_makes_the_model_of_a_pickle_and_the_file_once(made, tmp_path, monkeypatch):
    """By its cache; the pickle is of the form of Detectron2's model zoo."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    state = torch.load(made / "weights.pth", weights_only=True)["model"]
    value = {"model": {key: tensor.numpy() for key, tensor in state.items()}, "__author__": "Detectron2 Model Zoo"}
    (made / "weights.pkl").write_bytes(pickle.dumps(value))
    grey = np.full((60, 80, 3), 90, np.uint8)
    with yolact_ascend.load(made / "weights.pkl", config=made / "mine.yaml", target="onnxruntime") as model:
        found = model(grey)
        assert model.config.name.startswith("mine-") and len(found) > 0
    monkeypatch.setattr(cache, "_make", lambda *_: pytest.fail("made again"))
    with yolact_ascend.load(made / "weights.pkl", config=made / "mine.yaml", target="onnxruntime") as model:
        assert model(grey).to_coco(1) == found.to_coco(1)
    (tmp_path / "mine.yaml").write_text(NARROW.replace("PER_IMAGE: 10", "PER_IMAGE: 12"))
    with pytest.raises(pytest.fail.Exception, match="made again"):
        yolact_ascend.load(made / "weights.pkl", config=tmp_path / "mine.yaml", target="onnxruntime")


def test_a_run_that_is_killed_in_each_stage_ends_like_one_that_was_not(made, tmp_path):
    """Each start resumes at the stage that the last one was killed in; all of a run is killed at once."""
    coco, folder = write_coco(tmp_path / "coco", get_config(str(made / "mine.yaml"))), WorkFolder(tmp_path / "out")
    run = [f"config={made / 'mine.yaml'}", f"weights={made / 'weights.pth'}", f"coco={coco}", f"out={folder.root}"]
    run += ["device=emulation", "workers=1"]
    for stage in (stages := ["export", "compile", "preprocess", "infer", "postprocess"]):
        kill_in(run, stage, folder.outputs(1) / "0_0.bin" if stage == "infer" else None)
        done = [path.stem.partition("_")[0] for path in folder.records.glob("*.json")]
        assert sorted(done) == sorted(stages[: stages.index(stage)])
    assert main(["run", *run]) == 0
    paths = {"image_path": coco / "val2017", "json_file": coco / "annotations" / "instances_val2017.json"}
    paths["model"] = folder.model(1, ".om")
    names = {"box": "bbox_det_file", "mask": "mask_det_file"}
    streamed = {task: tmp_path / f"{task}.json" for task in names}
    flags = {**paths, **{names[task]: path for task, path in streamed.items()}, "device": "emulation", "workers": 1}
    assert main(["stream", *(f"--{name}={value}" for name, value in flags.items())]) == 0
    for task, path in folder.detections(1, ("box",)).items():
        assert path.read_bytes() == streamed[task].read_bytes() and len(path.read_text()) > 1000


def test_a_file_that_cannot_be_built_ends_the_run_with_its_sentence(made, tmp_path, capfd):
    (tmp_path / "bad.yaml").write_text(NARROW + "GLOBAL: {HACKED: 1}\n")
    assert main(["run", f"config={tmp_path / 'bad.yaml'}", f"weights={made / 'weights.pth'}"]) == 2
    assert f"{tmp_path / 'bad.yaml'}: GLOBAL.HACKED is no key of Detectron2" in capfd.readouterr().err
