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
        (24, "That is 4 images' worth: were float32 inputs given to a model with AIPP, .* preprocess.py --dtype uint8"),
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
    with pytest.raises(ArtifactError, match="0_9.bin is missing.*run it again"):
        read_tensor(tmp_path / "0_9.bin", SMALL)
