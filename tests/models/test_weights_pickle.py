"""The pickle in a weights file describes tensors; whatever else it asks for is not made."""

import io
import pickle
import tracemalloc
import zipfile
from collections import Counter, OrderedDict

import pytest
import torch
from factories import TINY_CONFIG

from yolact_ascend.errors import WeightsError
from yolact_ascend.models.weights import read_state_dict
from yolact_ascend.models.weights_file import read_shapes
from yolact_ascend.models.weights_pickle import ITEM_BYTES, ShapeReader

KEY = b"X\x01\x00\x00\x00a"
DEEP = b"K\x01" + b"\x85" * 150_000  # a tuple of a tuple of a tuple …: `pickle.loads` dies of such a key
NESTED = b"K\x01\x85\x85"


def read(pickled):
    return ShapeReader(io.BytesIO(pickled)).read()


@pytest.fixture
def write(tmp_path):
    """Write a weights file with this pickle in it."""

    def write(pickled):
        with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
            archive.writestr("a/data.pkl", pickled)
            archive.writestr("a/version", "3\n")
        return tmp_path / "a.pth"

    return write


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, None, True, False, 300, 70_000, 2**40, "é"], "b": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4))},
        OrderedDict([("a", {}), (3, [])]),
        [[[1]], {(1, 2): "a"}],
    ],
)
def test_plain_values_come_back(value):
    assert read(pickle.dumps(value, protocol=2)) == value


@pytest.mark.parametrize("value", [Counter("abc"), {1, 2}, 1j, b"bytes", bytearray(b"a"), torch.float16])
def test_other_objects_are_not_made(value):
    assert list(read(pickle.dumps({"a": value}, protocol=2))) == ["a"]
    assert not isinstance(read(pickle.dumps({"a": value}, protocol=2))["a"], type(value))


def test_an_object_that_would_run_code_does_not(tmp_path):
    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    read(pickle.dumps({"a": Evil()}, protocol=2))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("pickled", "said"),
    [
        (b"\x80\x02}" + DEEP + b"K\x01s.", "It has nested tuples as keys"),
        (b"\x80\x02}(" + NESTED + b"K\x01u.", "It has nested tuples as keys"),
        (b"\x80\x02ccollections\nOrderedDict\n]" + NESTED + b"K\x01\x86a\x85R.", "It has nested tuples as keys"),
        (pickle.dumps({}, protocol=4), "It has the opcode MEMOIZE, which PyTorch does not take"),
        (b"\x80\x02}" + KEY + b"I" + b"9" * 6000 + b"\ns.", "opcode INT|Exceeds the limit"),
        (b"\x80\x02}", "pickle exhausted before seeing STOP"),
    ],
    ids=["key", "keys", "ordered dict", "protocol 4", "6000 digits", "cut"],
)
def test_what_pytorch_does_not_take_is_refused_in_a_sentence(write, pickled, said):
    """Python hashes nested tuples recursively, without a limit."""
    with pytest.raises(WeightsError, match=rf"cannot be read as PyTorch weights .*({said}|.*Is it truncated)"):
        read_state_dict(write(pickled), TINY_CONFIG)
    with pytest.raises(ValueError, match=said):
        read(pickled)


def test_a_deep_value_is_no_state_dict(write):
    with pytest.raises(WeightsError, match="holds no state dict: .* found a dict with a"):
        read_state_dict(write(b"\x80\x02}" + KEY + DEEP + b"s."), TINY_CONFIG)


def test_memory_does_not_follow_the_numbers_in_a_pickle():
    """`pickle` makes a table as long as the largest number of an object: here 2 GB."""
    tracemalloc.start()
    assert read(b"\x80\x02}r\x00\x00\x00\x08.") == {}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


BEYOND = {
    "offset": (40, (24,), (1,), r"A tensor of shape \[24\] ends at value 63 of 50"),
    "strides": (0, (24,), (3,), r"A tensor of shape \[24\] ends at value 69 of 50"),
    "negative": (-1, (1,), (1,), r"ends at value -1 of 50"),
    "two axes": (0, (5, 11), (10, 1), r"A tensor of shape \[5, 11\] ends at value 50 of 50"),
}


@pytest.mark.parametrize(("offset", "size", "strides", "said"), BEYOND.values(), ids=BEYOND.keys())
@pytest.mark.parametrize("is_old", [False, True], ids=["zip", "old format"])
def test_a_view_beyond_its_values_is_refused(tmp_path, monkeypatch, offset, size, strides, said, is_old):
    """PyTorch refuses it too, in the words "Trying to resize storage that is not resizable"."""

    def reduce(self, protocol):
        storage = torch.storage.TypedStorage(wrap_storage=self.untyped_storage(), dtype=self.dtype, _internal=True)
        return torch._utils._rebuild_tensor_v2, (storage, offset, size, strides, False, OrderedDict())

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "__reduce_ex__", reduce)
        torch.save({"a": torch.zeros(50)}, tmp_path / "a.pth", _use_new_zipfile_serialization=not is_old)
    assert read_shapes(tmp_path / "a.pth") is None
    with pytest.raises(WeightsError, match=rf"cannot be read as PyTorch weights .*{said}"):
        read_state_dict(tmp_path / "a.pth", TINY_CONFIG)


@pytest.mark.parametrize(
    "size", [("a", 3), (-1,), (2.5,), (True,)], ids=["text", "negative", "a fraction", "a truth value"]
)
def test_a_shape_is_of_whole_numbers(write, size):
    name = b"ctorch._utils\n_rebuild_tensor_v2\n"
    arguments = pickle.dumps(((None, 0, size, (1,)), 0), protocol=2)[2:-1]
    pickled = b"\x80\x02}" + KEY + name + arguments[: arguments.rindex(b"K\x00")] + b"Rs."
    assert read_shapes(write(pickled)) is None


def test_every_kind_of_storage_has_its_size():
    """torch.serialization: the classes of this PyTorch, with their types' sizes."""
    names = {kind.__name__ for kind in torch._storage_classes} - {"TypedStorage", "UntypedStorage"}
    expected = {name: torch.serialization.StorageType(name).dtype.itemsize for name in names}
    assert {**expected, "UntypedStorage": 1} == ITEM_BYTES
