"""The two engines: what they compute is the same, and what goes wrong is said."""

import json
import os
import signal
import stat
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from factories import TINY_CONFIG

from yolact_ascend.errors import ArtifactError, ToolError
from yolact_ascend.models.families import cut_outputs
from yolact_ascend.models.inputs import INPUT_DTYPES, input_tensor
from yolact_ascend.slots import open_slots
from yolact_ascend.targets.ascend.engine import DeviceEngine
from yolact_ascend.targets.onnxruntime.engine import OnnxEngine
from yolact_ascend.targets.target import batches
from yolact_ascend.tensors import TensorSpec

INPUT, UINT8_INPUT = (input_tensor(TINY_CONFIG, dtype) for dtype in INPUT_DTYPES)


def kinds(specs):
    """What an engine knows of tensors: a layout is not among it."""
    return [(spec.name, spec.shape, spec.dtype) for spec in specs]


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(0).standard_normal((3, *INPUT.shape), dtype=np.float32)


@pytest.fixture
def on_device(compiled, emulation):
    with DeviceEngine(compiled, emulation) as engine:
        yield engine


def test_the_onnx_engine_takes_any_batch_and_knows_its_model(tiny_onnx, images):
    with OnnxEngine(tiny_onnx) as engine:
        assert (engine.batch_size, kinds(engine.inputs)) == (None, kinds([INPUT]))
        assert engine.outputs == cut_outputs(TINY_CONFIG, "fpn")
        assert engine.metadata["cut"] == "fpn"
        one, two = engine.infer([images[:1]]), engine.infer([images[:2]])
    assert [output.shape[0] for output in two] == [2] * 6
    for alone, together in zip(one, two):
        np.testing.assert_allclose(together[:1], alone, rtol=0, atol=1e-4 * np.abs(alone).max())


@pytest.mark.parametrize(
    "batch", [np.zeros((1, 3, 10, 10), np.float32), np.zeros((1, *UINT8_INPUT.shape), np.uint8)], ids=["size", "dtype"]
)
def test_the_onnx_engine_refuses_other_inputs(tiny_onnx, batch):
    with OnnxEngine(tiny_onnx) as engine, pytest.raises(ArtifactError, match="does not take a batch of"):
        engine.infer([batch])


def test_a_file_that_is_no_onnx_is_refused(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(ArtifactError, match=r"m\.onnx cannot be opened as ONNX: "):
        OnnxEngine(tmp_path / "m.onnx")


def test_the_device_computes_what_the_onnx_does(on_device, tiny_onnx, images):
    """Compiled with float32, so that only the order of sums may differ."""
    assert (on_device.batch_size, kinds(on_device.inputs)) == (2, kinds([INPUT]))
    assert [(spec.shape, spec.dtype) for spec in on_device.outputs] == [
        (spec.shape, spec.dtype) for spec in cut_outputs(TINY_CONFIG, "fpn")
    ]
    with OnnxEngine(tiny_onnx) as engine:
        expected = engine.infer([images[:2]])
    found = on_device.infer([images[:2]])
    assert [(output.shape, output.dtype) for output in found] == [(output.shape, output.dtype) for output in expected]
    for ours, theirs in zip(found, expected):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())


def test_a_short_batch_gives_its_own_images_and_batches_do_not_share_memory(on_device, images):
    full = on_device.infer([images[:2]])
    before = [output.copy() for output in full]
    short = on_device.infer([images[1:2]])
    assert all(output.shape[0] == 1 for output in short)
    assert all(np.array_equal(one[0], both[1]) for one, both in zip(short, full))
    other = on_device.infer([images[2:]])
    assert not np.array_equal(other[0], short[0])
    assert all(np.array_equal(output, copy) for output, copy in zip(full, before))


