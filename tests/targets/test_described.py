"""A model and what it states about itself, together and apart: copied, renamed, zipped, mixed up with another's."""

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from factories import TINY_CONFIG, describe_network

from yolact_ascend.errors import ArtifactError, NotDescribedError
from yolact_ascend.files import sha256_file
from yolact_ascend.models.description import KEY, to_json
from yolact_ascend.models.detector import load_detector
from yolact_ascend.models.families import cut_outputs
from yolact_ascend.models.host_part import heads_file
from yolact_ascend.models.inputs import input_tensor
from yolact_ascend.targets.compiled import Need, describe_model, write_sidecar
from yolact_ascend.targets.described import open_detector, read_description
from yolact_ascend.targets.folder import sidecar_file
from yolact_ascend.targets.onnxruntime.engine import OnnxEngine
from yolact_ascend.timings import Timings


def copy(tiny_onnx, folder, name="yolact_edge.onnx"):
    """Copy an exported model and its heads; the model under this name."""
    folder.mkdir(exist_ok=True)
    shutil.copy(heads_file(tiny_onnx), folder)
    return Path(shutil.copy(tiny_onnx, folder / name))


def with_sidecar(tiny_onnx, folder, suffix=".om"):
    """Write what passes for a compiled model of an exported one, and its side-car."""
    onnx_file = copy(tiny_onnx, folder)
    model = folder / f"yolact_edge_bs1{suffix}"
    model.write_bytes(b"compiled")
    if suffix == ".xml":
        model.with_suffix(".bin").write_bytes(b"weights")
    description = read_description(onnx_file)
    sha256 = sha256_file(onnx_file), description.weights_sha256
    tensors = (input_tensor(TINY_CONFIG),), cut_outputs(TINY_CONFIG, "fpn")
    need = Need("ascend", {}, *sha256, 1, TINY_CONFIG.name, "fpn", "fp16", *tensors)
    write_sidecar(model, describe_model(model, need, description, [], "atc"))
    return model


def detect(model, detector):
    """Return what is found in noise: boxes, scores, classes and masks."""
    pixels = np.random.default_rng(3).standard_normal((1, 3, 550, 550), dtype=np.float32)
    with OnnxEngine(model, threads=1) as engine:
        outputs = [output[0] for output in engine.infer([pixels])]
    found = detector.detect(outputs, 300, 400, "The outputs", "Stop.", Timings())
    return found.boxes_xyxy_px.tobytes(), found.scores.tobytes(), found.class_ids.tobytes(), found.masks


def test_an_exported_model_states_all_that_its_weights_and_config_did(tiny_onnx, tiny_weights):
    found = read_description(tiny_onnx)
    assert (found.config, found.cut, found.network) == (TINY_CONFIG, "fpn", "yolact_ascend")
    assert found.weights_sha256 == sha256_file(tiny_weights)
    assert found.host_part.file == "yolact_edge_heads.onnx"
    assert found.host_part.sha256 == sha256_file(heads_file(tiny_onnx))


@pytest.mark.needs("torch")
def test_the_heads_beside_a_model_detect_what_those_of_the_weights_do(tiny_onnx, tiny_weights):
    ours = detect(tiny_onnx, open_detector(tiny_onnx, read_description(tiny_onnx)))
    assert ours == detect(tiny_onnx, load_detector(tiny_weights, TINY_CONFIG, "fpn"))
    assert len(ours[3]) > 0


def test_a_renamed_moved_and_zipped_model_still_segments(tiny_onnx, tmp_path):
    """ultralytics/ultralytics#25897: a renamed export lost its task, and ran as a detector without masks."""
    expected = detect(tiny_onnx, open_detector(tiny_onnx, read_description(tiny_onnx)))
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tiny_onnx, "street/my model-détection.onnx")
        archive.write(heads_file(tiny_onnx), f"street/{heads_file(tiny_onnx).name}")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        archive.extractall(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "street").rename(tmp_path / "moved")
    model = tmp_path / "moved" / "my model-détection.onnx"
    assert read_description(model) == read_description(tiny_onnx)
    assert detect(model, open_detector(model, read_description(model))) == expected


