"""Pickles of NumPy arrays, as Detectron2's and Detectron1's zoos have them: arrays come back, and nothing else runs."""

import io
import pickle
import pickletools
import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pytest
import torch
from factories import CHECKOUT, TINY_CONFIG, random_state_dict

from yolact_ascend.errors import WeightsError
from yolact_ascend.models.weights import read_state_dict
from yolact_ascend.models.weights_arrays import Array, read_arrays
from yolact_ascend.models.weights_file import describe_format, find_fault, read_shapes

PROTOCOLS = [2, 3, 4, 5]
VALUES = {
    "float32": np.arange(6, dtype=np.float32).reshape(2, 3),
    "float64": np.array([1e300, -0.5]),
    "float16": np.array([[1.5]], np.float16),
    "counter": np.array(7, dtype=np.int64),
    "scalar": np.float32(2.5),
    "bool": np.array([True, False]),
    "empty": np.zeros((0, 4), np.float32),
    "columns first": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    "a view": np.arange(10, dtype=np.float32)[::3],
    "big end first": np.arange(3, dtype=">f4"),
    "long": np.arange(5000, dtype=np.float32),
    "every byte": np.arange(256, dtype=np.uint8),
}
# {"blobs": {"conv1_w": array, u"fc6_b": array}, "cfg": "MODEL: {}"} as Python 2 writes it in protocol 2: texts of
# bytes, and "f4", 0, 1 in the dtype. Source: Detectron, detectron/utils/net.py (save_model_to_weights_file).
PYTHON_2 = (
    b"\x80\x02}q\x00(U\x05blobsq\x01}q\x02(U\x07conv1_wq\x03cnumpy.core.multiarray\n_reconstruct\nq\x04cnumpy\nndarray\n"
    b"q\x05K\x00\x85q\x06U\x01bq\x07\x87q\x08Rq\x09(K\x01K\x02K\x01\x86q\x0acnumpy\ndtype\nq\x0bU\x02f4q\x0cK\x00K\x01"
    b"\x87q\x0dRq\x0e(K\x03U\x01<q\x0fNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x10b\x89U\x08\x00\x00\x80?\x00\x00"
    b"\x80\xbfq\x11tq\x12bX\x05\x00\x00\x00fc6_bq\x13h\x04h\x05K\x00\x85q\x14h\x07\x87q\x15Rq\x16(K\x01K\x01\x85q\x17"
    b"h\x0e\x89U\x04\x00\x00\xc0?q\x18tq\x19buU\x03cfgq\x1aU\x09MODEL: {}q\x1bu."
)


def renamed_core(pickled, old, new):
    """Return a pickle with NumPy 1's module names in place of NumPy 2's, or the reverse: lengths stand before names."""
    made = pickled.replace(f"c{old}.".encode(), f"c{new}.".encode())  # GLOBAL
    for module in ("multiarray", "numeric"):
        was, now = (f"{core}.{module}".encode() for core in (old, new))
        made = made.replace(b"\x8c" + bytes([len(was)]) + was, b"\x8c" + bytes([len(now)]) + now)  # SHORT_BINUNICODE
    return made


@pytest.fixture
def write(tmp_path):
    def write(content, protocol=2):
        path = tmp_path / "a.pkl"
        path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol))
        return path

    return write


