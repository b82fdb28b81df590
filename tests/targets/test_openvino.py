"""The OpenVINO target: the real OpenVINO, on small networks; what stands in field reports names its source."""

import dataclasses
import json
import re
import subprocess
import sys
import threading
from types import SimpleNamespace

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from factories import TINY_CONFIG, describe_network
from onnx import TensorProto, helper, numpy_helper
from test_onnxruntime import InThisProcess

pytest.importorskip("openvino")

from yolact_ascend import loops
from yolact_ascend.errors import ArtifactError, ToolError, UsageError
from yolact_ascend.images.transforms import normalise_image, resize_image
from yolact_ascend.models.config import CONFIGS, Preprocessing
from yolact_ascend.models.inputs import DTYPE_OF_EMBED, OWN_SIZE, input_tensor
from yolact_ascend.models.onnx_metadata import read_metadata
from yolact_ascend.slots import open_slots
from yolact_ascend.targets.compiled import Need, describe_model, require_model, write_sidecar
from yolact_ascend.targets.described import read_description
from yolact_ascend.targets.folder import input_bin
from yolact_ascend.targets.openvino import runtime
from yolact_ascend.targets.openvino.benchmark import benchmark_app_command, read_report
from yolact_ascend.targets.openvino.compile import compile_ir
from yolact_ascend.targets.openvino.engine import OpenVinoEngine
from yolact_ascend.targets.openvino.target import OpenVinoTarget, describe_speed
from yolact_ascend.targets.summary import read_timings
from yolact_ascend.targets.target import BenchmarkJob, CompileJob, DeviceRequest, InferJob
from yolact_ascend.tensors import FREE, TensorSpec

CHIP = "CPU"
SIZE = {"height_px": 8, "width_px": 6}
USUAL = Preprocessing(**SIZE)
BGR = Preprocessing(**SIZE, channel_order="BGR")
UNIT = Preprocessing(**SIZE, mean_rgb=(0.485, 0.456, 0.406), std_rgb=(0.229, 0.224, 0.225), pixel_max=1)
PIXELS = Preprocessing(**SIZE, mean_rgb=(0, 0, 0), std_rgb=(1, 1, 1), pixel_max=1)
HAS_BF16 = "BF16" in runtime.capabilities(CHIP)
FLOAT32 = input_tensor(TINY_CONFIG)


def save(path, nodes, output_shape, weights=(), **metadata):
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 8, 6])
    found = helper.make_tensor_value_info("found", TensorProto.FLOAT, ["batch", *output_shape])
    graph = helper.make_graph(nodes, "g", [image], [found], list(weights))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


@pytest.fixture
def unchanged(tmp_path):
    """A network that gives back its input, nearly: OpenVINO drops an Identity, and a factor of 1."""
    factor = numpy_helper.from_array(np.full((1, 3, 1, 1), 2, np.float32), "factor")
    node = helper.make_node("Mul", ["image", "factor"], ["found"])
    return save(tmp_path / "unchanged.onnx", [node], (3, 8, 6), [factor], cut="none", weights_sha256="ab")


@pytest.fixture
def averaging(tmp_path):
    """A network that gives the mean of each channel over the image, by a convolution over all of it."""
    weights = np.zeros((3, 3, 8, 6), np.float32)
    for channel in range(3):
        weights[channel, channel] = 1 / 48
    node = helper.make_node("Conv", ["image", "w"], ["found"])
    return save(tmp_path / "averaging.onnx", [node], (3, 1, 1), [numpy_helper.from_array(weights, "w")])


def tensor_of(preprocessing, embed="0"):
    config = dataclasses.replace(TINY_CONFIG, preprocessing=preprocessing)
    return input_tensor(config, DTYPE_OF_EMBED[embed])


def compile_small(source, path, batch_size=1, precision="fp32", preprocessing=USUAL, embed="0"):
    compile_ir(source, path, batch_size, precision, [tensor_of(preprocessing)], preprocessing, embed)
    return path


def images_of(count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, 3, 8, 6), dtype=np.float32)


def make_picture(height, width):
    """A smooth picture with noise, BGR uint8."""
    generator = np.random.default_rng(height)
    smooth = cv2.resize(generator.integers(0, 256, (5, 5, 3), dtype=np.uint8), (width, height))
    return cv2.add(smooth, generator.integers(0, 40, smooth.shape, dtype=np.uint8))