def test_a_compiled_model_states_what_its_onnx_does(tiny_onnx, tmp_path):
    for suffix in (".om", ".xml"):
        model = with_sidecar(tiny_onnx, tmp_path, suffix)
        assert read_description(model) == read_description(tiny_onnx)
        moved = tmp_path / f"moved{suffix}"
        for name in model.parent.glob(f"{model.stem}.*"):
            shutil.copy(name, tmp_path / name.name.replace(model.stem, "moved"))
        assert read_description(moved) == read_description(tiny_onnx)


def test_missing_heads_are_named(tiny_onnx, tmp_path):
    model = copy(tiny_onnx, tmp_path)
    heads_file(model).unlink()
    with pytest.raises(ArtifactError) as caught:
        open_detector(model, read_description(model))
    assert str(caught.value) == (
        f"There is no {heads_file(model)}, the heads of yolact_edge.onnx, which run on the host. Export writes it: "
        "copy it beside the model, under that name, or export the model again."
    )


def test_heads_of_other_weights_are_refused_though_their_shapes_are_the_same(tiny_onnx, tmp_path):
    """onnx/onnx#6497: files of two models beside each other, of equal size, load and compute something else."""
    model = copy(tiny_onnx, tmp_path)
    heads = onnx.load(heads_file(model))
    bias = next(tensor for tensor in heads.graph.initializer if tensor.name.endswith("conf_layer.bias"))
    bias.raw_data = bytes(len(bias.raw_data))
    size = heads_file(model).stat().st_size
    onnx.save(heads, heads_file(model))
    assert heads_file(model).stat().st_size == size
    with pytest.raises(ArtifactError, match=r"yolact_edge_heads\.onnx is not the heads of yolact_edge\.onnx: its sha"):
        open_detector(model, read_description(model))


def test_a_cut_behind_the_heads_needs_no_file_beside(tiny_heads_onnx):
    model = tiny_heads_onnx
    assert not heads_file(model).exists()
    description = read_description(model)
    assert description.host_part is None and description.cut == "heads"
    assert open_detector(model, description).outputs == cut_outputs(TINY_CONFIG, "heads")


def drop_description(model):
    graph = onnx.load(model)
    kept = [entry for entry in graph.metadata_props if entry.key != KEY]
    del graph.metadata_props[:]
    graph.metadata_props.extend(kept)
    onnx.save(graph, model)


def test_a_model_of_an_older_version_is_told_from_a_damaged_one(tiny_onnx, tmp_path):
    model = copy(tiny_onnx, tmp_path)
    drop_description(model)
    with pytest.raises(NotDescribedError, match=r"an older version exported it.*Export the .*--config=NAME"):
        read_description(model)
    om = with_sidecar(tiny_onnx, tmp_path / "b")
    fields = json.loads(sidecar_file(om).read_text())
    sidecar_file(om).write_text(json.dumps({**fields, "schema": 5}))
    with pytest.raises(NotDescribedError, match="has schema 5, expected 6. Compile it again"):
        read_description(om)
    sidecar_file(om).unlink()
    with pytest.raises(NotDescribedError, match=r"There is no .*yolact_edge_bs1\.om\.json, which states the config"):
        read_description(om)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 7}, "has schema 7, expected 6: a newer yolact-ascend compiled this model"),
        ({"schema": "6"}, "has schema 6, expected 6"),
        ({"description": {**to_json(describe_network()), "schema": 2}}, "schema 2, expected 1: a newer yolact-ascend"),
        ({"description": to_json(replace(describe_network(), cut="?"))}, '"cut" is .*Compile it again'),
        ({"model_sha256": "0" * 64}, r"bs1\.om is not the file that yolact_edge_bs1\.om\.json describes"),
    ],
    ids=["newer", "text", "newer description", "damaged description", "another model"],
)
def test_a_side_car_that_cannot_be_used_is_no_missing_one(tiny_onnx, tmp_path, change, said):
    om = with_sidecar(tiny_onnx, tmp_path)
    fields = json.loads(sidecar_file(om).read_text())
    sidecar_file(om).write_text(json.dumps({**fields, **change}))
    with pytest.raises(ArtifactError, match=said) as caught:
        read_description(om)
    assert not isinstance(caught.value, NotDescribedError)


@pytest.mark.parametrize("name", ["none.onnx", "none.om"])
def test_a_model_that_is_not_there(tmp_path, name):
    with pytest.raises(ArtifactError, match="There is no model .*none"):
        read_description(tmp_path / name)
