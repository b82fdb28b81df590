"""The `preprocess` stage: COCO images to raw network inputs, one file each."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
from tqdm import tqdm

from yolact_ascend.artifacts import (
    INPUT,
    bin_folder,
    ids_file,
    input_bin,
    make_folder,
    read_json,
    recipe_file,
    write_bytes,
    write_json,
)
from yolact_ascend.coco import CocoImage, describe_images, require_images
from yolact_ascend.config import MEAN_RGB, STD_RGB
from yolact_ascend.transforms import decode_image, normalise_image


def preprocess(images: Sequence[CocoImage], save_path: Path) -> int:
    """Write `bin_file/<index>.bin` for each image and, when all are there, `ids.json`; return how many were made.

    A run that was cut short continues: inputs that an earlier run made from the same images are kept.
    Raises DatasetError for an image that is missing or cannot be decoded, ArtifactError when a file cannot be written.
    """
    require_images(images)
    make_folder(bin_folder(save_path))
    recipe = describe_inputs(images)
    _remove_other_bins(save_path, recipe)
    write_json(recipe_file(save_path), recipe, indent=None)
    missing = [index for index in range(len(images)) if not _is_whole(input_bin(save_path, index))]
    ids = {"ids": [image.image_id for image in images]}
    if missing or _read_ids(save_path) != ids:
        ids_file(save_path).unlink(missing_ok=True)
    if len(missing) < len(images):
        print(f"{len(images) - len(missing)} of {len(images)} inputs are there already and are kept.", file=sys.stderr)
    for index in tqdm(missing, desc="preprocess", unit="image"):
        pixels = decode_image(images[index].path)
        _warn_of_other_size(images[index], pixels.shape[1], pixels.shape[0])
        write_bytes(input_bin(save_path, index), normalise_image(pixels).data)
    if not ids_file(save_path).exists():
        write_json(ids_file(save_path), ids, indent=None)
    return len(missing)


def describe_inputs(images: Sequence[CocoImage]) -> dict[str, Any]:
    """Return all that the written inputs depend on: each image's id, name, size and time, and the transform."""
    return {
        "input": [INPUT.name, list(INPUT.shape), INPUT.dtype],
        "mean_rgb": list(MEAN_RGB),
        "std_rgb": list(STD_RGB),
        "opencv": cv2.__version__,
        "images": describe_images(images),
    }


def _remove_other_bins(save_path: Path, recipe: dict[str, Any]) -> None:
    """Remove the inputs that an earlier run made from other images or by another transform."""
    path = recipe_file(save_path)
    earlier = read_json(path, "what the inputs were made from") if path.is_file() else {"images": []}
    is_same_transform = {**earlier, "images": None} == {**recipe, "images": None}
    kept = {
        str(index)
        for index, (before, now) in enumerate(zip(earlier["images"], recipe["images"]))
        if is_same_transform and before == now
    }
    for bin_path in bin_folder(save_path).iterdir():
        if re.fullmatch(r"\d+\.bin", bin_path.name) and bin_path.stem not in kept:
            bin_path.unlink()


def _read_ids(save_path: Path) -> Any:
    return read_json(ids_file(save_path), "the image ids") if ids_file(save_path).is_file() else None


def _is_whole(path: Path) -> bool:
    return path.is_file() and path.stat().st_size == INPUT.size_bytes


def _warn_of_other_size(image: CocoImage, width: int, height: int) -> None:
    if (width, height) != (image.width, image.height):
        tqdm.write(
            f"warning: {image.path.name} decodes to {width}×{height} pixels, but the annotation file says "
            f"{image.width}×{image.height}: its detections are scored in the annotation file's frame.",
            file=sys.stderr,
        )