def relative(found, expected):
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_compiled_model_has_a_fixed_batch_and_keeps_its_metadata(unchanged, tmp_path, batch_size):
    model = compile_small(unchanged, tmp_path / "m.xml", batch_size)
    with OpenVinoEngine(model) as engine:
        assert engine.batch_size == batch_size
        assert dict(engine.metadata).items() >= {"cut": "none", "weights_sha256": "ab", "precision": "fp32"}.items()
        assert engine.inputs == (TensorSpec("image", (3, 8, 6)),)
        assert engine.outputs == (TensorSpec("found", (3, 8, 6)),)
        images = images_of(batch_size)
        assert np.array_equal(engine.infer([images])[0], 2 * images)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.bin", "m.xml", "unchanged.onnx"]


def test_a_short_batch_is_filled_up(unchanged, tmp_path):
    images = images_of(2)
    with OpenVinoEngine(compile_small(unchanged, tmp_path / "m.xml", 3)) as engine:
        (found,) = engine.infer([images])
    assert np.array_equal(found, 2 * images)


@pytest.mark.parametrize("preprocessing", [USUAL, BGR, UNIT, PIXELS], ids=["usual", "BGR", "0 to 1", "only / 255"])
def test_embedded_preprocessing_is_the_hosts(unchanged, tmp_path, preprocessing):
    """To some 1e-6: OpenVINO multiplies by the reciprocal where the host divides."""
    model = compile_small(unchanged, tmp_path / "m.xml", 2, preprocessing=preprocessing, embed="1")
    images = np.random.default_rng(1).integers(0, 256, (2, 8, 6, 3), dtype=np.uint8)
    with OpenVinoEngine(model) as engine:
        assert engine.inputs == (TensorSpec("image", (8, 6, 3), "uint8"),)
        (found,) = engine.infer([np.stack([resize_image(image, preprocessing) for image in images])])
    expected = 2 * np.stack([normalise_image(image, preprocessing) for image in images])
    assert relative(found, expected) <= 5e-6


@pytest.mark.parametrize("height, width", [(8, 6), (37, 53), (480, 640), (3, 4)])
def test_an_embedded_resize_takes_any_image_and_is_the_hosts(unchanged, tmp_path, height, width):
    """OMZ#1098, OV#8751: in float32, before the mean. OpenVINO's linear resize is within 1.4e-5 of OpenCV's."""
    model = compile_small(unchanged, tmp_path / "m.xml", embed="resize")
    image = make_picture(height, width)
    with OpenVinoEngine(model) as engine:
        assert engine.inputs == (TensorSpec("image", (FREE, FREE, 3), "uint8"),)
        (found,) = engine.infer([cv2.cvtColor(image, cv2.COLOR_BGR2RGB)[np.newaxis]])
    assert relative(found[0], 2 * normalise_image(image, USUAL)) <= 1e-4


def test_an_image_of_any_size_streams_from_outside_of_the_slot(unchanged, tmp_path):
    """A slot has one size: its outputs go there, and the image comes along."""
    model = compile_small(unchanged, tmp_path / "m.xml", embed="resize")
    image = make_picture(11, 13)
    with OpenVinoEngine(model) as engine, open_slots(1, 1, (), engine.outputs) as slots:
        begin, end = engine.infer_slot(slots, 0, 1, [image[np.newaxis]])
        assert end > begin
        assert np.array_equal(slots.results(0)[0], engine.infer([image[np.newaxis]])[0])


def test_resize_takes_one_image_at_a_time(unchanged, tmp_path):
    with pytest.raises(UsageError, match="embed=resize takes one image at a time.*set bs=1, found bs=2"):
        compile_small(unchanged, tmp_path / "m.xml", 2, embed="resize")


