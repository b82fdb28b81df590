"""The images that ranges are measured on: which ones, and that each is one of the network's inputs.

Engines calibrate on anything: one wrong pixel, or one image of NaN, costs most of the mAP, and no error says so
(microsoft/onnxruntime#23749). So each input is checked, and the image is named.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from yolact_ascend.errors import ArtifactError, DatasetError
from yolact_ascend.files import sha256_file
from yolact_ascend.images.decode import find_images
from yolact_ascend.images.reader import PictureSource
from yolact_ascend.images.transforms import prepare_inputs
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.inputs import FLOAT32, input_tensors
from yolact_ascend.progress import bar
from yolact_ascend.tensors import TensorSpec, read_tensor

BIN = ".bin"  # an input that `preprocess` made
ROUNDING = 1e-3  # of a standard deviation: what float32 may add to the ends of the range
FEW = 8  # images; fewer are warned of


@dataclass(frozen=True)
class Calibration:
    """The chosen images, of how many, and by which seed."""

    images: tuple[Path, ...]
    found: int
    seed: int

    def describe(self) -> str:
        """Return the choice in words."""
        return f"{len(self.images)} of {self.found} images, drawn with seed {self.seed}"


def find_candidates(folder: Path, config: ModelConfig) -> list[Path]:
    """Return the images of a folder, or the inputs (.bin) that `preprocess` made there, by name.

    Raises DatasetError when it has neither, or when the model takes more than a picture and there are inputs only.
    """
    inputs = sorted(folder.glob(f"*{BIN}")) if folder.is_dir() else []
    if not inputs:
        return find_images(folder)
    if len(input_tensors(config)) > 1:
        raise DatasetError(f"{folder} holds inputs ({BIN}) of a model that takes more than one. Pass images instead.")
    return inputs


def choose_images(candidates: Sequence[Path], count: int, seed: int) -> Calibration:
    """Draw `count` images (all, where there are fewer); the same ones for the same seed, whatever their order."""
    ordered = sorted(candidates)
    if not ordered:
        raise DatasetError("There are no images to calibrate on. Pass a folder with training images.")
    chosen = ordered if len(ordered) <= count else random.Random(seed).sample(ordered, count)
    return Calibration(tuple(sorted(chosen)), len(ordered), seed)


def warn_of_choice(calibration: Calibration, scored: Sequence[Path]) -> list[str]:
    """Return a sentence on few images, and on images that are scored afterwards, found by their content."""
    warnings = []
    if len(calibration.images) < FEW:
        count = len(calibration.images)
        warnings.append(
            f"the ranges come from {count} image{'s' if count > 1 else ''} only; values of others may be cut off. Pass "
            "a folder with 50 or more."
        )
    both = find_same(calibration.images, scored)
    if both:
        warnings.append(
            f"{len(both)} of {len(calibration.images)} calibration images are among the scored ones ({both[0].name} is "
            "the first): the mAP is too good. Calibrate on training images."
        )
    return warnings


def find_same(images: Sequence[Path], others: Sequence[Path]) -> list[Path]:
    """Return the images whose content is that of one of the others, whatever they are called."""
    by_size: dict[int, list[Path]] = {}
    for other in others:
        by_size.setdefault(other.stat().st_size, []).append(other)
    found = []
    for image in images:
        alike = by_size.get(image.stat().st_size, [])
        if alike and sha256_file(image) in map(sha256_file, alike):
            found.append(image)
    return found


def read_feeds(images: Sequence[Path], config: ModelConfig, doing: str) -> Iterator[dict[str, np.ndarray]]:
    """Give the network's inputs [1,...] for each image, by name, with a progress bar that is labelled `doing`.

    Raises DatasetError that names an image which cannot be decoded or is cut short, or whose values no image has after
    preprocessing.
    """
    specs = input_tensors(config)
    for path in bar(images, desc=doing, unit="image"):
        if path.suffix == BIN:
            values: tuple[np.ndarray, ...] = (_read_input(path, specs[0]),)
        else:
            values = prepare_inputs(PictureSource(path, str(path)).read(), config, FLOAT32)
        _require_usual(path, values[0], config)
        yield {spec.name: value[np.newaxis] for spec, value in zip(specs, values)}


def _read_input(path: Path, spec: TensorSpec) -> np.ndarray:
    try:
        return read_tensor(path, spec)
    except ArtifactError as error:
        shape = list(spec.shape)
        raise DatasetError(f"{path} is no input {shape} of this model. Run `preprocess` with its config.") from error


def _require_usual(path: Path, pixels: np.ndarray, config: ModelConfig) -> None:
    """Raise DatasetError for pixels [3,H,W] that are not finite, or outside what preprocessing gives."""
    least, most = float(pixels.min()), float(pixels.max())
    if not (np.isfinite(least) and np.isfinite(most)):
        raise DatasetError(f"{path} has values that are not finite (NaN or infinite). Remove or replace it.")
    preprocessing = config.preprocessing
    pairs = list(zip(preprocessing.mean_rgb, preprocessing.std_rgb))
    low = min(0.0, *((0 - mean) / std for mean, std in pairs))
    high = max(0.0, *((preprocessing.pixel_max - mean) / std for mean, std in pairs))
    if least < low - ROUNDING or most > high + ROUNDING:
        raise DatasetError(
            f"{path} has values from {least:.4g} to {most:.4g}; the preprocessing of {config.name} gives {low:.4g} to "
            f"{high:.4g}. Was it made for another model, or not normalised? Run `preprocess` again."
        )