def test_a_short_batch_is_filled_up_with_its_own_images(on_device, images):
    """Not with those of the batch before, whatever they hold."""
    with open_slots(2, 2, on_device.inputs, on_device.outputs) as slots:
        (before,), (place,) = slots.images(0), slots.images(1)
        place[:] = 255
        place[0] = images[2]
        start, end = on_device.infer_slot(slots, 1, 1)
        assert start < end
        assert all(np.array_equal(filled, images[2]) for filled in place)
        assert all(np.array_equal(output[0], output[1]) and output.any() for output in slots.results(1))
        assert not before.any()


def test_each_file_of_slots_is_mapped_anew(on_device, images):
    """A stream's file goes with it, and that of the next may have the number of its descriptor."""
    expected, paths = on_device.infer([images[:2]])[0], []
    for _ in range(2):
        with open_slots(1, 2, on_device.inputs, on_device.outputs) as slots:
            on_device.infer_slot(slots, 0, 2, [images[:2]])
            assert np.array_equal(slots.results(0)[0], expected)
            paths.append(slots.path)
        del slots
    assert paths[0] == paths[1]


@pytest.mark.parametrize("count", [0, 3])
def test_the_device_refuses_another_number_of_images(on_device, images, count):
    with pytest.raises(ArtifactError, match=f"A batch of {count} images has .* takes 2 images, each image of 3630000"):
        on_device.infer([images[:count]])


def test_the_device_refuses_images_of_another_size(on_device):
    with pytest.raises(
        ArtifactError, match="has 907500 bytes, but the model takes 2 images, each .*3630000 bytes.*AIPP"
    ):
        on_device.infer([np.zeros((1, *UINT8_INPUT.shape), np.uint8)])


def test_four_uint8_images_do_not_pass_for_one_of_float32(on_device):
    """They have as many bytes; ais_bench itself takes them."""
    with pytest.raises(ArtifactError, match="A batch of 8 images"):
        on_device.infer([np.zeros((8, *UINT8_INPUT.shape), np.uint8)])


def test_a_model_that_the_device_cannot_load_is_said_with_the_tools_words(tmp_path, emulation):
    (tmp_path / "broken.om").write_bytes(b"no model")
    (tmp_path / "broken.om").chmod(0o640)
    with pytest.raises(ToolError, match=r"ais_bench failed on the device: \w+"):
        DeviceEngine(tmp_path / "broken.om", emulation)


def test_a_device_that_is_not_there_is_said(compiled, emulation):
    with pytest.raises(ToolError, match="ais_bench failed on the device: "):
        DeviceEngine(compiled, emulation, device=7)


def test_a_worker_that_is_killed_is_said_and_leaves_nothing(compiled, emulation, images):
    with DeviceEngine(compiled, emulation) as engine:
        shared = engine._slots.path
        os.kill(engine._process.pid, signal.SIGKILL)
        engine._process.wait()
        with pytest.raises(ToolError, match="ais_bench failed on the device: it was ended by signal SIGKILL"):
            engine.infer([images[:2]])
    assert not shared.exists()


def test_the_worker_and_its_memory_end_with_the_engine(compiled, emulation):
    with DeviceEngine(compiled, emulation) as engine:
        process, shared = engine._process, engine._slots.path
        assert process.poll() is None and shared.stat().st_size > 2 * INPUT.size_bytes
    assert process.poll() == 0 and not shared.exists()


def pretended_python(path, answer):
    """A worker's Python that answers on its last argument's pipe and ends."""
    path.write_text(f"#!/bin/bash\necho noise on standard output\n{answer}\n")
    path.chmod(stat.S_IRWXU)
    return SimpleNamespace(python=str(path), env={})


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("exit 3", "it failed with exit code 3"),
        ("""echo '{"error": "RuntimeError: no device"}' >&"${@: -1}\"""", "RuntimeError: no device"),
    ],
    ids=["it ends", "it says why"],
)
def test_a_worker_that_does_not_come_up_is_said(tmp_path, answer, said):
    with pytest.raises(ToolError, match=f"ais_bench failed on the device: {said}"):
        DeviceEngine(tmp_path / "m.om", pretended_python(tmp_path / "python3", answer))