@pytest.mark.parametrize("embed", ["1", "resize"])
@pytest.mark.parametrize(
    ("change", "said"),
    [({"shortest_edge_px": 8}, "pads its inputs"), ({"interpolation": "pillow"}, "resizes as Pillow does")],
)
def test_preprocessing_that_cannot_be_inside_is_refused(unchanged, tmp_path, embed, change, said):
    preprocessing = Preprocessing(**SIZE, **change)
    if "interpolation" in change and embed == "1":
        assert compile_small(unchanged, tmp_path / "m.xml", preprocessing=preprocessing, embed=embed).is_file()
    else:
        with pytest.raises(UsageError, match=said):
            compile_small(unchanged, tmp_path / "m.xml", preprocessing=preprocessing, embed=embed)
        assert not list(tmp_path.glob("*m.*"))


@pytest.mark.parametrize("embed", ["0", "1"])
def test_a_network_gives_what_onnx_runtime_gives(tiny_onnx, tmp_path, embed):
    """In float32; random weights amplify the order of sums: 2e-5 seen here, 1e-6 with trained ones."""
    image = np.random.default_rng(2).integers(0, 256, (550, 550, 3), dtype=np.uint8)
    preprocessing = TINY_CONFIG.preprocessing
    model = tmp_path / "m.xml"
    compile_ir(tiny_onnx, model, 1, "fp32", [FLOAT32], preprocessing, embed)
    with OpenVinoEngine(model) as engine:
        given = normalise_image(image, preprocessing) if embed == "0" else resize_image(image, preprocessing)
        found = engine.infer([given[np.newaxis]])
        metadata = engine.metadata
    session = onnxruntime.InferenceSession(str(tiny_onnx), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"image": normalise_image(image, preprocessing)[np.newaxis]})
    assert max(map(relative, found, expected)) <= 1e-4
    assert metadata.items() >= read_metadata(tiny_onnx).items()


def test_fp16_has_its_weights_in_half_and_is_less_exact(averaging, tmp_path):
    sizes, found = {}, {}
    images = images_of(1)
    for precision in ("fp32", "fp16"):
        model = compile_small(averaging, tmp_path / f"{precision}.xml", precision=precision)
        sizes[precision] = model.with_suffix(".bin").stat().st_size
        with OpenVinoEngine(model) as engine:
            assert engine.precision == precision
            (found[precision],) = engine.infer([images])
    assert sizes["fp16"] == pytest.approx(sizes["fp32"] / 2, abs=64)
    assert 0 < relative(found["fp16"], found["fp32"]) < 1e-3


@pytest.mark.parametrize("lacking", [False, True], ids=["as it is", "without FP16"])
def test_fp16_is_computed_in_float32_where_there_is_no_float16(averaging, tmp_path, monkeypatch, lacking):
    """Asked for float16, OpenVINO 2026.4 takes bfloat16 on a CPU that has only this, and says so only when asked."""
    if lacking:
        monkeypatch.setattr(runtime, "capabilities", lambda device: ("FP32", "BF16"))
    expected = "fp16" if "FP16" in runtime.capabilities("CPU") else "fp32"
    with OpenVinoEngine(compile_small(averaging, tmp_path / "m.xml", precision="fp16")) as engine:
        found = engine._for_throughput.get_property("INFERENCE_PRECISION_HINT")
    assert runtime.precision_of(found) == runtime.computed_precision("CPU", "fp16") == expected


def test_an_unknown_precision_is_refused(averaging, tmp_path):
    model = compile_small(averaging, tmp_path / "m.xml", precision="int4")
    with pytest.raises(ArtifactError, match=r"m\.xml states precision=int4, expected fp32, bf16, fp16, int8\. Compile"):
        OpenVinoEngine(model)


@pytest.mark.skipif(HAS_BF16, reason="this CPU computes in bfloat16")
def test_bf16_is_refused_where_openvino_would_take_float32_without_a_word(averaging, tmp_path):
    model = compile_small(averaging, tmp_path / "m.xml", precision="bf16")
    with pytest.raises(ToolError, match="compiled with precision=bf16, but CPU computes in fp32 here"):
        OpenVinoEngine(model)
    with pytest.raises(UsageError, match=r"precision=bf16: .* does not compute in bfloat16, only in FP32"):
        OpenVinoTarget("CPU", None).require_precision("bf16")


