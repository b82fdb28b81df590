"""The PyTorch target: the network itself, with the weights of the exported ONNX."""

import dataclasses
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from factories import TINY_CONFIG, random_rcnn_state_dict, random_state_dict, tiny_rcnn

from yolact_ascend.errors import ArtifactError, NotDescribedError, NotInstalledError, ToolError, UsageError
from yolact_ascend.files import sha256_file
from yolact_ascend.models.description import KEY, Description, parse_description
from yolact_ascend.models.families import cut_outputs, family_of
from yolact_ascend.models.inputs import UINT8, input_tensor, input_tensors
from yolact_ascend.models.onnx_metadata import read_metadata
from yolact_ascend.process import own_command
from yolact_ascend.targets.described import read_description
from yolact_ascend.targets.onnxruntime.engine import OnnxEngine
from yolact_ascend.targets.target import BenchmarkJob, CompileJob, DeviceRequest, InferJob
from yolact_ascend.targets.torch import engine as torch_engine
from yolact_ascend.targets.torch.engine import TorchEngine, choose_device, compile_network
from yolact_ascend.targets.torch.target import TorchTarget

INPUT = input_tensor(TINY_CONFIG)


def job_of(onnx, model, weights, batch_size=2):
    return CompileJob(onnx, model, batch_size, "fp32", (INPUT,), (INPUT,), TINY_CONFIG.preprocessing, weights)


@pytest.fixture(scope="module")
def weights(tiny_weights):
    return tiny_weights


@pytest.fixture(scope="module")
def model(tiny_onnx, weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("torch") / "m_bs2.torch"
    compile_network(job_of(tiny_onnx, path, weights))
    return path


@pytest.fixture
def images():
    return np.random.default_rng(0).standard_normal((2, *INPUT.shape), dtype=np.float32)


def test_it_computes_what_the_onnx_computes_and_states_what_it_is(model, tiny_onnx, images):
    """Sums of float32 in another order are the only difference, as in the export's own comparison."""
    with TorchEngine(model) as engine, OnnxEngine(tiny_onnx) as exported:
        assert (engine.batch_size, engine.inputs) == (2, (INPUT,))
        assert engine.outputs == cut_outputs(TINY_CONFIG, "fpn")
        stated = read_metadata(tiny_onnx)
        assert parse_description(engine.metadata[KEY], "it") == parse_description(stated[KEY], "it")
        assert all(engine.metadata[key] == stated[key] for key in ("config", "cut", "weights_sha256"))
        expected, found = exported.infer([images]), engine.infer([images])
        short = engine.infer([images[:1]])
    for ours, theirs, alone in zip(found, expected, short, strict=True):
        assert (ours.dtype, ours.shape, alone.shape[0]) == (np.float32, theirs.shape, 1)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())
        np.testing.assert_allclose(alone[0], ours[0], rtol=0, atol=1e-5 * np.abs(theirs).max())


def test_its_file_alone_states_what_it_is(model, tiny_onnx, tmp_path):
    """`compile` by hand writes no side-car; and PyTorch is not what reads this."""
    assert read_description(model) == read_description(tiny_onnx)
    (tmp_path / "m.torch").write_bytes(b"no model")
    with pytest.raises(NotDescribedError, match=r"There is no .*m\.torch\.json, which states the config"):
        read_description(tmp_path / "m.torch")


