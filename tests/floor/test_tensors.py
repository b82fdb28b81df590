"""Tensors as values, and their raw files: of the size that the contract says, or refused."""

import numpy as np
import pytest

from yolact_ascend.errors import ArtifactError
from yolact_ascend.tensors import TensorSpec, all_finite, read_tensor, require_size

SMALL = TensorSpec("output9", (2, 3))


def test_read_tensor_gives_the_shape(tmp_path):
    np.arange(6, dtype=np.float32).tofile(tmp_path / "0_9.bin")
    assert read_tensor(tmp_path / "0_9.bin", SMALL).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("values", [0, 5, 12], ids=["empty", "too short", "of another batch"])
def test_read_tensor_refuses_another_size(tmp_path, values):
    np.zeros(values, dtype=np.float32).tofile(tmp_path / "0_9.bin")
    with pytest.raises(ArtifactError, match=rf"0_9.bin holds {values * 4} bytes, expected 24 for output9 \[2,3\] f"):
        read_tensor(tmp_path / "0_9.bin", SMALL)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            24,
            "That is the size of 4 images: were float32 inputs passed to a model .* preprocess.py --dtype uint8",
        ),
        (48, "Was the model compiled with another batch size, input, --cut or --output_type"),
        (3, "Was the model compiled with another batch size, input, --cut or --output_type"),
    ],
    ids=["mixed up", "8 images", "float16"],
)
def test_the_size_tells_a_mixture_of_float32_and_uint8(tmp_path, values, said):
    """A model with AIPP at batch 4 and up takes one float32 image for four of uint8; each file then holds four."""
    np.zeros(values, dtype=np.float32).tofile(tmp_path / "0_9.bin")
    with pytest.raises(ArtifactError, match=rf"{said}.* Run the inference again\.$"):
        read_tensor(tmp_path / "0_9.bin", SMALL)


def test_read_tensor_names_a_missing_file(tmp_path):
    with pytest.raises(ArtifactError, match=r"0_9\.bin is missing \(output9 of one image\): .* Run it again"):
        read_tensor(tmp_path / "0_9.bin", SMALL)


@pytest.mark.parametrize(
    ("spec", "size"),
    [
        (SMALL, 24),
        (TensorSpec("a", (2, 3), "uint8"), 6),
        (TensorSpec("a", (2, 3), "float16"), 12),
        (TensorSpec("a", (), "int64"), 8),
        (TensorSpec("a", (0, 3)), 0),
    ],
    ids=["float32", "uint8", "float16", "a number", "empty"],
)
def test_bytes_are_those_of_one_sample(tmp_path, spec, size):
    assert spec.size_bytes == size
    (tmp_path / "a").write_bytes(bytes(size))
    require_size(tmp_path / "a", spec)


def test_a_tensor_that_was_read_cannot_be_changed(tmp_path):
    """It is the file itself, mapped."""
    np.zeros(6, dtype=np.float32).tofile(tmp_path / "0_9.bin")
    with pytest.raises(ValueError, match="read-only"):
        read_tensor(tmp_path / "0_9.bin", SMALL)[0, 0] = 1


def test_a_folder_in_a_tensors_place_cannot_be_read(tmp_path):
    spec = TensorSpec("a", (tmp_path.stat().st_size,), "uint8")
    with pytest.raises(ArtifactError, match=r"Cannot read .*: .*\. Run the inference again"):
        read_tensor(tmp_path, spec)


@pytest.mark.parametrize(
    ("values", "is_finite"),
    [
        ([], True),
        ([[0, -1], [3e38, -3e38]], True),  # whose squares overflow float32
        ([0, np.inf], False),
        ([-np.inf], False),
        ([np.inf, -np.inf], False),
        ([1, np.nan], False),
    ],
    ids=["empty", "large", "infinite", "negative infinity", "both infinities", "not a number"],
)
def test_finite_values_are_told_from_others(values, is_finite):
    assert all_finite(np.array(values, np.float32)) is is_finite