@pytest.mark.skipif(not HAS_BF16, reason="this CPU does not compute in bfloat16")
def test_bf16_is_computed_where_the_cpu_has_it(averaging, tmp_path):
    OpenVinoTarget("CPU", None).require_precision("bf16")
    images = images_of(1)
    found = {}
    for precision in ("fp32", "bf16"):
        with OpenVinoEngine(compile_small(averaging, tmp_path / "m.xml", precision=precision)) as engine:
            (found[precision],) = engine.infer([images])
    assert 1e-5 < relative(found["bf16"], found["fp32"]) < 0.1


def test_openvinos_own_default_is_never_taken(unchanged, tmp_path, monkeypatch):
    """Its default on CPUs with bfloat16 is bfloat16: an IR that states nothing is computed in float32."""
    openvino = runtime.load_openvino()
    openvino.save_model(openvino.convert_model(unchanged), tmp_path / "m.xml", compress_to_fp16=False)
    asked = []
    core = SimpleNamespace(
        read_model=runtime.get_core().read_model,
        compile_model=lambda *words: asked.append(words[2]) or runtime.get_core().compile_model(*words),
    )
    monkeypatch.setattr("yolact_ascend.targets.openvino.engine.get_core", lambda: core)
    with OpenVinoEngine(tmp_path / "m.xml", threads=1) as engine:
        assert (engine.precision, engine.batch_size) == ("fp32", None)
        assert np.array_equal(engine.infer([images_of(2)])[0], 2 * images_of(2))
    assert asked == [{"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": "1"}]


def test_each_of_several_threads_gets_its_own_answer(averaging, tmp_path):
    """openvinotoolkit/openvino#2349: two threads on one request gave 45 of 120 answers of another caller."""
    wrong = []
    with OpenVinoEngine(compile_small(averaging, tmp_path / "m.xml")) as engine:

        def ask(start):
            for value in range(start, start + 60):
                (found,) = engine.infer([np.full((1, 3, 8, 6), value, np.float32)])
                if not np.allclose(found, value, rtol=1e-5):
                    wrong.append(value)

        threads = [threading.Thread(target=ask, args=(1000 * number,)) for number in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_results_are_copies_and_inputs_are_not_held(unchanged, tmp_path):
    """openvinotoolkit/openvino#70: views of a request's outputs all hold the last image."""
    images = [images_of(1, seed) for seed in range(5)]
    given = [image.copy() for image in images]
    with OpenVinoEngine(compile_small(unchanged, tmp_path / "m.xml")) as engine:
        one_by_one = [engine.infer([image])[0] for image in images]
        together = [outputs[0] for outputs, _ in engine.infer_all([image] for image in images)]
    for image, before, first, second in zip(images, given, one_by_one, together):
        assert np.array_equal(image, before)
        assert np.array_equal(first, 2 * image) and np.array_equal(second, 2 * image)


def test_many_batches_come_back_in_order_with_their_times(averaging, tmp_path):
    batches = [np.full((count, 3, 8, 6), number, np.float32) for number, count in enumerate([2] * 40 + [1])]
    with OpenVinoEngine(compile_small(averaging, tmp_path / "m.xml", 2)) as engine:
        results = list(engine.infer_all([batch] for batch in batches))
    assert [outputs[0].shape[0] for outputs, _ in results] == [2] * 40 + [1]
    assert np.allclose([outputs[0].mean() for outputs, _ in results], range(41), rtol=1e-5)
    assert all(begin < end for _, (begin, end) in results)


def test_no_callback_of_ours_outlives_the_interpreter(averaging, tmp_path, monkeypatch):
    """OpenVINO 2026.4.1 can drop an AsyncInferQueue's callback when Python has ended: 23 of 40 processes aborted."""
    monkeypatch.delattr(pytest.importorskip("openvino"), "AsyncInferQueue")
    before = set(threading.enumerate())
    with OpenVinoEngine(compile_small(averaging, tmp_path / "m.xml", 1)) as engine:
        assert len(list(engine.infer_all([images_of(1, 0)] for _ in range(5)))) == 5
    assert set(threading.enumerate()) == before


def test_a_cache_never_gives_the_results_of_old_weights(averaging, tmp_path):
    """darktable-org/darktable#21071: OpenVINO's compile cache does not see a new .bin. None is used."""
    model = compile_small(averaging, tmp_path / "m.xml")
    images = np.ones((1, 3, 8, 6), np.float32)
    with OpenVinoEngine(model) as engine:
        assert np.allclose(engine.infer([images])[0], 1, rtol=1e-5)
    weights = np.fromfile(model.with_suffix(".bin"), np.float32)
    (3 * weights).tofile(model.with_suffix(".bin"))
    with OpenVinoEngine(model) as engine:
        assert np.allclose(engine.infer([images])[0], 3, rtol=1e-5)


def describe(model):
    outputs = (TensorSpec("found", (3, 1, 1)),)
    made_for = {"openvino": "2026"}
    name = TINY_CONFIG.name
    need = Need("openvino", made_for, "0", "5" * 64, 1, name, "fpn", "fp32", (TensorSpec("image", (3, 8, 6)),), outputs)
    write_sidecar(model, describe_model(model, need, describe_network(weights="5" * 64), [], "compile"))
    return need


def test_weights_of_another_model_are_refused(averaging, tmp_path):
    """onnx/onnx#6497: an .xml beside another model's .bin of the same size loads, and computes something else."""
    model = compile_small(averaging, tmp_path / "m.xml")
    need = describe(model)
    require_model(model, need)
    weights = model.with_suffix(".bin")
    weights.write_bytes(bytes(weights.stat().st_size))
    with pytest.raises(ArtifactError, match=r"m\.xml and m\.bin are not the files that m\.xml\.json describes"):
        require_model(model, need)
    with pytest.raises(ArtifactError, match=r"m\.xml and m\.bin are not the files that m\.xml\.json describes"):
        read_description(model)


def cut_bin(model):
    model.with_suffix(".bin").write_bytes(b"123")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda model: model.unlink(), r"There is no .*m\.xml, a model"),
        (
            lambda model: model.with_suffix(".bin").unlink(),
            r"There is no .*m\.bin, its weights: an OpenVINO IR has an .xm",
        ),
        (cut_bin, r"m\.xml cannot be read as OpenVINO IR: Incorrect weights in bin file\. Compile it again"),
        (lambda model: model.write_text("hello"), r"m\.xml cannot be read as OpenVINO IR"),
        (lambda model: model.write_text(model.read_text()[:900]), r"m\.xml cannot be read as OpenVINO IR"),
    ],
    ids=["no file", "no weights", "weights cut short", "no IR", "IR cut short"],
)
def test_a_damaged_model_is_one_sentence(averaging, tmp_path, spoil, said, capfd):
    model = compile_small(averaging, tmp_path / "m.xml")
    spoil(model)
    with pytest.raises(ArtifactError, match=said) as caught:
        OpenVinoEngine(model)
    assert "\n" not in str(caught.value)


