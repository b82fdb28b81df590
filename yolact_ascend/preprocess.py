"""The `preprocess` stage: COCO images to raw network inputs, one file each."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from yolact_ascend import transforms
from yolact_ascend.artifacts import (
    FOLDER_MODE,
    INPUT,
    INPUTS,
    TensorSpec,
    bin_folder,
    ids_file,
    input_bin,
    make_folder,
    read_json,
    recipe_file,
    sha256_file,
    write_bytes,
    write_json,
)
from yolact_ascend.coco import CocoImage, describe_images, require_images
from yolact_ascend.errors import ArtifactError
from yolact_ascend.transforms import TRANSFORMS, decode_image

JPEG_TAIL = 1024  # bytes at the end in which its end marker is looked for; some cameras append a little


def preprocess(images: Sequence[CocoImage], save_path: Path, dtype: str = INPUT.dtype) -> int:
    """Write `bin_file/<index>.bin` for each image and, when all are there, `ids.json`; return how many were made.

    `dtype` "float32" gives normalised images, "uint8" what a model with AIPP takes (artifacts.INPUTS).
    A run that was cut short continues: inputs that an earlier run made from the same images are kept.
    Raises DatasetError for an image that is missing or cannot be decoded, ArtifactError when a file cannot be written.
    """
    spec = INPUTS[dtype]
    require_images(images)
    make_folder(bin_folder(save_path))
    bin_folder(save_path).chmod(FOLDER_MODE)  # an older one may be open to more, which ais_bench refuses
    recipe = describe_inputs(images, spec)
    _remove_other_bins(save_path, recipe)
    write_json(recipe_file(save_path), recipe, indent=None)
    missing = [index for index in range(len(images)) if not _is_whole(input_bin(save_path, index), spec)]
    ids = {"ids": [image.image_id for image in images]}
    if missing or _read_if_whole(ids_file(save_path)) != ids:
        ids_file(save_path).unlink(missing_ok=True)
    if len(missing) < len(images):
        print(f"{len(images) - len(missing)} of {len(images)} inputs are there already and are kept.", file=sys.stderr)
    for index in tqdm(missing, desc="preprocess", unit="image"):
        pixels = decode_image(images[index].path)
        _warn_of_cut_jpeg(images[index].path)
        _warn_of_other_size(images[index], pixels.shape[1], pixels.shape[0])
        write_bytes(input_bin(save_path, index), TRANSFORMS[dtype](pixels).data)
    if not ids_file(save_path).exists():
        write_json(ids_file(save_path), ids, indent=None)
    return len(missing)


def describe_inputs(images: Sequence[CocoImage], spec: TensorSpec = INPUT) -> dict[str, Any]:
    """Return all that the written inputs depend on: each image's id, name, size and time, and the transform."""
    return {
        "input": [spec.name, list(spec.shape), spec.dtype],
        "code": sha256_file(Path(transforms.__file__)),
        "opencv": cv2.__version__,
        "numpy": np.__version__,
        "images": describe_images(images),
    }


def _remove_other_bins(save_path: Path, recipe: dict[str, Any]) -> None:
    """Remove the inputs that an earlier run made from other images or by another transform."""
    earlier = _read_if_whole(recipe_file(save_path))
    kept = set()
    if isinstance(earlier, dict) and {**earlier, "images": None} == {**recipe, "images": None}:
        pairs = zip(earlier["images"], recipe["images"])
        kept = {f"{index}.bin" for index, (before, now) in enumerate(pairs) if before == now}
    for path in bin_folder(save_path).iterdir():
        # .part: what a run that was killed left half written
        if re.fullmatch(r"\d+\.bin|\..*\.part", path.name) and path.name not in kept:
            path.unlink()


def _read_if_whole(path: Path) -> Any:
    """Return what a file of ours holds, None when it is missing or damaged: it is then made again."""
    try:
        return read_json(path, "a file of preprocess")
    except ArtifactError:
        return None


def _is_whole(path: Path, spec: TensorSpec) -> bool:
    return path.is_file() and path.stat().st_size == spec.size_bytes


def _warn_of_other_size(image: CocoImage, width: int, height: int) -> None:
    if (width, height) != (image.width, image.height):
        tqdm.write(
            f"warning: {image.path.name} decodes to {width}×{height} pixels, but the annotation file says "
            f"{image.width}×{image.height}: its detections are scored in the annotation file's frame.",
            file=sys.stderr,
        )


def _warn_of_cut_jpeg(path: Path) -> None:
    """Warn of a JPEG without its end marker: it decodes, like in upstream, but its lower part is made up."""
    with path.open("rb") as file:
        if file.read(2) != b"\xff\xd8":
            return
        file.seek(-min(path.stat().st_size, JPEG_TAIL), os.SEEK_END)
        if b"\xff\xd9" not in file.read():
            tqdm.write(f"warning: {path} looks cut short: it has no JPEG end marker.", file=sys.stderr)
