"""The two engines: what they compute is the same, and what goes wrong is said."""

import os
import signal
import stat
from types import SimpleNamespace

import numpy as np
import pytest

from yolact_ascend.errors import ArtifactError, ToolError
from yolact_ascend.models.inputs import INPUT, UINT8_INPUT
from yolact_ascend.slots import open_slots
from yolact_ascend.targets.ascend.engine import DeviceEngine
from yolact_ascend.targets.onnxruntime.engine import OnnxEngine
from yolact_ascend.targets.target import batches


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(0).standard_normal((3, *INPUT.shape), dtype=np.float32)


@pytest.fixture
def on_device(compiled, emulation):
    with DeviceEngine(compiled, emulation) as engine:
        yield engine


def test_the_onnx_engine_takes_any_batch_and_knows_its_model(tiny_onnx, images):
    with OnnxEngine(tiny_onnx) as engine:
        assert (engine.batch_size, engine.image_bytes) == (None, INPUT.size_bytes)
        assert engine.metadata["cut"] == "fpn"
        one, two = engine.infer(images[:1]), engine.infer(images[:2])
    assert [output.shape[0] for output in two] == [2] * 6
    for alone, together in zip(one, two):
        np.testing.assert_allclose(together[:1], alone, rtol=0, atol=1e-4 * np.abs(alone).max())


@pytest.mark.parametrize(
    "batch", [np.zeros((1, 3, 10, 10), np.float32), np.zeros((1, *UINT8_INPUT.shape), np.uint8)], ids=["size", "dtype"]
)
def test_the_onnx_engine_refuses_other_inputs(tiny_onnx, batch):
    with OnnxEngine(tiny_onnx) as engine, pytest.raises(ArtifactError, match="does not take a batch of"):
        engine.infer(batch)


def test_a_file_that_is_no_onnx_is_refused(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(ArtifactError, match=r"m\.onnx cannot be opened as ONNX: "):
        OnnxEngine(tmp_path / "m.onnx")


def test_the_device_computes_what_the_onnx_does(on_device, tiny_onnx, images):
    """Compiled with float32, so that only the order of sums may differ."""
    assert (on_device.batch_size, on_device.image_bytes) == (2, INPUT.size_bytes)
    with OnnxEngine(tiny_onnx) as engine:
        expected = engine.infer(images[:2])
    found = on_device.infer(images[:2])
    assert [(output.shape, output.dtype) for output in found] == [(output.shape, output.dtype) for output in expected]
    for ours, theirs in zip(found, expected):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())


def test_a_short_batch_gives_its_own_images_and_batches_do_not_share_memory(on_device, images):
    full = on_device.infer(images[:2])
    before = [output.copy() for output in full]
    short = on_device.infer(images[1:2])
    assert all(output.shape[0] == 1 for output in short)
    assert all(np.array_equal(one[0], both[1]) for one, both in zip(short, full))
    other = on_device.infer(images[2:])
    assert not np.array_equal(other[0], short[0])
    assert all(np.array_equal(output, copy) for output, copy in zip(full, before))


def test_a_short_batch_is_filled_up_with_its_own_images(on_device, images):
    """Not with those of the batch before, whatever they hold."""
    with open_slots(2, 2, INPUT.size_bytes, on_device.outputs) as slots:
        slots.images(1)[:] = 255
        slots.images(1)[0] = images[2].view(np.uint8).ravel()
        on_device.infer_slot(slots, 1, 1)
        assert all(filled.tobytes() == images[2].tobytes() for filled in slots.images(1))
        assert all(np.array_equal(output[0], output[1]) for output in slots.results(1))
        assert not slots.images(0).any()


@pytest.mark.parametrize("count", [0, 3])
def test_the_device_refuses_another_number_of_images(on_device, images, count):
    with pytest.raises(ArtifactError, match=f"A batch of {count} images has .* the model takes 2 images of 3630000"):
        on_device.infer(images[:count])


def test_the_device_refuses_images_of_another_size(on_device):
    with pytest.raises(ArtifactError, match="907500 bytes, but the model takes 2 images of 3630000 bytes.*AIPP"):
        on_device.infer(np.zeros((1, *UINT8_INPUT.shape), np.uint8))


def test_four_uint8_images_do_not_pass_for_one_of_float32(on_device):
    """They have as many bytes; ais_bench itself takes them."""
    with pytest.raises(ArtifactError, match="A batch of 8 images"):
        on_device.infer(np.zeros((8, *UINT8_INPUT.shape), np.uint8))


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
        with pytest.raises(ToolError, match="ais_bench failed on the device: it ended with exit code -9"):
            engine.infer(images[:2])
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
        ("exit 3", "it ended with exit code 3"),
        ("""echo '{"error": "RuntimeError: no device"}' >&"${@: -1}\"""", "RuntimeError: no device"),
    ],
    ids=["it ends", "it says why"],
)
def test_a_worker_that_does_not_come_up_is_said(tmp_path, answer, said):
    with pytest.raises(ToolError, match=f"ais_bench failed on the device: {said}"):
        DeviceEngine(tmp_path / "m.om", pretended_python(tmp_path / "python3", answer))


def test_a_model_of_two_inputs_is_refused(tmp_path):
    tensor = '{"name": "a", "shape": [1, 4], "size_bytes": 16}'
    answer = f"""echo '{{"inputs": [{tensor}, {tensor}], "outputs": []}}' >&"${{@: -1}}\""""
    with pytest.raises(ArtifactError, match=r"m\.om has 2 inputs, expected one"):
        DeviceEngine(tmp_path / "m.om", pretended_python(tmp_path / "python3", answer))


def test_a_python_that_is_not_there_is_said(tmp_path):
    tools = SimpleNamespace(python=str(tmp_path / "python3"), env={})
    with pytest.raises(ToolError, match=r"Cannot start .*python3: No such file"):
        DeviceEngine(tmp_path / "m.om", tools)


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (2, [2]), (5, [2, 2, 1])], ids=["none", "one", "a short one"])
def test_batches(count, sizes):
    cut = list(batches(range(count), 2))
    assert [len(batch) for batch in cut] == sizes and [i for batch in cut for i in batch] == list(range(count))