def test_it_ends_at_the_cut_of_the_onnx(tiny_heads_onnx, weights, tmp_path, images, monkeypatch):
    """At `heads` as the ONNX, within what its own export allows; at `boxes` the same, after softmax."""
    compile_network(job_of(tiny_heads_onnx, tmp_path / "heads.torch", weights, batch_size=1))
    with TorchEngine(tmp_path / "heads.torch") as engine, OnnxEngine(tiny_heads_onnx) as exported:
        assert engine.outputs == exported.outputs
        heads, expected = engine.infer([images[:1]]), exported.infer([images[:1]])
    for ours, theirs in zip(heads, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3 * np.abs(theirs).max())
    stated = dataclasses.replace(read_description(tiny_heads_onnx), cut="boxes")
    monkeypatch.setattr(torch_engine, "read_description", lambda path: stated)
    compile_network(job_of(tiny_heads_onnx, tmp_path / "boxes.torch", weights, batch_size=1))
    with TorchEngine(tmp_path / "boxes.torch") as engine:
        assert engine.outputs == cut_outputs(TINY_CONFIG, "boxes")
        conf, boxes, *rest = engine.infer([images[:1]])
    exponents = np.exp(heads[1] - heads[1].max(-1, keepdims=True))
    # Softmax in float32, by two programs.
    np.testing.assert_allclose(conf, exponents / exponents.sum(-1, keepdims=True), rtol=1e-5, atol=1e-7)
    assert boxes.shape == heads[0].shape and all(map(np.array_equal, rest, heads[2:]))


@pytest.mark.parametrize("name", ["mask_rcnn_R_50_FPN_3x", "faster_rcnn_R_50_FPN_1x", "resnet50_fpn_mask_rcnn"])
def test_an_rcnn_takes_its_two_inputs(tmp_path, monkeypatch, name):
    """The picture and its size on the canvas; with another size, boxes are clipped elsewhere."""
    config = tiny_rcnn(name)
    path, family = tmp_path / "w.pth", family_of(config)
    torch.save(random_rcnn_state_dict(config), path)
    stated = Description(config, "detections", sha256_file(path), "yolact_ascend", "a test", None)
    monkeypatch.setattr(torch_engine, "read_description", lambda onnx: stated)
    inputs = input_tensors(config)
    job = CompileJob(tmp_path / "m.onnx", tmp_path / "m.torch", 1, "fp32", inputs, inputs, config.preprocessing, path)
    compile_network(job)
    images = family.sample_inputs(config, np.random.default_rng(0), 1)
    with TorchEngine(tmp_path / "m.torch") as engine:
        assert (engine.inputs, engine.outputs) == (inputs, cut_outputs(config, "detections"))
        found = engine.infer(images)
        small = engine.infer([images[0], np.array([[40, 50]], np.float32)])
    torch.save({**torch.load(tmp_path / "m.torch", weights_only=True), "batch_size": 8}, tmp_path / "m8.torch")
    with pytest.raises(UsageError, match="takes one image at a time"):
        TorchEngine(tmp_path / "m8.torch")
    with torch.inference_mode():
        network = family.build(config).eval()
        network.load_state_dict(torch.load(path, weights_only=True))
        expected = network(*map(torch.from_numpy, images))
    assert [(output.dtype.name, output.shape[1:]) for output in found] == [
        (spec.dtype, spec.shape) for spec in engine.outputs
    ]
    assert all(np.array_equal(ours, theirs.numpy()) for ours, theirs in zip(found, expected, strict=True))
    assert found[0][..., 2].max() > 50 >= small[0][..., 2].max() and small[0][..., 3].max() <= 40


def test_read_only_images_are_taken_and_neither_changed_nor_held(model, images):
    before = images.copy()
    images.setflags(write=False)
    with TorchEngine(model) as engine:
        first = engine.infer([images])
        kept = [output.copy() for output in first]
        engine.infer([np.zeros_like(images)])
    assert np.array_equal(images, before)
    assert all(np.array_equal(one, other) for one, other in zip(first, kept))


def test_the_same_weights_give_the_same_file(model, tiny_onnx, weights, tmp_path):
    compile_network(job_of(tiny_onnx, tmp_path / "again.torch", weights))
    assert (tmp_path / "again.torch").read_bytes() == model.read_bytes()


@pytest.mark.parametrize(
    "batch",
    [np.zeros((2, 3, 10, 10), np.float32), np.zeros((2, *input_tensor(TINY_CONFIG, UINT8).shape), np.uint8)],
    ids=["size", "dtype"],
)
def test_other_inputs_are_refused(model, batch):
    said = r"does not take a batch of .*, expected float32 \['batch', 3, 550, 550\]"
    with TorchEngine(model) as engine, pytest.raises(ArtifactError, match=said):
        engine.infer([batch])


