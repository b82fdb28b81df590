"""The ONNX Runtime target: what it compiles, runs and measures, in the files and forms that ais_bench has."""

import dataclasses
import json
import re
import subprocess
from importlib import metadata
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from factories import TINY_CONFIG, describe_network
from onnx import TensorProto, helper

from yolact_ascend import loops
from yolact_ascend.cli.main import VERBS, parse_arguments
from yolact_ascend.errors import ArtifactError, ToolError, UsageError
from yolact_ascend.host.infer import benchmark
from yolact_ascend.images.transforms import normalise_image, resize_image
from yolact_ascend.models.config import Preprocessing
from yolact_ascend.models.exported import read_onnx
from yolact_ascend.models.inputs import input_tensor
from yolact_ascend.models.onnx_metadata import read_metadata
from yolact_ascend.process import own_command
from yolact_ascend.targets.ascend.ais_bench import benchmark_command, infer_command
from yolact_ascend.targets.compiled import Need, describe_model, require_model, write_sidecar
from yolact_ascend.targets.folder import input_bin
from yolact_ascend.targets.onnxruntime.compile import compile_onnx
from yolact_ascend.targets.onnxruntime.engine import OnnxEngine
from yolact_ascend.targets.onnxruntime.target import NOTE, OnnxRuntimeTarget
from yolact_ascend.targets.summary import read_timings
from yolact_ascend.targets.target import BenchmarkJob, CompileJob, DeviceRequest, InferJob, OneByOne
from yolact_ascend.tensors import TensorSpec

VERSION = metadata.version("onnxruntime")
FLOAT32, UINT8 = (input_tensor(TINY_CONFIG, dtype) for dtype in ("float32", "uint8"))
SIZE = {"height_px": 8, "width_px": 6}
USUAL = Preprocessing(**SIZE)
BGR = Preprocessing(**SIZE, channel_order="BGR")
UNIT = Preprocessing(**SIZE, mean_rgb=(0.485, 0.456, 0.406), std_rgb=(0.229, 0.224, 0.225), pixel_max=1)


class InThisProcess:
    """A runner whose own verbs run here: what the target writes as a command is what the verb parses."""

    def __init__(self):
        self.commands = []

    def run_own(self, command, log=None):
        start = own_command()
        assert command[: len(start)] == start
        words = command[len(start) :]
        self.commands.append(words)
        VERBS[words[0]].run(parse_arguments(words))


@pytest.fixture
def runner():
    return InThisProcess()


