"""The network's input as a tensor, derived from a config's preprocessing.

float32 [3,H,W] for a bare model. uint8 [H,W,3] where preprocessing is compiled into the model (AIPP on Ascend), of any
height and width where its resize is, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from yolact_ascend.errors import ArtifactError, UsageError
from yolact_ascend.models.values import ModelConfig
from yolact_ascend.tensors import FREE, TensorSpec

if TYPE_CHECKING:  # `--help` needs no package beside Python
    import numpy as np

INPUT_NAME = "image"
IMAGE_SIZE = TensorSpec("image_size", (2,))  # of R-CNN: height and width in px of the resized picture on the canvas
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
    return (input_tensor(config, dtype), *(() if config.rcnn is None else (IMAGE_SIZE,)))


def embed_of(spec: TensorSpec) -> str:
    """Return the value of `embed=` that gives a model such an input."""
    if not takes_pixels(spec):
        return NOTHING
    return RESIZE if spec.is_free else NORMALISE


def takes_pixels(spec: TensorSpec) -> bool:
    """Tell whether an input is pixels, so that the model itself does the preprocessing."""
    return spec.dtype == UINT8


def zero_sample(specs: Sequence[TensorSpec]) -> tuple[np.ndarray, ...]:
    """Return an image of zeros that fills the canvas: what each input of a model takes of it, the picture first."""
    import numpy as np

    picture, *others = specs
    height, width = picture.shape[:2] if takes_pixels(picture) else picture.shape[1:]
    return np.zeros(picture.shape, picture.dtype), *(np.array([height, width], spec.dtype) for spec in others)


def require_on_canvas(values: np.ndarray, picture: TensorSpec, source: Path) -> None:
    """Raise ArtifactError unless a second input [2] is height and width in px of something on the picture's canvas."""
    height, width = picture.shape[1:]
    if not (1 <= values[0] <= height and 1 <= values[1] <= width):
        raise ArtifactError(
            f"{source} says that the picture on the canvas is {values[0]:g} px high and {values[1]:g} px wide, "
            f"expected 1 to {height} and 1 to {width}: it is damaged, or is of another model. Remove it, and run "
            "`preprocess` again."
        )


def require_input_names(source: Path, found: Sequence[str], specs: Sequence[TensorSpec]) -> None:
    """Raise ArtifactError when the inputs of an exported model are not these."""
    expected = [spec.name for spec in specs]
    if list(found) != expected:
        raise ArtifactError(
            f"{source} has the inputs {', '.join(found)}, expected {', '.join(expected)}. Export it again "
            "(pth2onnx.py)."
        )


def require_embeddable(config: ModelConfig, embed: str) -> None:
    """Raise UsageError when a model cannot do this part of its preprocessing itself."""
    if embed != NOTHING and not config.preprocessing.is_stretched:
        raise UsageError(
            f"embed={embed}: {config.name} pads its inputs with zeros after the normalisation, which cannot be "
            "compiled in. Leave out embed=."
        )