def other_weights(path):
    torch.save(random_state_dict(TINY_CONFIG, seed=9), path)
    return path


@pytest.mark.parametrize(
    ("weights_of", "error", "said"),
    [
        (lambda folder: None, UsageError, r"there is no weights file\. Pass .*: weights=FILE"),
        (lambda folder: folder / "a.pth", UsageError, r"there is no .*a\.pth\. Pass"),
        (lambda folder: other_weights(folder / "b.pth"), ArtifactError, "was exported from other weights than .*b.pth"),
    ],
    ids=["none", "missing", "others"],
)
def test_the_weights_must_be_those_of_the_onnx(tiny_onnx, tmp_path, weights_of, error, said):
    with pytest.raises(error, match=said):
        compile_network(job_of(tiny_onnx, tmp_path / "m.torch", weights_of(tmp_path)))
    assert not (tmp_path / "m.torch").exists()


def test_upstreams_network_is_refused(tiny_onnx, weights, tmp_path, monkeypatch):
    stated = read_metadata(tiny_onnx)[KEY].replace('"network": "yolact_ascend"', '"network": "upstream yolact_edge"')
    monkeypatch.setattr(torch_engine, "read_description", lambda path: parse_description(stated, str(path)))
    with pytest.raises(UsageError, match=r"another network \(upstream yolact_edge\).* without upstream="):
        compile_network(job_of(tiny_onnx, tmp_path / "m.torch", weights))


class RunsCode:
    def __reduce__(self):
        return print, ("code of the file ran",)


def spoil(change):
    return lambda path, contents: torch.save({**contents, **change}, path)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path, _: path.unlink(), "cannot be read"),
        (lambda path, _: path.write_bytes(b"no model"), "cannot be read"),
        (lambda path, _: path.write_bytes(path.read_bytes()[:5000]), "cannot be read"),
        (spoil({"more": RunsCode()}), r"cannot be read as .*: it holds Python objects \([\w.]+\) beside tensors"),
        (lambda path, contents: torch.save(contents["weights"], path), r"expected a file of yolact_ascend\.torch/1"),
        (spoil({"format": "yolact_ascend.torch/2"}), r"expected a file of yolact_ascend\.torch/1"),
        (spoil({"batch_size": 0}), "is damaged: it has no description and batch size"),
        (spoil({"description": "{"}), "The description in .* is damaged"),
        (spoil({"weights": {}}), "is damaged: .*Missing key"),
        (spoil({"weights": 3}), "is damaged: "),
    ],
    ids=["missing", "no zip", "cut", "code", "weights alone", "newer", "no batch", "description", "keys", "no weights"],
)
def test_a_file_that_is_no_such_model_is_refused_and_runs_no_code(model, tmp_path, capsys, write, said):
    path = tmp_path / "m.torch"
    path.write_bytes(model.read_bytes())
    write(path, torch.load(model, weights_only=True))
    with pytest.raises(ArtifactError, match=rf"{said}.*Compile it again") as caught:
        TorchEngine(path)
    assert len(str(caught.value)) < len(str(path)) * 2 + 400, "one sentence, without a list of all tensors"
    assert "code of the file ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("count", "word", "number", "device"),
    [
        (0, "auto", 0, "cpu"),
        (0, "cpu", 0, "cpu"),
        (2, "auto", 0, "cuda:0"),
        (2, "cuda", 1, "cuda:1"),
        (2, "cpu", 0, "cpu"),
    ],
)
def test_the_device_is_the_gpu_where_there_is_one(monkeypatch, count, word, number, device):
    see_gpus(monkeypatch, count)
    assert choose_device(word, number) == device