def test_a_batch_of_another_form_is_refused(averaging, tmp_path):
    with OpenVinoEngine(compile_small(averaging, tmp_path / "m.xml", 2)) as engine:
        wide, many = np.zeros((2, 3, 8, 7), np.float32), images_of(5)
        for call in (lambda: engine.infer([wide]), lambda: list(engine.infer_all([[many]]))):
            with pytest.raises(ArtifactError, match=r"does not take a batch of .*, expected float32 \[2, 3, 8, 6\]"):
                call()
        assert engine.infer([images_of(2)])[0].shape == (2, 3, 1, 1)  # the request is free again


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_bytes(b"no model"), "cannot be read as ONNX"),
        (lambda path: path.unlink(), "cannot be read as ONNX"),
        (lambda path: onnx.save(rename_input(onnx.load(path)), path), "has the inputs pixels, expected image"),
        (lambda path: onnx.save(with_own_operator(onnx.load(path)), path), "only Ascend's tools compute"),
    ],
    ids=["no ONNX", "no file", "another input", "a card's operators"],
)
def test_what_cannot_be_compiled_is_refused_and_leaves_nothing(unchanged, tmp_path, spoil, said, capfd):
    spoil(unchanged)
    with pytest.raises(ArtifactError, match=said):
        compile_small(unchanged, tmp_path / "m.xml")
    assert not list(tmp_path.glob("*m.*"))


def rename_input(model):
    model.graph.input[0].name = model.graph.node[0].input[0] = "pixels"
    return model


