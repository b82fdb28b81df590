"""Which target runs a model, and which values `device=` has."""

from pathlib import Path

import pytest

from yolact_ascend.errors import UsageError
from yolact_ascend.targets.ascend.target import AscendTarget
from yolact_ascend.targets.onnxruntime.target import OnnxRuntimeTarget
from yolact_ascend.targets.openvino.target import OpenVinoTarget
from yolact_ascend.targets.registry import DEFAULT_TARGET, TARGETS, read_device, target_of_model
from yolact_ascend.targets.torch.target import TorchTarget


def test_the_targets_by_name():
    found = {"ascend": AscendTarget, "onnxruntime": OnnxRuntimeTarget, "openvino": OpenVinoTarget, "torch": TorchTarget}
    assert found == TARGETS
    assert DEFAULT_TARGET == "ascend"
    assert {name: target.precisions for name, target in TARGETS.items()} == {
        "ascend": ("fp16", "fp32", "int8"),
        "onnxruntime": ("fp32", "int8"),
        "openvino": ("fp32", "bf16", "fp16", "int8"),
        "torch": ("fp32",),
    }


@pytest.mark.parametrize(
    ("model", "target"),
    [
        ("a/yolact_edge_bs8.om", AscendTarget),
        ("yolact_edge.onnx", OnnxRuntimeTarget),
        ("a.om.onnx", OnnxRuntimeTarget),
        ("a_bs8.xml", OpenVinoTarget),
        ("a_bs8.torch", TorchTarget),
    ],
)
def test_a_models_ending_tells_its_target(model, target):
    assert target_of_model(Path(model)) is target


@pytest.mark.parametrize("model", ["a.pth", "om", "a.om.json", "a.OM", ""])
def test_another_ending_is_refused(model):
    with pytest.raises(UsageError, match=r"--model=.*: expected a file that ends in \.om \(ascend\) or \.onnx \(onnxr"):
        target_of_model(Path(model))


@pytest.mark.parametrize(
    ("target", "word", "device"),
    [
        *((AscendTarget, word, word) for word in ("auto", "npu", "emulation")),
        (AscendTarget, "cpu", "emulation"),
        *((OnnxRuntimeTarget, word, word) for word in ("auto", "cpu")),
        *((OpenVinoTarget, word, word.lower()) for word in ("auto", "CPU", "GPU", "npu", "AUTO")),
        *((TorchTarget, word, word) for word in ("auto", "cpu", "cuda")),
        (TorchTarget, "gpu", "cuda"),
    ],
)
def test_a_device_is_one_of_the_targets(target, word, device):
    assert read_device(target, word) == device


@pytest.mark.parametrize(
    ("target", "word", "expected"),
    [
        *((AscendTarget, word, "one of auto, npu, emulation (target=ascend)") for word in ("", "gpu", "NPU")),
        *((OnnxRuntimeTarget, word, "one of auto, cpu (target=onnxruntime)") for word in ("npu", "emulation")),
        *((OpenVinoTarget, w, "one of auto, cpu, gpu, npu (target=openvino)") for w in ("MULTI:CPU", "GPU.1", "cuda")),
    ],
)
def test_a_device_of_another_target_is_refused(target, word, expected):
    with pytest.raises(ValueError) as caught:
        read_device(target, word)
    assert str(caught.value) == expected


def test_a_target_is_found_by_the_device_that_was_read(no_cann):
    from yolact_ascend.targets.target import DeviceRequest

    found = AscendTarget.find(DeviceRequest(device=read_device(AscendTarget, "cpu")))
    assert (found.kind, found.tools.is_emulated) == ("cpu-emulation", True)