@pytest.fixture
def unchanged(tmp_path):
    """A network that gives back its input, for any batch of [3,8,6], with a word of metadata."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 8, 6])
    found = helper.make_tensor_value_info("found", TensorProto.FLOAT, ["batch", 3, 8, 6])
    graph = helper.make_graph([helper.make_node("Identity", ["image"], ["found"])], "g", [image], [found])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    helper.set_model_props(model, {"cut": "none"})
    onnx.save(model, tmp_path / "unchanged.onnx")
    return tmp_path / "unchanged.onnx"


def tensors_of(preprocessing):
    config = dataclasses.replace(TINY_CONFIG, preprocessing=preprocessing)
    return input_tensor(config, "float32"), input_tensor(config, "uint8")


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_compiled_model_has_a_fixed_batch_and_keeps_its_metadata(unchanged, tmp_path, batch_size):
    image, _ = tensors_of(USUAL)
    compile_onnx(unchanged, tmp_path / "m.onnx", batch_size, [image], image, USUAL)
    values = np.random.default_rng(0).standard_normal((batch_size, 3, 8, 6), dtype=np.float32)
    with OnnxEngine(tmp_path / "m.onnx") as engine:
        assert (engine.batch_size, engine.metadata) == (batch_size, {"cut": "none"})
        assert engine.inputs == (TensorSpec("image", (3, 8, 6)),)
        assert np.array_equal(engine.infer([values])[0], values)
    model = read_onnx(tmp_path / "m.onnx")
    shapes = [[d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*model.graph.input, *model.graph.output)]
    assert shapes == [[batch_size, 3, 8, 6]] * 2
    assert [node.op_type for node in model.graph.node] == ["Identity"]


@pytest.mark.parametrize("preprocessing", [USUAL, BGR, UNIT], ids=["usual", "BGR", "0 to 1"])
def test_embedded_preprocessing_has_the_bits_of_the_hosts(unchanged, tmp_path, preprocessing):
    """Exactly: the same operations in float32, on an image that needs no resize."""
    float32, uint8 = tensors_of(preprocessing)
    compile_onnx(unchanged, tmp_path / "m.onnx", 2, [float32], uint8, preprocessing)
    images = np.random.default_rng(1).integers(0, 256, (2, 8, 6, 3), dtype=np.uint8)
    with OnnxEngine(tmp_path / "m.onnx") as engine:
        assert engine.inputs == (TensorSpec("image", (8, 6, 3), "uint8"),)
        (found,) = engine.infer([np.stack([resize_image(image, preprocessing) for image in images])])
    assert np.array_equal(found, np.stack([normalise_image(image, preprocessing) for image in images]))


def test_a_network_with_its_preprocessing_inside_finds_what_it_finds_without(tiny_onnx, tmp_path):
    """The network's input has the same bits; convolutions may add in another order, as on other devices."""
    image = np.random.default_rng(2).integers(0, 256, (550, 550, 3), dtype=np.uint8)
    preprocessing = TINY_CONFIG.preprocessing
    compile_onnx(tiny_onnx, tmp_path / "float32.onnx", 1, [FLOAT32], FLOAT32, preprocessing)
    compile_onnx(tiny_onnx, tmp_path / "uint8.onnx", 1, [FLOAT32], UINT8, preprocessing)
    with OnnxEngine(tmp_path / "float32.onnx") as plain, OnnxEngine(tmp_path / "uint8.onnx") as embedded:
        assert embedded.outputs == plain.outputs
        assert embedded.metadata == plain.metadata == read_metadata(tiny_onnx)
        expected = plain.infer([normalise_image(image, preprocessing)[np.newaxis]])
        found = embedded.infer([resize_image(image, preprocessing)[np.newaxis]])
    for ours, theirs in zip(found, expected):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize(
    ("spoil", "preprocessing", "error", "said"),
    [
        (lambda path: path.write_bytes(b"no model"), USUAL, ArtifactError, "cannot be read as ONNX"),
        (lambda path: path.unlink(), USUAL, ArtifactError, "cannot be read as ONNX"),
        (
            lambda path: onnx.save(rename_input(onnx.load(path)), path),
            USUAL,
            ArtifactError,
            "has the inputs pixels, expected image. Export it again",
        ),
        (
            lambda path: None,
            Preprocessing(**SIZE, shortest_edge_px=8),
            UsageError,
            "pads its inputs.*embed=1",
        ),
    ],
    ids=["no ONNX", "no file", "another input", "padded"],
)
def test_what_cannot_be_compiled_is_refused_and_leaves_nothing(unchanged, tmp_path, spoil, preprocessing, error, said):
    spoil(unchanged)
    with pytest.raises(error, match=said):
        compile_onnx(
            unchanged,
            tmp_path / "m.onnx",
            1,
            [tensors_of(preprocessing)[0]],
            tensors_of(preprocessing)[1],
            preprocessing,
        )
    assert not list(tmp_path.glob("*m.onnx*"))


def rename_input(model):
    model.graph.input[0].name = model.graph.node[0].input[0] = "pixels"
    return model