# What the runtime prints before ais_bench's exception (a capture of CANN 8.0; the form of CANN 8.5).
OUT_OF_MEMORY = "[ACL ERROR] EL0004: [PID: 106] 2025-10-30-08:21:08.817.477 Failed to allocate memory."
TIMED_OUT = "[PID: 7] 2026-08-01-10:00:00.000.000 Execution_Error_Stream_Synchronize_Timeout(EE1002): x."
INVALID = """echo '{"error": "RuntimeError: [1][ACL: invalid parameter] "}' >&"${@: -1}\""""


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (f"echo '{OUT_OF_MEMORY}'; {INVALID}", "EL0004: the device has too little free memory"),
        (f"echo '{TIMED_OUT}' >&2; {INVALID}", "EE1002: the device did not answer in time"),
        (INVALID.replace("[1][ACL: invalid parameter]", "[507033][Error code unknown]"), "Error 507033: the device c"),
        (
            INVALID.replace("[1]", "libascendcl.so: cannot open shared object file"),
            "set_env",
        ),
        ("kill -SEGV $$", "It crashed in CANN"),
    ],
    ids=["at load", "on standard error", "a number alone", "import", "crash"],
)
def test_what_the_device_says_is_explained_and_shown(tmp_path, capfd, answer, said):
    with pytest.raises(ToolError, match=rf"(?s)ais_bench failed on the device: .*above\.\n.*{said}"):
        DeviceEngine(tmp_path / "m.om", pretended_python(tmp_path / "python3", answer))
    shown = capfd.readouterr()
    assert shown.out == "" and shown.err.startswith("noise on standard output\n")
    assert all(line in shown.err for line in (OUT_OF_MEMORY, TIMED_OUT) if line in answer)


# Describes the model that it is told, and gives each input as the output of the same number.
ECHO = """
import json, mmap, os, sys
answers = os.fdopen(int(sys.argv[-1]), "w")
print({description!r}, file=answers, flush=True)
for line in os.fdopen(int(sys.argv[-2])):
    request = json.loads(line)
    with open(request["file"], "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        for (source, size), (place, _) in zip(request["inputs"], request["outputs"]):
            memory[place : place + size] = memory[source : source + size]
    print(json.dumps(dict(ms=[10.0, 12.5])), file=answers, flush=True)
"""


def echoing_worker(path, inputs):
    """A worker's Python for a model with these inputs, which gives them back."""
    description = json.dumps({"inputs": inputs, "outputs": [{**tensor, "name": "out"} for tensor in inputs]})
    path.with_suffix(".py").write_text(ECHO.format(description=description))
    return pretended_python(path, f'exec {sys.executable} {path.with_suffix(".py")} "$@"')


def tensor(name, shape, datatype, size_bytes):
    """What the worker says of a tensor; `datatype` is aclDataType's number (CANN's acl_base.h)."""
    return {"name": name, "shape": shape, "datatype": datatype, "size_bytes": size_bytes}


def test_a_model_of_several_inputs_gets_each(tmp_path):
    described = [tensor("image", [2, 2, 3], 4, 12), tensor("size", [2, 2], 0, 16)]
    image, size = np.arange(12, dtype=np.uint8).reshape(2, 2, 3), np.array([[1, 2], [3, 4]], np.float32)
    with DeviceEngine(tmp_path / "m.om", echoing_worker(tmp_path / "python3", described)) as engine:
        assert engine.inputs == (TensorSpec("image", (2, 3), "uint8"), TensorSpec("size", (2,), "float32"))
        for count in (2, 1):
            found = engine.infer([image[:count], size[:count]])
            assert [array.tolist() for array in found] == [image[:count].tolist(), size[:count].tolist()]
        with open_slots(1, 2, engine.inputs, engine.outputs) as slots:
            slots.images(0)[1][0] = 7
            assert engine.infer_slot(slots, 0, 1) == (10.0, 12.5)
            assert slots.results(0)[1].tolist() == [[7, 7], [7, 7]]
        with pytest.raises(ArtifactError, match=r"has 12 bytes, .* each image of 6 bytes, size of 8 bytes\. Was"):
            engine.infer([image])