@pytest.mark.parametrize("core", ["numpy.core", "numpy._core"], ids=["NumPy 1", "NumPy 2"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", VALUES)
def test_arrays_come_back(write, name, protocol, core):
    value = VALUES[name]
    own = np._core.multiarray.__name__ if hasattr(np, "_core") else "numpy.core.multiarray"
    pickled = renamed_core(pickle.dumps({"model": {"a": value}}, protocol), own.rsplit(".", 1)[0], core)
    if protocol > 3:  # frames state their length: without them, other names may stand inside
        pickled = without_frames(pickled)
    path = write(pickled)
    found = read_arrays(path)["model"]["a"].to_numpy()
    np.testing.assert_array_equal(found, value)
    assert found.dtype == np.asarray(value).dtype.newbyteorder("=")
    assert found.flags.writeable and found.flags.c_contiguous
    assert read_shapes(path) == {"a": np.shape(value)}


def without_frames(pickled):
    made, end = b"", len(pickled)
    frames = {position for opcode, _, position in pickletools.genops(io.BytesIO(pickled)) if opcode.name == "FRAME"}
    for start in range(end):
        if not any(frame <= start < frame + 9 for frame in frames):
            made += pickled[start : start + 1]
    return made


def test_python_2s_pickles_are_read(write):
    path = write(PYTHON_2)
    found = read_arrays(path)["blobs"]
    np.testing.assert_array_equal(found["conv1_w"].to_numpy(), np.array([[1], [-1]], np.float32))
    np.testing.assert_array_equal(found["fc6_b"].to_numpy(), np.array([1.5], np.float32))
    assert read_shapes(path) == {"conv1_w": (2, 1), "fc6_b": (1,)}
    # The referee: Python's own reader, as Detectron2 calls it.
    assert pickle.loads(PYTHON_2, encoding="latin1")["cfg"] == "MODEL: {}"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_file_of_arrays_gives_the_tensors_of_the_state_dict(write, protocol, capsys):
    state = random_state_dict(TINY_CONFIG)
    arrays = {key: value.numpy() for key, value in state.items()}
    path = write({"model": arrays, "__author__": "Somebody"}, protocol)
    found = read_state_dict(path, TINY_CONFIG)
    assert found and all(torch.equal(value, state[key]) for key, value in found.items())
    assert "the weights are those under 'model'; not used: __author__." in capsys.readouterr().err
    assert describe_format(path) == "a pickle of NumPy arrays"
    assert find_fault(path) is None


class Runs:
    """An object whose unpickling would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "where", [lambda evil: {"model": {"a": np.ones(2)}, "x": evil}, lambda evil: {"model": {"a": evil}}, lambda e: e]
)
def test_a_pickle_that_would_run_code_is_refused_by_name_and_does_not_run(write, tmp_path, protocol, where):
    victim = tmp_path / "written"
    path = write(where(Runs(victim)), protocol)
    with pytest.raises(WeightsError, match=r"a.pkl holds Python objects \((_io|io).open\) beside"):
        read_state_dict(path, TINY_CONFIG)
    assert read_shapes(path) is None
    assert not victim.exists()
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"import pickle; pickle.load(open({str(path)!r}, 'rb'))"], check=True
    )
    assert victim.exists(), "the same file runs by Python's own reader"


NAMES = {
    "system": (b"cos\nsystem\nU\x04trueq\x00\x85R.", "os.system"),
    "eval": (b"c__builtin__\neval\nU\x011\x85R.", "eval"),
    "getattr": (b"cbuiltins\ngetattr\n(NNtR.", "getattr"),
    "numpy's loader": (b"cnumpy\nload\nU\x01a\x85R.", "numpy.load"),
    "ctypes by numpy": (b"cnumpy.core.multiarray\nctypeslib\n.", "numpy.core.multiarray.ctypeslib"),
    "stack": (b"\x8c\x02os\x8c\x06system\x93.", "os.system"),
    "dotted": (b"\x8c\x05numpy\x8c\x0ddtype.__new__\x93.", "numpy.dtype.__new__"),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_that_arrays_do_not_need_are_refused(write, name):
    pickled, said = NAMES[name]
    path = write(b"\x80\x02" + pickled)
    with pytest.raises(WeightsError, match=rf"holds Python objects \({said}\)"):
        read_state_dict(path, TINY_CONFIG)


ODD = {
    "persistent id": (b"\x80\x02U\x01aQ.", "opcode BINPERSID"),
    "extension": (b"\x80\x02\x82\x01.", "opcode EXT1"),
    "new object": (b"\x80\x02cnumpy\nndarray\n)\x81.", "opcode NEWOBJ"),
    "instance": (b"\x80\x02(ios\nsystem\n.", "opcode INST"),
    "a call of an array": (b"\x80\x02cnumpy\nndarray\n)R.", "calls an object that makes no array"),
    "a call of a text": (b"\x80\x02U\x01a)R.", "calls an object that makes no array"),
    "state of a dict": (b"\x80\x02}}b.", "sets the state"),
    "objects": (pickle.dumps({"a": np.array([{}])}, 2), "an array of O8, expected of numbers"),
    "texts": (pickle.dumps({"a": np.array(["abc"])}, 2), "an array of U3, expected of numbers"),
    "records": (pickle.dumps({"a": np.zeros(1, [("x", "f4")])}, 2), "an array of V4, expected of numbers"),
    "cut": (pickle.dumps({"a": np.ones(100)}, 2)[:-300], "ends at byte|pickle exhausted"),
    "longer": (pickle.dumps({"a": np.ones(2)}, 2) + b"abc", "3 bytes follow its end"),
    "a length of 2**62": (b"\x80\x04\x8e" + (2**62).to_bytes(8, "little") + b"abc.", "ends at byte 15"),
    "too few bytes": (pickle.dumps({"a": np.ones(2)}, 2).replace(b"K\x02\x85", b"K\x03\x85"), "expected 24"),
    "negative shape": (pickle.dumps({"a": np.ones(2)}, 2).replace(b"K\x02\x85", b"J\xfe\xff\xff\xff\x85"), "shape of"),
    "an empty dict": (pickle.dumps({"model": {}}, 2), "holds no state dict"),
    "no dict": (pickle.dumps([np.ones(2)], 2), "holds no state dict"),
    "protocol 0": (pickle.dumps({"a": np.ones(2)}, 0), "cannot be read"),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_no_pickle_of_arrays_is_refused(write, name):
    content, said = ODD[name]
    path = write(content)
    with pytest.raises(WeightsError, match=said):
        read_state_dict(path, TINY_CONFIG)
    assert read_shapes(path) is None
    assert find_fault(path) is not None


def test_shapes_are_read_without_keeping_values(write):
    import tracemalloc

    path = write({"model": OrderedDict((f"w{i}", np.ones(250_000, np.float32)) for i in range(8))}, 4)  # 8 MB
    tracemalloc.start()
    assert read_shapes(path)["w7"] == (250_000,)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000, "one array of 1 MB at a time, read and dropped"


def test_shapes_are_read_without_pytorch(write):
    path = write({"model": {"a": np.ones((2, 3), np.float32)}}, 4)
    code = (
        "import sys; sys.modules['torch'] = None; from pathlib import Path; "
        "from yolact_ascend.models.weights_file import read_shapes; print(read_shapes(Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout == "{'a': (2, 3)}\n"


def test_an_array_of_bytes_is_read_as_python_3_writes_it_in_protocol_2(write):
    assert b"_codecs\nencode" in pickle.dumps(np.ones(3), 2), "the form that this test is about"
    found = read_arrays(write({"a": np.ones(3)}, 2))["a"]
    assert isinstance(found, Array) and found.to_numpy().tolist() == [1, 1, 1]


@pytest.mark.skipif(np.dtype(np.longdouble).itemsize != 16, reason="long double has another size on this machine")
def test_a_number_that_pytorch_does_not_know_is_named(write):
    state = {key: value.numpy() for key, value in random_state_dict(TINY_CONFIG).items()}
    key = next(iter(state))
    path = write({**state, key: state[key].astype(np.longdouble)})
    with pytest.raises(WeightsError, match=f"holds {key} as float128, expected float32"):
        read_state_dict(path, TINY_CONFIG)