def test_it_is_found_with_its_one_device():
    target = OnnxRuntimeTarget.find(DeviceRequest())
    assert (target.name, target.kind, target.npus, target.model_suffix) == ("onnxruntime", "cpu", (0,), ".onnx")
    assert target.identity() == {"kind": "cpu", "onnxruntime": VERSION}
    assert target.made_for() == {"onnxruntime": VERSION}
    assert target.facts("fp32") == {
        **{"kind": "cpu", "chip": "CPU", "soc_version": None, "npu_smi": None, "npus": [0], "cann": None},
        "note": NOTE.format("in float32"),
    }
    assert f"ONNX Runtime {VERSION} on this host's CPU" in target.describe()
    assert target.describe_device(0) == "ONNX Runtime on the CPU"
    assert target.how_to_paste() is None


@pytest.mark.parametrize("npus", [(1,), (0, 1)])
def test_it_has_no_other_device(npus):
    request = DeviceRequest(npus=npus)
    said = f"npus={','.join(map(str, npus))}: target=onnxruntime has one device, 0"
    with pytest.raises(UsageError, match=said):
        OnnxRuntimeTarget.find(request)
    (check,) = OnnxRuntimeTarget.check(request)
    assert (check.name, check.status) == ("target", "FAIL") and said in check.text


def test_the_check_states_its_version():
    (check,) = OnnxRuntimeTarget.check(DeviceRequest())
    assert check.to_json() == {
        **{"name": "target", "status": "OK", "text": f"ONNX Runtime {VERSION} on the CPU"},
        "facts": {"kind": "cpu"},
    }


def test_without_the_package_it_says_how_to_install_it(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("yolact_ascend.targets.onnxruntime.target.metadata.version", missing)
    with pytest.raises(ToolError, match=r"onnxruntime is not installed for .*\. Run bash scripts/setup\.sh"):
        OnnxRuntimeTarget.find(DeviceRequest())


@pytest.mark.parametrize("image", [FLOAT32, UINT8], ids=lambda spec: spec.dtype)
def test_compile_runs_its_verb_and_replaces_the_model(tiny_onnx, tmp_path, runner, image):
    model = tmp_path / "yolact_edge_bs2.onnx"
    model.write_bytes(b"of an earlier run")
    job = CompileJob(tiny_onnx, model, 2, "fp32", (FLOAT32,), (image,), TINY_CONFIG.preprocessing)
    target = OnnxRuntimeTarget()
    command = target.compile(job, runner, tmp_path / "log")
    flags = ["--batch_size=2", f"--embed={int(image is UINT8)}"]
    assert target.compile_inputs(job)["flags"] == flags
    assert runner.commands == [["compile", f"--model={tiny_onnx}", f"--output={model}", *flags]]
    assert command[-len(runner.commands[0]) :] == runner.commands[0]
    with target.open(model, 0) as engine:
        assert (engine.batch_size, engine.inputs[0].shape, engine.inputs[0].dtype) == (2, image.shape, image.dtype)


def test_no_model_is_left_where_the_verb_fails(tmp_path):
    model = tmp_path / "m.onnx"
    model.write_bytes(b"of an earlier run")
    job = CompileJob(tmp_path / "a.onnx", model, 2, "fp32", (FLOAT32,), (FLOAT32,), TINY_CONFIG.preprocessing)
    with pytest.raises(ToolError):
        OnnxRuntimeTarget().compile(job, SimpleNamespace(run_own=fail), tmp_path / "log")
    assert not model.exists()


def fail(*_):
    raise ToolError("that command failed")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"target": "ascend", "made_for": {"cann": "8.0"}}, "target is onnxruntime, expected ascend"),
        ({"made_for": {"onnxruntime": "0.0"}}, f"onnxruntime is {VERSION}, expected 0.0"),
        ({"precision": "fp16"}, "precision is fp32, expected fp16"),
        ({"inputs": (UINT8,)}, r"input is image float32 NCHW .*, expected image uint8 NHWC \[2, 550, 550, 3\]"),
    ],
    ids=["target", "version", "precision", "input"],
)
def test_a_model_for_something_else_is_refused_by_its_side_car(tmp_path, change, said):
    model = tmp_path / "m.onnx"
    model.write_bytes(b"compiled")
    outputs, made_for, sha256 = (TensorSpec("found", (3,)),), OnnxRuntimeTarget().made_for(), ("0", "2" * 64)
    need = Need("onnxruntime", made_for, *sha256, 2, TINY_CONFIG.name, "fpn", "fp32", (FLOAT32,), outputs)
    write_sidecar(model, describe_model(model, need, describe_network(), ["--batch_size=2"], "compile"))
    assert require_model(model, need).target == "onnxruntime"
    with pytest.raises(ArtifactError, match=f"was compiled for something else: {said}"):
        require_model(model, dataclasses.replace(need, **change))