@pytest.mark.parametrize(
    ("described", "shape", "dtype"),
    [
        (tensor("x", [2, 4, 4, 3], 4, 96), (4, 4, 3), "uint8"),
        (tensor("x", [2, 3, 2, 2], 0, 96), (3, 2, 2), "float32"),
        (tensor("x", [2, 3, 2, 2], 3, 96), (3, 2, 2), "int32"),
        (tensor("x", [2, 6], 1, 24), (6,), "float16"),
        (tensor("x", [2, 3, 2, 2], 0, 24), (12,), "uint8"),
        (tensor("x", [2, 3, 2, 2], 99, 96), (48,), "uint8"),
    ],
    ids=["uint8", "float32", "int32 of as many bytes", "float16", "bytes of another type", "unknown type"],
)
def test_types_are_those_that_the_worker_states(tmp_path, described, shape, dtype):
    """Not what the bytes would fit: 96 bytes are two uint8 images of 4 x 4, or of 3 x 2 x 2 float32 or int32 values."""
    with DeviceEngine(tmp_path / "m.om", echoing_worker(tmp_path / "python3", [described])) as engine:
        assert (engine.batch_size, kinds(engine.inputs)) == (2, [("x", shape, dtype)])
        assert kinds(engine.outputs) == [("out", shape, dtype)]


def test_a_model_with_aipp_states_that_it_takes_pixels(compiled_with_aipp, emulation):
    with DeviceEngine(compiled_with_aipp, emulation) as engine:
        assert (engine.batch_size, kinds(engine.inputs)) == (1, kinds([UINT8_INPUT]))


@pytest.fixture
def two_inputs(tmp_path):
    """An ONNX for batches of two: `sum` is a + b, `twice` is 2 b."""
    from onnx import TensorProto, helper, save

    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3]) for name in "ab"}
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3]) for name in ("sum", "twice")]
    nodes = [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Add", ["b", "b"], ["twice"])]
    graph = helper.make_graph(nodes, "g", list(values.values()), results)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_the_onnx_engine_takes_several_inputs_and_fills_a_short_batch(two_inputs):
    a, b = np.arange(6, dtype=np.float32).reshape(2, 3), np.full((2, 3), 10, np.float32)
    with OnnxEngine(two_inputs) as engine:
        assert (engine.batch_size, engine.metadata) == (2, {})
        assert engine.inputs == (TensorSpec("a", (3,)), TensorSpec("b", (3,)))
        for count in (2, 1):
            sums, twice = engine.infer([a[:count], b[:count]])
            assert (sums.tolist(), twice.tolist()) == ((a + b)[:count].tolist(), (2 * b)[:count].tolist())
        with open_slots(2, 2, engine.inputs, engine.outputs) as slots:
            for place, values in zip(slots.images(1), (a, b)):
                place[:1] = values[:1]
            start, end = engine.infer_slot(slots, 1, 1)
            assert start < end
            assert [array.tolist() for array in slots.results(1)] == [
                [[10, 11, 12], [0, 0, 0]],
                [[20, 20, 20], [0, 0, 0]],
            ]
            assert not any(array.any() for array in slots.results(0))


def test_a_python_that_is_not_there_is_said(tmp_path):
    tools = SimpleNamespace(python=str(tmp_path / "python3"), env={})
    with pytest.raises(ToolError, match=r"Cannot start .*python3: No such file"):
        DeviceEngine(tmp_path / "m.om", tools)


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (2, [2]), (5, [2, 2, 1])], ids=["none", "one", "a short one"])
def test_batches(count, sizes):
    cut = list(batches(range(count), 2))
    assert [len(batch) for batch in cut] == sizes and [i for batch in cut for i in batch] == list(range(count))
