"""The exported file's contract, and that nothing wrong is ever left behind."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from factories import CHECKOUT, SMALL_CONFIG, TINY_CONFIG, compile_model

from yolact_ascend.errors import ArtifactError, UsageError, WeightsError
from yolact_ascend.files import sha256_file
from yolact_ascend.models import export
from yolact_ascend.models.config import CONFIGS, DEFAULT_CONFIG
from yolact_ascend.models.export import (
    TOLERANCE,
    Difference,
    check_contract,
    export_onnx,
    largest_by_output,
    refuse_different,
)
from yolact_ascend.models.families import FAMILIES
from yolact_ascend.models.host_part import heads_file
from yolact_ascend.models.inputs import input_tensor
from yolact_ascend.models.labels import COCO_CLASSES
from yolact_ascend.models.yolact.cuts import cut_outputs
from yolact_ascend.tensors import TensorSpec

IMAGE = input_tensor(CONFIGS[DEFAULT_CONFIG])
OUTPUTS, TINY_OUTPUTS = (cut_outputs(config, "fpn") for config in (CONFIGS[DEFAULT_CONFIG], TINY_CONFIG))
YOLACT = FAMILIES["yolact"]


@pytest.fixture(scope="module")
def model(small_weights, tmp_path_factory):
    """The smallest network that upstream has, exported; what it computes is compared with PyTorch on a smaller one."""
    path = tmp_path_factory.mktemp("small") / "yolact_edge.onnx"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(export, "compare_with_torch", lambda *_: [])
        export_onnx(small_weights, SMALL_CONFIG, path)
    return onnx.load(path)


@pytest.fixture(scope="module")
def exported_again(tiny_onnx, tiny_weights, tmp_path_factory):
    """`tiny_onnx` made once more, and how far it is from PyTorch."""
    path = tmp_path_factory.mktemp("again") / tiny_onnx.name
    return path, export_onnx(tiny_weights, TINY_CONFIG, path)


def test_names_shapes_and_opset(model):
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 11)]
    assert [value.name for value in model.graph.input] == ["image"]
    assert [value.name for value in model.graph.output] == [f"output{i}" for i in range(6)]
    dims = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.output]
    assert dims == [
        ["batch", 256, 69, 69],
        ["batch", 256, 35, 35],
        ["batch", 256, 18, 18],
        ["batch", 256, 9, 9],
        ["batch", 256, 5, 5],
        ["batch", 138, 138, 32],
    ]


def test_the_graph_is_simplified(model):
    """Batch norms are folded, and the only shape arithmetic left is the free batch axis of the two FPN upsamplings."""
    counts = Counter(node.op_type for node in model.graph.node)
    assert "BatchNormalization" not in counts and "Identity" not in counts
    assert counts["Resize"] == 3 and counts["Shape"] <= 2 and counts["Transpose"] == 1
    assert set(counts) <= {"Conv", "Relu", "Clip", "Add", "Resize", "Shape", "Slice", "Concat", "Constant", "Transpose"}


def test_metadata_says_where_it_comes_from(model, small_weights):
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["config"] == SMALL_CONFIG.name
    assert metadata["cut"] == "fpn"
    assert metadata["network"] == "yolact_ascend"
    assert metadata["weights_sha256"] == sha256_file(small_weights)
    assert json.loads(metadata["class_names"]) == list(COCO_CLASSES)
    assert json.loads(metadata["category_ids"])[-1] == 90
    assert json.loads(metadata["mean_rgb"]) == [123.68, 116.78, 103.94]
    assert json.loads(metadata["std_rgb"]) == [58.40, 57.12, 57.38]


def test_it_was_compared_with_torch_at_two_batch_sizes(exported_again):
    _, differences = exported_again
    assert {d.batch_size for d in differences} == {1, 3}
    names = [spec.name for spec in TINY_OUTPUTS]
    assert [d.output for d in largest_by_output(differences)] == [*names, "loc", "conf", "coeffs"]
    assert all(0 <= d.relative < 1e-4 for d in differences)
    assert {d.output for d in differences if d.batch_size == 3} == set(names)  # the host has one image at a time


def test_any_batch_size_runs(tiny_onnx):
    session = onnxruntime.InferenceSession(str(tiny_onnx), providers=["CPUExecutionProvider"])
    outputs = session.run(None, {"image": np.zeros((2, *IMAGE.shape), np.float32)})
    assert [output.shape for output in outputs] == [(2, *spec.shape) for spec in TINY_OUTPUTS]


def test_the_same_weights_give_the_same_bytes(tiny_onnx, exported_again):
    """Later stages recognise an unchanged model by its content."""
    again, _ = exported_again
    assert sha256_file(again) == sha256_file(tiny_onnx)
    assert sha256_file(heads_file(again)) == sha256_file(heads_file(tiny_onnx))


def test_without_onnxsim_it_computes_the_same(tiny_onnx, tiny_weights, emulation, tmp_path, monkeypatch, capsys):
    """Python 3.9 on aarch64 (OrangePi AIPro, openEuler 22.03) has no wheel of it (first_contact.md, Hosts)."""
    monkeypatch.setitem(sys.modules, "onnxsim", None)
    path = tmp_path / "yolact_edge.onnx"
    assert max(difference.relative for difference in export_onnx(tiny_weights, TINY_CONFIG, path)) < TOLERANCE
    assert "onnxsim is not installed" in capsys.readouterr().err
    image = np.random.default_rng(0).standard_normal((2, *IMAGE.shape), dtype=np.float32)
    found, simplified = (
        onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"]).run(None, {"image": image})
        for file in (path, tiny_onnx)
    )
    for one, other in zip(found, simplified):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())  # order of additions
    assert compile_model(path, emulation, "plain").is_file()


def test_no_file_of_the_user_is_in_the_place_of_the_heads(tiny_weights, tiny_heads_onnx, tmp_path):
    """Such as a model that was exported under that name, by --cut=heads --output=yolact_heads.onnx."""
    other = tmp_path / "yolact_heads.onnx"
    shutil.copy(tiny_heads_onnx, other)
    before = other.read_bytes()
    with pytest.raises(UsageError, match=r"yolact_heads\.onnx is in the way: .*--output=FILE"):
        export_onnx(tiny_weights, TINY_CONFIG, tmp_path / "yolact.onnx")
    assert other.read_bytes() == before and list(tmp_path.iterdir()) == [other]


def test_heads_that_differ_from_torch_are_refused(tiny_weights, tmp_path, monkeypatch):
    def compare(path, network, outputs, samples):
        return [Difference(spec.name, 1, 1.0, 0.1 if spec.name == "conf" else 0.0) for spec in outputs]

    monkeypatch.setattr(export, "compare_with_torch", compare)
    with pytest.raises(ArtifactError, match="differs from PyTorch: conf at batch 1"):
        export_onnx(tiny_weights, TINY_CONFIG, tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def refuse(*_):
    raise ArtifactError("refused")


@pytest.mark.parametrize("step", ["_simplify", "check_contract", "refuse_different"])
def test_a_failed_export_leaves_no_file(tiny_weights, tmp_path, monkeypatch, step):
    path = tmp_path / "yolact_edge.onnx"
    path.write_text("of an earlier run")
    monkeypatch.setattr(export, step, refuse)
    with pytest.raises(ArtifactError, match="refused"):
        export_onnx(tiny_weights, TINY_CONFIG, path)
    assert list(tmp_path.iterdir()) == []


def test_wrong_weights_leave_the_old_file(tmp_path):
    path = tmp_path / "yolact_edge.onnx"
    path.write_text("of an earlier run")
    with pytest.raises(WeightsError):
        export_onnx(tmp_path / "none.pth", SMALL_CONFIG, path)
    assert path.read_text() == "of an earlier run"


@pytest.mark.parametrize("relative", [1.1e-4, 1.0, float("nan"), float("inf")])
def test_what_differs_from_torch_is_refused(relative):
    fine = Difference("output0", 1, 1e-6, 1e-6)
    with pytest.raises(ArtifactError, match="output3 at batch 3"):
        refuse_different([fine, Difference("output3", 3, 0.5, relative)])


def test_of_several_that_differ_the_worst_is_named():
    slight, gross = Difference("output1", 1, 0.1, 2e-4), Difference("output4", 3, 0.2, 3e-4)
    not_a_number = Difference("output2", 1, 0.3, float("nan"))
    for differences, named in (
        ([slight, gross], "output4 at batch 3 by 2.00e-01 (relative 3.00e-04, allowed 1e-04)"),
        ([gross, slight], "output4 at batch 3 by 2.00e-01 (relative 3.00e-04, allowed 1e-04)"),
        ([gross, not_a_number, slight], "output2 at batch 1 by 3.00e-01 (relative nan, allowed 1e-04)"),
    ):
        with pytest.raises(ArtifactError, match=re.escape(named)):
            refuse_different(differences)


def test_the_largest_difference_of_each_output_is_reported_in_the_models_order():
    small, large = Difference("output0", 1, 0.5, 1e-6), Difference("output0", 3, 0.1, 2e-6)
    other = Difference("output1", 1, 0.2, 5e-6)
    assert largest_by_output([]) == []
    assert largest_by_output([small, other, large]) == [large, other]
    assert largest_by_output([large, other, small]) == [large, other]
    assert largest_by_output([small, other, small._replace(batch_size=3)]) == [small, other]


def test_what_agrees_with_torch_is_accepted():
    refuse_different([])
    refuse_different([Difference("output0", 1, 0.5, 1e-4)])


def test_coefficients_are_allowed_what_tanh_makes_of_them():
    refuse_different([Difference("coeffs", 1, 0.5, 1e-3)])
    with pytest.raises(ArtifactError, match="coeffs at batch 1 .*allowed 1e-03"):
        refuse_different([Difference("coeffs", 1, 0.5, 1.1e-3)])


def test_weights_that_are_not_finite_are_refused(tiny_weights, tmp_path):
    state = torch.load(tiny_weights, weights_only=True)
    state["proto_net.0.bias"][3] = float("nan")
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(WeightsError, match="holds NaN or infinite values in 1 tensors .proto_net.0.bias: 1 of 64"):
        export_onnx(tmp_path / "nan.pth", TINY_CONFIG, tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


def set_dim(value, axis, field, to):
    setattr(value.type.tensor_type.shape.dim[axis], field, to)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: setattr(m.opset_import[0], "version", 12), "opset 12 and .*, expected opset 11"),
        (
            lambda m: m.graph.output.reverse(),
            r"opset 11 and \{'image': .*'output5': .*'output0': .*, expected",
        ),
        (lambda m: m.graph.output.pop(), r"opset 11 and .*'output4': \['batch', 256, 5, 5\]\}, expected opset 11"),
        (lambda m: set_dim(m.graph.output[0], 0, "dim_value", 1), r"'output0': \[1, 256, 69, 69\]"),
        (lambda m: setattr(m.graph.node[-1], "op_type", "NoSuchOp"), "is not valid"),
    ],
    ids=["opset", "order", "an output lacks", "batch fixed", "not ONNX"],
)
def test_a_broken_contract_is_refused(model, tmp_path, change, message):
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    change(changed)
    onnx.save(changed, tmp_path / "changed.onnx")
    with pytest.raises(ArtifactError, match=message):
        check_contract(tmp_path / "changed.onnx", [IMAGE], OUTPUTS, YOLACT)


def test_a_graph_whose_shapes_contradict_each_other_is_refused(tmp_path):
    """Names, shapes and opset are those of the contract, and each node is well formed: the full check alone sees it."""
    image, output = TensorSpec("image", (3, 4, 4)), TensorSpec("output0", (3, 4, 4))
    values = [
        onnx.helper.make_tensor_value_info(spec.name, onnx.TensorProto.FLOAT, ["batch", *spec.shape])
        for spec in (image, output)
    ]
    opset = onnx.helper.make_opsetid("", 11)
    for operator, is_valid in (("Relu", True), ("Flatten", False)):  # Flatten gives [batch,48]
        node = onnx.helper.make_node(operator, ["image"], ["output0"])
        graph = onnx.helper.make_graph([node], "graph", values[:1], values[1:])
        model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=6)
        onnx.checker.check_model(model)
        onnx.save(model, tmp_path / "a.onnx")
        if is_valid:
            check_contract(tmp_path / "a.onnx", [image], [output], YOLACT)
        else:
            with pytest.raises(ArtifactError, match="The exported ONNX is not valid: .*[Ii]nference error"):
                check_contract(tmp_path / "a.onnx", [image], [output], YOLACT)


@pytest.mark.upstream
def test_export_from_upstream_records_it(upstream_dir, small_weights, tmp_path):
    command = [sys.executable, "pth2onnx.py", f"--config={SMALL_CONFIG.name}", f"--trained_model={small_weights}"]
    command += [f"--upstream={upstream_dir}", f"--output={tmp_path / 'a.onnx'}"]
    result = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    check_contract(tmp_path / "a.onnx", [IMAGE], OUTPUTS, YOLACT)
    metadata = {entry.key: entry.value for entry in onnx.load(tmp_path / "a.onnx").metadata_props}
    assert metadata["network"].startswith("upstream yolact_edge @ a9a00281b33b3ac90253a4939773308a8f95e21d")