def with_own_operator(model):
    model.graph.node[0].op_type = "BatchMultiClassNMS"
    onnx.helper.set_model_props(model, {"operators": "ascend"})
    return model


def test_compiling_asks_no_server_and_starts_no_process(unchanged, tmp_path):
    """openvinotoolkit/openvino#34588, #28944: its converter reports its use by default, in a process of its own."""
    words = (unchanged, tmp_path / "m.xml")
    code = f"""
import socket, os, sys, subprocess
from pathlib import Path
def refuse(*_, **__): raise SystemExit("it asked")
socket.socket.connect = socket.getaddrinfo = os.fork = os.posix_spawn = subprocess.Popen = refuse
from yolact_ascend.targets.openvino.compile import compile_ir
from yolact_ascend.models.config import Preprocessing
from yolact_ascend.tensors import TensorSpec
image, preprocessing = TensorSpec("image", (3, 8, 6)), Preprocessing(height_px=8, width_px=6)
compile_ir(Path({str(words[0])!r}), Path({str(words[1])!r}), 1, "fp32", [image], preprocessing)
assert sys.modules["openvino_telemetry"] is None
"""
    env = {"PATH": "", "HOME": str(tmp_path / "home")}
    (tmp_path / "home").mkdir()
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert words[1].is_file()
    assert list((tmp_path / "home").iterdir()) == []  # nor is an id for the reports kept


def test_without_openvino_it_says_how_to_install_it(monkeypatch):
    def missing(name):
        raise runtime.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(runtime.metadata, "version", missing)
    said = r"target=openvino needs OpenVINO, which is not installed\. Run bash scripts/setup\.sh openvino"
    with pytest.raises(ToolError, match=said):
        OpenVinoTarget.find(DeviceRequest())
    (check,) = OpenVinoTarget.check(DeviceRequest())
    assert (check.name, check.status) == ("target", "FAIL") and "bash scripts/setup.sh openvino" in check.text


def test_an_old_openvino_is_refused(monkeypatch):
    monkeypatch.setattr(runtime.metadata, "version", lambda name: "2022.3.1")
    with pytest.raises(ToolError, match=r"OpenVINO 2022\.3\.1 is installed, expected 2024\.0 or newer"):
        OpenVinoTarget.find(DeviceRequest())


def having(monkeypatch, *devices):
    monkeypatch.setattr(runtime, "get_core", lambda: SimpleNamespace(available_devices=list(devices)))


@pytest.mark.parametrize(
    ("there", "word", "npus", "device"),
    [
        (["CPU"], "auto", (0,), "CPU"),
        (["CPU", "GPU"], "auto", (0,), "GPU"),  # OV#25343: chosen once, by us
        (["CPU", "GPU.0", "GPU.1", "NPU"], "auto", (0,), "GPU.0"),
        (["CPU", "NPU"], "auto", (0,), "CPU"),
        (["CPU", "GPU.0", "GPU.1"], "gpu", (1,), "GPU.1"),
        (["CPU", "GPU"], "cpu", (0,), "CPU"),
        (["CPU", "NPU"], "npu", (0,), "NPU"),
    ],
)
def test_a_device_is_chosen_once(monkeypatch, there, word, npus, device):
    having(monkeypatch, *there)
    assert runtime.choose_device(word, npus) == device


@pytest.mark.parametrize(
    ("word", "npus", "said"),
    [
        ("gpu", (0,), "device=gpu: OpenVINO finds no such device here; it finds CPU."),
        ("npu", (0,), "device=npu: OpenVINO finds no such device here"),
        ("gpu", (2,), "device=gpu and npus=2: OpenVINO finds no such device here"),
        ("cpu", (1,), "npus=1: target=openvino runs on one device, and the CPU is number 0"),
        ("gpu", (0, 1), "npus=0,1: target=openvino runs on one device"),
    ],
)
def test_a_device_that_is_not_there_is_refused(monkeypatch, word, npus, said):
    having(monkeypatch, "CPU")
    with pytest.raises(UsageError, match=said):
        runtime.choose_device(word, npus)


def test_a_chip_of_ascend_is_refused():
    with pytest.raises(UsageError, match=r"soc=Ascend310P3: target=openvino compiles for no chip\. Leave out soc="):
        OpenVinoTarget.find(DeviceRequest("cpu", "Ascend310P3"))