@pytest.fixture
def three_inputs(tmp_path):
    """The inputs of three images: for batches of two, the last one is short."""
    folder = tmp_path / "inputs"
    folder.joinpath("bin_file").mkdir(parents=True, mode=0o750)
    values = np.random.default_rng(3).standard_normal((3, *FLOAT32.shape), dtype=np.float32)
    for index, image in enumerate(values):
        image.tofile(input_bin(folder, index))
        input_bin(folder, index).chmod(0o640)
    return folder / "bin_file"


def run_ais_bench(command, emulation):
    subprocess.run(command, env=dict(emulation.env), check=True, capture_output=True)


def test_a_folder_leaves_the_files_that_ais_bench_leaves(
    tiny_onnx, compiled, emulation, three_inputs, tmp_path, runner
):
    model, runs = tmp_path / "bs2.onnx", {name: tmp_path / name for name in ("ours", "theirs")}
    for folder in runs.values():
        folder.mkdir(mode=0o750)
    compile_onnx(tiny_onnx, model, 2, [FLOAT32], FLOAT32, TINY_CONFIG.preprocessing)
    job = InferJob(model, (three_inputs,), 3, runs["ours"])
    OnnxRuntimeTarget().infer(job, runner, tmp_path / "log")
    assert runner.commands == [
        ["infer", f"--model={model}", f"--input={three_inputs}", f"--output={runs['ours'] / 'output'}"]
    ]
    run_ais_bench(infer_command(emulation.python, compiled, [three_inputs], runs["theirs"]), emulation)

    names = sorted(path.relative_to(runs["theirs"]) for path in runs["theirs"].rglob("*"))
    assert len(names) == 3 * 6 + 2  # six outputs of each image, their folder and the summary
    assert sorted(path.relative_to(runs["ours"]) for path in runs["ours"].rglob("*")) == names
    for name in names:
        if name.suffix == ".bin":
            ours, theirs = (np.fromfile(folder / name, np.float32) for folder in runs.values())
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())
    summaries = [read_timings(folder / "output_summary.json") for folder in runs.values()]
    assert [len(timings.latencies_ms) for timings in summaries] == [2, 2]


def test_a_benchmark_leaves_the_summary_that_ais_bench_leaves(
    tiny_onnx, compiled, emulation, tmp_path, runner, monkeypatch, capsys
):
    monkeypatch.setattr(loops, "LEAST_S", 0.0)
    monkeypatch.setattr(loops, "LEAST_MEASURED_S", 0.0)
    model, runs = tmp_path / "bs2.onnx", {name: tmp_path / name for name in ("ours", "theirs")}
    for folder in runs.values():
        folder.mkdir(mode=0o750)
    compile_onnx(tiny_onnx, model, 2, [FLOAT32], FLOAT32, TINY_CONFIG.preprocessing)
    job = BenchmarkJob(model, 2, 3, runs["ours"], (), "fp32", (FLOAT32,))
    OnnxRuntimeTarget().benchmark(job, runner, tmp_path / "log")
    assert runner.commands == [["benchmark", f"--model={model}", "--loop=3", f"--output={runs['ours'] / 'perf'}"]]
    assert re.search(r"benchmark: about \d+ s for 3 loops\n", capsys.readouterr().err)
    assert [path.name for path in runs["ours"].iterdir()] == ["perf_summary.json"]
    run_ais_bench(benchmark_command(emulation.python, compiled, 2, 3, runs["theirs"], "perf"), emulation)

    ours, theirs = (json.loads((folder / "perf_summary.json").read_text()) for folder in runs.values())
    for key in ("npu_compute_time_list", "throughput"):
        assert type(ours[key]) is type(theirs[key])
    for timings in map(read_timings, (folder / "perf_summary.json" for folder in runs.values())):
        latency = timings.latency_ms()["mean"]
        assert len(timings.latencies_ms) == 3
        assert timings.throughput_images_per_s == pytest.approx(1000 * 2 / latency, rel=1e-3)


