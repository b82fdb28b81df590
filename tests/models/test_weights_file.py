"""Weights files as people have them: each form gives the tensors of the plain file, and the shapes without PyTorch."""

import argparse
import io
import pickle
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import onnx
import pytest
import torch
from factories import CHECKOUT, SMALL_CONFIG, TINY_CONFIG, random_state_dict

from yolact_ascend.errors import WeightsError
from yolact_ascend.models.class_record import RECORD
from yolact_ascend.models.classes import read_config, with_numbers
from yolact_ascend.models.config import CONFIGS
from yolact_ascend.models.unreadable import explain_unreadable
from yolact_ascend.models.weights import expected_shapes, load_fitting, read_state_dict
from yolact_ascend.models.weights_file import read_shapes
from yolact_ascend.models.weights_pickle import ShapeReader
from yolact_ascend.models.yolact.network import YolactEdge


@pytest.fixture(scope="module")
def state():
    return random_state_dict(SMALL_CONFIG)


@pytest.fixture(scope="module")
def plain(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "plain.pth"
    torch.save(state, path)
    return read_state_dict(path, SMALL_CONFIG)


def v1_names(state):
    """Files of YOLACT's first release: one FPN, a level more, and the backbone's layers under an older name, too."""
    renamed = {k.replace("fpn_phase_1.", "fpn.").replace("fpn_phase_2.", "fpn."): v for k, v in state.items()}
    levels = {int(key.split(".")[2]) for key in renamed if key.startswith("fpn.downsample_layers.")}
    surplus = {f"fpn.downsample_layers.{len(levels)}.{kind}": torch.ones(3) for kind in ("weight", "bias")}
    return {**renamed, **surplus, "backbone.layer1.0.conv1.weight": torch.ones(2)}


def without_counters(state):
    return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}


# what upstream's load_weights takes as well
UPSTREAMS = {"v1": v1_names, "no counters": without_counters, "both": lambda state: without_counters(v1_names(state))}
FORMS = {
    **UPSTREAMS,
    "module.": lambda state: {f"module.{key}": value for key, value in state.items()},
    "state_dict": lambda state: {"epoch": 3, "state_dict": state, "optimizer": {"lr": 1.0}},
    "model": lambda state: {"model": v1_names(state), "iteration": 7},
    "weights": lambda state: {"weights": {f"module.{key}": value for key, value in state.items()}},
    "parameters": lambda state: {
        key: torch.nn.Parameter(value) if value.is_floating_point() else value for key, value in state.items()
    },
}
NOTES = {
    "v1": ["3 tensors of older code are not used, as in upstream (fpn_phase_2.downsample_layers.2.weight, "],
    "no counters": [" batch-norm counters are missing, which only training uses: they begin with 0."],
    "module.": ["'module.' is left out of the names."],
    "state_dict": ["the weights are those under 'state_dict'; not used: epoch, optimizer."],
    "weights": ["the weights are those under 'weights'.", "'module.' is left out of the names."],
    "parameters": [],
}


@pytest.mark.parametrize("is_old", [False, True], ids=["zip", "old format"])
@pytest.mark.parametrize("form", FORMS)
def test_each_form_gives_the_tensors_of_the_plain_file(state, plain, tmp_path, capsys, form, is_old):
    path = tmp_path / "a.pth"
    torch.save(FORMS[form](state), path, _use_new_zipfile_serialization=not is_old)
    found = read_state_dict(path, SMALL_CONFIG)
    assert found.keys() == plain.keys()
    counters = {key for key in found if key.endswith("num_batches_tracked")}
    assert all(torch.equal(found[key], plain[key]) for key in found.keys() - counters)
    YolactEdge(SMALL_CONFIG).load_state_dict(found)
    said = capsys.readouterr().err
    if form in NOTES:
        assert said.count("note: a.pth: ") == len(NOTES[form])
        assert all(note in said for note in NOTES[form])


