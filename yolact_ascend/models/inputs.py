"""The network's input as a tensor, derived from a config's preprocessing.

float32 [3,H,W] for a bare model. uint8 [H,W,3] where preprocessing is compiled into the model (AIPP on Ascend), of any
height and width where its resize is, too.
"""

from __future__ import annotations

from yolact_ascend.models.families import family_of
from yolact_ascend.models.values import ModelConfig
from yolact_ascend.tensors import FREE, TensorSpec

INPUT_NAME = "image"
FLOAT32, UINT8 = "float32", "uint8"
OWN_SIZE = "uint8 of any size"
INPUT_DTYPES = (FLOAT32, UINT8)  # of the files that preprocess makes
# Values of `embed=`: what a compiled model does to its input by itself.
NOTHING, NORMALISE, RESIZE = "0", "1", "resize"
DTYPE_OF_EMBED = {NOTHING: FLOAT32, NORMALISE: UINT8, RESIZE: OWN_SIZE}


def input_tensor(config: ModelConfig, dtype: str = FLOAT32) -> TensorSpec:
    """Return the tensor of one image that a model of `config` takes: normalised as float32, or pixels as uint8."""
    if dtype == OWN_SIZE:
        return TensorSpec(INPUT_NAME, (FREE, FREE, 3), UINT8, "NHWC")
    size = config.preprocessing.height_px, config.preprocessing.width_px
    if dtype == UINT8:
        return TensorSpec(INPUT_NAME, (*size, 3), UINT8, "NHWC")
    return TensorSpec(INPUT_NAME, (3, *size), FLOAT32, "NCHW")


def input_tensors(config: ModelConfig, dtype: str = FLOAT32) -> tuple[TensorSpec, ...]:
    """Return all tensors of one image that a model of `config` takes, the picture first."""
    return (input_tensor(config, dtype), *family_of(config).side_inputs)


def embed_of(spec: TensorSpec) -> str:
    """Return the value of `embed=` that gives a model such an input."""
    if not takes_pixels(spec):
        return NOTHING
    return RESIZE if spec.is_free else NORMALISE


def takes_pixels(spec: TensorSpec) -> bool:
    """Tell whether an input is pixels, so that the model itself does the preprocessing."""
    return spec.dtype == UINT8