def test_it_states_device_and_precision():
    target = OpenVinoTarget.find(DeviceRequest("cpu"))
    version, chip = target.version, runtime.describe_chip("CPU")
    assert (target.name, target.kind, target.npus, target.device) == ("openvino", "cpu", (0,), "CPU")
    assert target.made_for() == {"openvino": version}
    assert target.identity() == {"kind": "cpu", "device": "CPU", "chip": chip, "openvino": version}
    facts = target.facts("fp32")
    assert (facts["chip"], facts["openvino"], facts["computes_in"]) == (chip, version, "fp32")
    assert f"OpenVINO {version} on CPU, precision=fp32 (float32)." in facts["note"]
    assert "weights in float16, computed in float" in target.facts("fp16")["note"]
    assert f"OpenVINO {version} on CPU, {chip}" in target.describe()
    assert target.describe_device(0) == "OpenVINO on CPU"
    assert target.how_to_paste() is None


def test_the_report_warns_where_openvino_would_take_bfloat16(monkeypatch):
    target = OpenVinoTarget("CPU", None)
    monkeypatch.setattr("yolact_ascend.targets.openvino.target.default_precision", lambda device: "bf16")
    monkeypatch.setattr("yolact_ascend.targets.openvino.target.capabilities", lambda device: ("FP32", "BF16"))
    monkeypatch.setattr(runtime, "capabilities", lambda device: ("FP32", "BF16"))
    warning = "OpenVINO's own default on this device is bfloat16: faster and less exact."
    assert warning in target.facts("fp32")["note"]
    assert warning not in target.facts("bf16")["note"]


@pytest.mark.parametrize(
    ("found", "instructions", "said", "not_said"),
    [
        (("FP32", "INT8"), ["avx2"], ["precision=bf16 is refused", "int8 products can saturate"], "int8 is fast"),
        (
            ("FP32", "BF16", "INT8"),
            ["avx2", "avx512_vnni", "amx_bf16"],
            ["bf16 is fast here", "int8 is fast here"],
            "refused",
        ),
        (("FP32",), [], ["computes in FP32"], "the CPU has"),
    ],
)
def test_doctor_says_what_a_device_brings(found, instructions, said, not_said):
    text = describe_speed(found, instructions)
    assert all(words in text for words in said) and not_said not in text


def test_the_check_names_device_chip_and_formats():
    (check,) = OpenVinoTarget.check(DeviceRequest())
    assert (check.name, check.status) == ("target", "OK")
    assert check.facts["computes_in"][0] == "FP32" and check.facts["chip"] in check.text
    assert set(check.facts["instruction_sets"]) <= set(runtime._NOTABLE)


def test_threads_are_for_a_cpu_only(monkeypatch):
    having(monkeypatch, "CPU", "GPU")
    with pytest.raises(UsageError, match="threads=2: GPU is no CPU"):
        OpenVinoTarget.find(DeviceRequest("gpu", threads=2))


@pytest.mark.parametrize("embed", ["0", "1"])
def test_compile_and_infer_run_their_verbs(tiny_onnx, tmp_path, embed):
    runner, model = InThisProcess(), tmp_path / "yolact_edge_bs2.xml"
    image = input_tensor(TINY_CONFIG, DTYPE_OF_EMBED[embed])
    target = OpenVinoTarget("CPU", 1)
    job = CompileJob(tiny_onnx, model, 2, "fp16", (FLOAT32,), (image,), TINY_CONFIG.preprocessing)
    command = target.compile(job, runner, tmp_path / "log")
    words = ["--batch_size=2", "--precision=fp16", f"--embed={embed}"]
    assert runner.commands == [["compile", f"--model={tiny_onnx}", f"--output={model}", *words]]
    assert command[-len(runner.commands[0]) :] == runner.commands[0] and target.compile_inputs(job)["flags"] == words

    bins = tmp_path / "inputs" / "bin_file"
    bins.mkdir(parents=True)
    values = np.random.default_rng(3).integers(0, 3, (3, *image.shape)).astype(image.dtype)
    for index, value in enumerate(values):
        value.tofile(input_bin(bins.parent, index))
    target.infer(InferJob(model, (bins,), 3, tmp_path / "bs2"), runner, tmp_path / "log")
    output = tmp_path / "bs2" / "output"
    assert runner.commands[1] == [
        *("infer", f"--model={model}", f"--input={bins}", f"--output={output}", "--device=cpu", "--threads=1")
    ]
    with target.open(model, 0) as engine:
        expected = [engine.infer([values[:2]]), engine.infer([values[2:]])]
        for k, spec in enumerate(engine.outputs):
            whole = np.concatenate([expected[0][k], expected[1][k]])
            for index in range(3):
                found = np.fromfile(output / f"{index}_{k}.bin", np.float32).reshape(spec.shape)
                # The same bits, whether one request runs on all cores or several on one each.
                assert np.array_equal(found, whole[index])
    assert len(read_timings(tmp_path / "bs2" / "output_summary.json").latencies_ms) == 2