@pytest.mark.parametrize(
    ("count", "word", "number", "said"),
    [
        (0, "cuda", 0, r"device=cuda and npus=0: PyTorch \(.*\) finds none of CUDA's GPUs here\. Set device=cpu"),
        (1, "auto", 1, "PyTorch finds 1 of CUDA's GPUs here"),
        (0, "auto", 1, "npus=1: the CPU is device 0"),
        (1, "cpu", 1, "npus=1: the CPU is device 0"),
    ],
)
def test_a_device_that_is_not_there_is_refused(monkeypatch, count, word, number, said):
    see_gpus(monkeypatch, count)
    with pytest.raises(UsageError, match=said):
        choose_device(word, number)


def see_gpus(monkeypatch, count):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Some GPU")


def test_it_is_found_with_its_device(monkeypatch):
    see_gpus(monkeypatch, 0)
    target = TorchTarget.find(DeviceRequest(threads=1))
    assert (target.kind, target.npus, target.made_for()) == ("cpu", (0,), {"torch": torch.__version__})
    assert target.device_words() == ["--device=cpu", "--threads=1"]
    (check,) = TorchTarget.check(DeviceRequest())
    assert (check.status, check.text) == ("OK", f"PyTorch {torch.__version__} on this host's CPU")
    see_gpus(monkeypatch, 2)
    target = TorchTarget.find(DeviceRequest(device="cuda", npus=(1,)))
    assert (target.kind, target.npus) == ("cuda", (1,)) and target.identity()["chip"] == "Some GPU"
    assert target.device_words() == ["--device=cuda", "--npus=1"]
    assert "cuda:1, Some GPU, in float32: a reference for mAP" in target.facts("fp32")["note"]


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (DeviceRequest(npus=(0, 1)), "npus=0,1: target=torch runs on one device"),
        (DeviceRequest(soc="Ascend310P3"), "target=torch compiles for no chip"),
        (DeviceRequest(threads=2), r"threads=2: cuda:0 is no CPU"),
    ],
)
def test_what_it_does_not_have_is_refused(monkeypatch, request_, said):
    see_gpus(monkeypatch, 2)
    with pytest.raises(UsageError, match=said):
        TorchTarget.find(request_)
    (check,) = TorchTarget.check(request_)
    assert check.status == "FAIL" and check.text


def test_without_pytorch_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "yolact_ascend.targets.torch.engine")
    with pytest.raises(NotInstalledError, match=r"torch is not installed for .*\. Run bash scripts/setup\.sh"):
        TorchTarget.find(DeviceRequest())


def test_its_stages_are_the_verbs(tmp_path):
    commands = []
    runner = SimpleNamespace(run_own=lambda command, log: commands.append(command[len(own_command()) :]))
    target, model, log = TorchTarget("cpu", threads=2), tmp_path / "m_bs2.torch", tmp_path / "log"
    model.write_bytes(b"of an earlier run")
    target.compile(job_of(tmp_path / "m.onnx", model, tmp_path / "a.pth"), runner, log)
    assert not model.exists()
    target.infer(InferJob(model, (tmp_path / "bin",), 3, tmp_path), runner, log)
    target.benchmark(BenchmarkJob(model, 2, 5, tmp_path, (), "fp32", (INPUT,)), runner, log)
    files = [f"--model={tmp_path / 'm.onnx'}", f"--trained_model={tmp_path / 'a.pth'}", f"--output={model}"]
    device = ["--device=cpu", "--threads=2"]
    assert commands == [
        ["compile", *files, "--batch_size=2"],
        ["infer", f"--model={model}", f"--input={tmp_path / 'bin'}", f"--output={tmp_path / 'output'}", *device],
        ["benchmark", f"--model={model}", "--loop=5", f"--output={tmp_path / 'perf'}", *device],
    ]


def test_a_gpu_without_room_is_said(model, images):
    def full(_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with TorchEngine(model) as engine:
        engine._network = full
        with pytest.raises(ToolError, match="cpu has no room for a batch of 2: CUDA out of memory"):
            engine.infer([images])