@pytest.mark.parametrize("images", [1, 2])
def test_a_benchmark_runs_the_batch_of_a_file(unchanged, tmp_path, runner, images):
    compile_onnx(unchanged, tmp_path / "m.onnx", 2, [tensors_of(USUAL)[0]], tensors_of(USUAL)[0], USUAL)
    np.ones((images, 3, 8, 6), np.float32).tofile(tmp_path / "batch.bin")
    job = BenchmarkJob(tmp_path / "m.onnx", 2, 5, tmp_path, (tmp_path / "batch.bin",), "fp32", (FLOAT32,))
    if images == 2:
        OnnxRuntimeTarget().benchmark(job, runner, tmp_path / "log")
        assert f"--input={job.batch[0]}" in runner.commands[0]
        assert len(read_timings(tmp_path / "perf_summary.json").latencies_ms) == 5
    else:
        with pytest.raises(ArtifactError, match=r"batch\.bin holds 576 bytes, expected 1152 for a batch of 2 images"):
            OnnxRuntimeTarget().benchmark(job, runner, tmp_path / "log")


def test_outputs_depend_on_the_code_that_computes_them(tmp_path):
    """This target has no tool whose version stands for its code."""
    target = OnnxRuntimeTarget()
    compile_job = CompileJob(tmp_path, tmp_path, 2, "fp32", (FLOAT32,), (FLOAT32,), TINY_CONFIG.preprocessing)
    benchmark_job = BenchmarkJob(tmp_path, 2, 5, tmp_path, (), "fp32", (FLOAT32,))
    inputs = [
        target.compile_inputs(compile_job),
        target.infer_inputs(InferJob(tmp_path, (tmp_path,), 3, tmp_path)),
        target.benchmark_inputs(benchmark_job),
    ]
    assert all({"code", "libraries"} <= set(found) for found in inputs)
    assert inputs[0]["code"] != inputs[1]["code"] == inputs[2]["code"]
    assert target.benchmark_inputs(dataclasses.replace(benchmark_job, loop=6)) != inputs[2]
    assert target.benchmark_inputs(dataclasses.replace(benchmark_job, batch=tmp_path)) != inputs[2]


@pytest.mark.parametrize("from_file", [False, True], ids=["zeros", "file"])
def test_a_benchmark_warms_up_and_then_runs_the_same_batch_each_time(tmp_path, from_file):
    spec, batches = TensorSpec("image", (3, 1, 2)), []
    engine = OneByOne()
    engine.batch_size, engine.inputs = 2, (spec,)
    engine.infer = lambda inputs: batches.append(inputs[0].tolist()) or []
    values = np.arange(12, dtype=np.float32) if from_file else np.zeros(12, np.float32)
    values.tofile(tmp_path / "batch.bin")
    benchmark(engine, tmp_path / "perf", 3, tmp_path / "batch.bin" if from_file else None)
    assert batches == [values.reshape(2, 3, 1, 2).tolist()] * (1 + 3)
    assert len(read_timings(tmp_path / "perf_summary.json").latencies_ms) == 3