@pytest.mark.parametrize("is_old", [False, True], ids=["zip", "old format"])
@pytest.mark.parametrize("form", FORMS)
def test_the_shapes_are_read_without_pytorch(state, tmp_path, form, is_old):
    path = tmp_path / "a.pth"
    torch.save(FORMS[form](state), path, _use_new_zipfile_serialization=not is_old)
    code = (
        "import sys, json; from pathlib import Path; from yolact_ascend.models.weights_file import read_shapes; "
        "shapes = read_shapes(Path(sys.argv[1])); print(json.dumps(shapes)); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code, path], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout
    shapes = read_shapes(path)
    key = next(key for key in shapes if key.endswith("prediction_layers.0.conf_layer.weight"))
    assert shapes[key] == tuple(state["prediction_layers.0.conf_layer.weight"].shape)
    assert len(shapes) >= len(without_counters(state))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_read_as_float32_and_that_is_said(state, tmp_path, capsys, dtype):
    other = {key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()}
    torch.save(other, tmp_path / "a.pth")
    found = read_state_dict(tmp_path / "a.pth", SMALL_CONFIG)
    assert {value.dtype for value in found.values()} == {torch.float32, torch.int64}
    assert all(torch.equal(value, other[key].to(value.dtype)) for key, value in found.items())
    name = str(dtype).replace("torch.", "")
    assert f"tensors are {name}: read as float32.\n" in capsys.readouterr().err


def test_a_plain_file_is_nothing_to_speak_of(state, tmp_path, capsys):
    torch.save(state, tmp_path / "a.pth")
    read_state_dict(tmp_path / "a.pth", SMALL_CONFIG)
    assert capsys.readouterr().err == ""


def test_a_training_starts_from_each_form(state, tmp_path):
    torch.save(v1_names(without_counters(state)), tmp_path / "a.pth")
    assert load_fitting(YolactEdge(SMALL_CONFIG), tmp_path / "a.pth", SMALL_CONFIG) == []


def test_two_state_dicts_are_refused_and_named(state, tmp_path):
    torch.save({"model": state, "state_dict": state}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="holds 2 state dicts, state_dict and model. Save the right one alone"):
        read_state_dict(tmp_path / "a.pth", SMALL_CONFIG)
    assert read_shapes(tmp_path / "a.pth") is None


def test_python_objects_beside_the_weights_are_named(state, tmp_path):
    torch.save({"model": state, "args": argparse.Namespace(lr=1)}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"holds Python objects \(argparse.Namespace\) .*torch.save\(model.state_d"):
        read_state_dict(tmp_path / "a.pth", SMALL_CONFIG)
    assert len(read_shapes(tmp_path / "a.pth")) == len(state)  # the objects are not made


@pytest.mark.parametrize(
    "message",
    [
        "Weights only load failed. Re-running `torch.load` ... WeightsUnpickler error: Unsupported class a.Thing",
        "WeightsUnpickler error: Unsupported global: GLOBAL a.Thing was not an allowed global by default. Please use",
        "WeightsUnpickler error: Trying to load unsupported GLOBAL a.Thing whose module a is blocked.",
    ],
    ids=["2.1", "2.13", "blocked"],
)
def test_each_pytorchs_words_for_an_object_are_understood(tmp_path, message):
    """pytorch/pytorch, torch/_weights_only_unpickler.py, from release 2.1 to 2.13."""
    assert "holds Python objects (a.Thing) beside" in explain_unreadable(tmp_path, pickle.UnpicklingError(message))


def test_a_program_of_torch_jit_is_named(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # recent PyTorch calls torch.jit deprecated
        torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(str(tmp_path / "a.pth"))
    with pytest.raises(WeightsError, match=r"a\.pth is a TorchScript program .*torch.save\(model.state_dict\(\)"):
        read_state_dict(tmp_path / "a.pth", SMALL_CONFIG)


def test_a_tensor_under_the_key_of_a_state_dict_is_no_state_dict(tmp_path):
    torch.save({"weights": torch.ones(3), "epoch": 3}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="holds no state dict: expected names with tensors, found a dict with wei"):
        read_state_dict(tmp_path / "a.pth", SMALL_CONFIG)


def test_quantized_weights_are_refused(state, tmp_path):
    """PyTorch would copy them into float32 as they are, off by their scale."""
    torch.save({**state, "proto_net.10.bias": torch.ones(32, dtype=torch.int8)}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"1 weights that are not float16 .*\(proto_net.10.bias int8\)\. Quantized"):
        read_state_dict(tmp_path / "a.pth", SMALL_CONFIG)


def test_a_note_is_said_once_in_a_process(state, tmp_path, capsys):
    """Several cuts of one network read the file several times."""
    torch.save({"model": state}, tmp_path / "a.pth")
    for _ in range(2):
        read_state_dict(tmp_path / "a.pth", SMALL_CONFIG)
    assert capsys.readouterr().err == "note: a.pth: the weights are those under 'model'.\n"


def small_file(path, config, count):
    """Write a file of the right shapes: each tensor has one value, repeated."""
    shapes = expected_shapes(with_numbers(config, count))
    torch.save({key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}, path)
    return path


def test_the_config_that_fits_is_named_whatever_the_classes(tmp_path):
    path = small_file(tmp_path / "a.pth", CONFIGS["yolact_edge_config"], 5)
    with pytest.raises(
        WeightsError, match=r"does not fit yolact_edge_mobile.* They fit yolact_edge_config, yolact_base_config, "
    ):
        read_state_dict(path, SMALL_CONFIG)


def test_another_number_of_classes_is_said(tmp_path):
    path = small_file(tmp_path / "a.pth", SMALL_CONFIG, 5)
    with pytest.raises(WeightsError, match=r"2 misshapen .* The file has 5 classes, expected 80"):
        read_state_dict(path, SMALL_CONFIG)
    assert read_state_dict(path, read_config(path, SMALL_CONFIG))


def test_only_a_counter_whose_batch_norm_is_there_is_made_up(state, tmp_path):
    prefix = next(key for key in state if key.endswith("num_batches_tracked")).rpartition(".")[0]
    torch.save({key: value for key, value in state.items() if not key.startswith(f"{prefix}.")}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=rf"5 missing \({prefix}"):
        read_state_dict(tmp_path / "a.pth", SMALL_CONFIG)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02.", b"<html>"])
def test_files_that_are_not_understood_have_no_shapes(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    assert read_shapes(tmp_path / "a.pth") is None
    assert read_shapes(tmp_path / "missing.pth") is None


def old_file(path):
    """Write a file of PyTorch's format before 1.6; return its bytes, and where its list of storages begins and ends."""
    state = {key: torch.ones(()).expand(shape) for key, shape in expected_shapes(TINY_CONFIG).items()}
    torch.save(state, path, _use_new_zipfile_serialization=False)
    assert read_state_dict(path, TINY_CONFIG)
    with path.open("rb") as file:
        reader = ShapeReader(file)
        for _ in ("magic number", "protocol version", "system information", "state dict"):
            reader.read()
        start, keys = file.tell(), reader.read()
        return path.read_bytes(), start, keys, file.tell()


def zip_after(content):
    """What `zipfile` takes for an archive, and PyTorch does not."""
    packed = io.BytesIO(content)
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr(f"a/{RECORD}", "no record")
    return packed.getvalue()


OLD_DAMAGES = {
    "bytes behind": (lambda c, start, keys, end: c + b"123", "is damaged: 3 bytes follow its last tensor, expected"),
    "an archive behind": (lambda c, start, keys, end: zip_after(c), r"is damaged: \d+ bytes follow its last tensor"),
    "a key left out": (
        lambda c, start, keys, end: c[:start] + pickle.dumps(keys[1:], 2) + c[end:],
        "its list of values does not fit its tensors .321 listed, 321 of them of tensors, expected 322",
    ),
    "a key too many": (
        lambda c, start, keys, end: c[:start] + pickle.dumps([*keys, "7"], 2) + c[end:],
        "its list of values does not fit its tensors .323 listed, 322 of them of tensors, expected 322",
    ),
    "a key twice": (
        lambda c, start, keys, end: c[:start] + pickle.dumps([*keys[1:], keys[1]], 2) + c[end:],
        "its list of values does not fit its tensors .322 listed, 321 of them of tensors, expected 322",
    ),
    "another count": (
        lambda c, start, keys, end: c[:end] + b"\2" + c[end + 1 :],
        "cannot be read as PyTorch weights .*wrong byte size",
    ),
    "cut": (lambda c, start, keys, end: c[:-1], r"cannot be read as PyTorch weights .*end at byte \d+\. Is it trunc"),
}


@pytest.mark.parametrize(("harm", "said"), OLD_DAMAGES.values(), ids=OLD_DAMAGES.keys())
def test_a_file_of_the_old_format_is_as_long_as_its_tensors(tmp_path, harm, said):
    """It has no checksums. Values of a key that is left out are whatever was in memory."""
    path = tmp_path / "a.pth"
    path.write_bytes(harm(*old_file(path)))
    assert read_config(path, TINY_CONFIG) == TINY_CONFIG
    with pytest.raises(WeightsError, match=said):
        read_state_dict(path, TINY_CONFIG)


def halved(state):
    return {key: value.half() if value.is_floating_point() else value for key, value in state.items()}


@pytest.mark.upstream
@pytest.mark.parametrize("is_old", [False, True], ids=["zip", "old format"])
@pytest.mark.parametrize("form", [*UPSTREAMS, "float16"])
def test_upstream_loads_the_same_tensors(upstream_dir, state, tmp_path, form, is_old):
    """haotian-liu/yolact_edge @ a9a0028, Yolact.load_weights, patched to run on a CPU."""
    path = tmp_path / "a.pth"
    torch.save({**UPSTREAMS, "float16": halved}[form](state), path, _use_new_zipfile_serialization=not is_old)
    code = (
        "import sys, torch; sys.path.insert(0, sys.argv[1]); from yolact_edge.data import set_cfg; "
        f"set_cfg('{SMALL_CONFIG.name}'); from yolact_edge.yolact import Yolact; net = Yolact(training=False); "
        "net.load_weights(sys.argv[2]); torch.save(net.state_dict(), sys.argv[3])"
    )
    words = [sys.executable, "-c", code, upstream_dir, path, tmp_path / "b.pth"]
    done = subprocess.run(words, cwd=upstream_dir, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    theirs = torch.load(tmp_path / "b.pth", weights_only=True)
    ours = read_state_dict(path, SMALL_CONFIG)
    assert set(ours) == {key for key in theirs if not key.startswith("semantic_seg_conv.")}
    assert all(torch.equal(theirs[key], ours[key]) for key in ours)


@pytest.mark.upstream
def test_the_export_has_the_same_initialisers_with_and_without_upstream(upstream_dir, tmp_path):
    """Of a file of YOLACT's first release with 5 classes of its own; the graph with the class layer.

    Integers are left out: they are sizes, and upstream reshapes in other steps.
    """
    state = random_state_dict(with_numbers(SMALL_CONFIG, 5))
    torch.save(without_counters(v1_names(state)), tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    found = []
    for name, words in (("ours.onnx", []), ("theirs.onnx", [f"--upstream={upstream_dir}"])):
        command = [sys.executable, "pth2onnx.py", f"--config={SMALL_CONFIG.name}", "--cut=heads"]
        command += [f"--trained_model={tmp_path / 'a.pth'}", f"--output={tmp_path / name}", *words]
        done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("3 tensors of older code are not used") == 1
        model = onnx.load(tmp_path / name)
        arrays = (onnx.numpy_helper.to_array(initialiser) for initialiser in model.graph.initializer)
        found.append(sorted((array.shape, array.tobytes()) for array in arrays if array.dtype == np.float32))
        names = next(entry.value for entry in model.metadata_props if entry.key == "class_names")
        assert names == '["class 1", "class 2", "class 3", "class 4", "class 5"]'
    assert len(found[0]) > 100
    assert found[0] == found[1]
