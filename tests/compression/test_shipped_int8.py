"""The INT8 models in weights/ are of the weights beside them, hold the same integers, and find what they found."""

import json

import onnx
import pytest
from factories import CHECKOUT
from onnx import AttributeProto, numpy_helper

from yolact_ascend.compression.held_out import HeldOutScore
from yolact_ascend.compression.recipe import read_recipe
from yolact_ascend.files import sha256_file
from yolact_ascend.images.coco import load_dataset
from yolact_ascend.models.classes import config_of, read_config
from yolact_ascend.scenes.scenes import draw_dataset
from yolact_ascend.targets.described import config_of_onnx
from yolact_ascend.targets.folder import QuantizedFiles

WEIGHTS = CHECKOUT / "weights" / "yolact_edge_demo_pruned.pth"
FILES = QuantizedFiles(WEIGHTS, WEIGHTS.parent)


@pytest.fixture(scope="module")
def note():
    return json.loads(FILES.qdq.with_suffix(".json").read_text())


def int8_weights(path):
    """Return the int8 weights [O,...] of a model's convolutions."""
    tensors = [numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer]
    return [values for values in tensors if values.dtype == "int8" and values.ndim == 4]


def test_the_note_is_about_these_files(note):
    assert note["weights"] == {"file": WEIGHTS.name, "sha256": sha256_file(WEIGHTS)}
    assert note["sha256"] == {path.name: sha256_file(path) for path in (FILES.qdq, FILES.ascend)}
    assert note["recipe_sha256"] == read_recipe(note["recipe"]).sha256
    for path in (FILES.qdq, FILES.ascend):
        assert note["bytes"][path.name] == path.stat().st_size < note["bytes"]["float32"] / 3


def test_they_describe_the_network_that_they_are_of():
    expected = read_config(WEIGHTS, config_of(None, WEIGHTS))
    for path in (FILES.qdq, FILES.ascend):
        assert config_of_onnx(path) == expected


def test_ascends_form_has_the_integers_of_the_other():
    """But for the convolutions that ATC computes in float anyway; `offset` is FLOAT, or ATC reads 0."""
    ours, theirs = int8_weights(FILES.ascend), {values.tobytes() for values in int8_weights(FILES.qdq)}
    assert len(ours) > 40 and {values.tobytes() for values in ours} <= theirs
    quants = [node for node in onnx.load(FILES.ascend).graph.node if node.op_type == "AscendQuant"]
    kinds = {a.type for node in quants for a in node.attribute if a.name in ("scale", "offset")}
    assert kinds == {AttributeProto.FLOAT}


def test_the_model_scores_what_was_published(note, tmp_path):
    """Tolerance in points of mAP: another CPU rounds some values otherwise, and few scenes weigh a lot."""
    draw_dataset(tmp_path, train_images=1, val_images=note["first"]["images"], seed=note["seed"])
    dataset = load_dataset(tmp_path / "annotations" / "instances_val2017.json", tmp_path / "val2017")
    assert HeldOutScore(FILES.qdq, dataset, dataset.images)(FILES.qdq) == pytest.approx(
        note["first"]["mask_map"], abs=2
    )