class Programs:
    """A runner that starts programs, as a run's does."""

    def __init__(self):
        self.own_env = {"PATH": "/usr/bin:/bin"}
        self.commands, self.env = [], None

    def run(self, command, env, log, watch):
        self.commands.append(command)
        self.env = env
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        watch(done.stdout.encode())
        return done.stdout


@pytest.mark.parametrize("embed", ["0", "1", "resize"])
def test_the_real_benchmark_app_measures(unchanged, tmp_path, embed, monkeypatch, capsys):
    """OV#28032, OV#4994: input and computation have the types that are asked for; its own JSON says so.

    Before it measures, how long that will take is said: 12 loops, each as long as the first, two at once.
    """
    monkeypatch.setattr(loops, "LEAST_S", 0.0)
    model = compile_small(unchanged, tmp_path / "m.xml", embed=embed)
    runner, target = Programs(), OpenVinoTarget("CPU", 1)
    job = BenchmarkJob(model, 1, 12, tmp_path / "bs1", (), "fp32", (tensor_of(USUAL, embed),))
    target.benchmark(job, runner, tmp_path / "log")
    assert runner.env["CI"] == "true"  # no telemetry
    assert re.search(r"benchmark: about \d+ s for 12 loops", capsys.readouterr().err)
    timings = read_timings(tmp_path / "bs1" / "perf_summary.json")
    assert timings.batches >= 12 and timings.latencies_ms == () and timings.throughput_images_per_s > 0
    latency = timings.latency_ms()
    assert latency["min"] <= latency["median"] <= latency["max"] and latency["p99"] is None
    app = json.loads((tmp_path / "bs1" / "perf_summary.json").read_text())["benchmark_app"]
    options = app["cmd_options"]
    assert (options["-infer_precision"], options["-ip"]) == ("f32", "f32" if embed == "0" else "u8")
    assert (options["-nthreads"], options["-nstreams"]) == ("1", "1")
    assert not (tmp_path / "bs1" / "perf" / "benchmark_report.json").exists()
    assert target.benchmark_inputs(job) != OpenVinoTarget("CPU", None).benchmark_inputs(job)


def test_a_benchmark_app_without_report_is_an_error(unchanged, tmp_path):
    runner = SimpleNamespace(own_env={}, run=lambda command, env, log, watch: "it said nothing")
    job = BenchmarkJob(unchanged, 1, 12, tmp_path, (), "fp32", (tensor_of(USUAL),))
    with pytest.raises(ToolError, match="benchmark_app wrote no report"):
        OpenVinoTarget("CPU", None).benchmark(job, runner, tmp_path / "log")
    (tmp_path / "benchmark_report.json").write_text('{"execution_results": {"error": "no device"}}')
    with pytest.raises(ArtifactError, match="is not a report of benchmark_app: KeyError 'throughput'"):
        read_report(tmp_path)


def test_a_model_of_any_size_is_measured_with_a_stated_size(tmp_path):
    image = input_tensor(CONFIGS["yolact_edge_resnet50_config"], OWN_SIZE)
    command = benchmark_app_command(tmp_path / "m.xml", "GPU.1", image, 1, "bf16", 5, tmp_path)
    words = " ".join(command)
    assert "-d GPU.1 -niter 5 -hint throughput -infer_precision bf16 -ip u8 -data_shape [1,480,640,3]" in words
