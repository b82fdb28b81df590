"""The `preprocess` stage: COCO images to raw network inputs, one file each."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import simplejpeg

from yolact_ascend import flags
from yolact_ascend.disk import free_bytes, in_gb, offer, plannable_bytes, size_of
from yolact_ascend.errors import ArtifactError, DatasetError, UsageError
from yolact_ascend.files import (
    FOLDER_MODE,
    as_json,
    digest_files,
    make_folder,
    read_json,
    write_bytes,
    write_json,
)
from yolact_ascend.folders import lock_folder, require_none_of_others
from yolact_ascend.images import decode, transforms
from yolact_ascend.images.coco import CocoImage, describe_images, require_images
from yolact_ascend.images.reader import PictureSource, source_of_image
from yolact_ascend.images.transforms import prepare_inputs
from yolact_ascend.models import resized_size
from yolact_ascend.models.config import ModelConfig, Preprocessing, describe_preprocessing
from yolact_ascend.models.inputs import FLOAT32, UINT8, input_tensor, input_tensors
from yolact_ascend.progress import bar
from yolact_ascend.targets.folder import (
    bin_folder,
    describe_tensors,
    files_of_inputs,
    folders_of_recipe,
    ids_file,
    input_folders,
    read_recipe,
    recipe_file,
    timings_file,
)
from yolact_ascend.tensors import TensorSpec
from yolact_ascend.timings import Timings
from yolact_ascend.workers import open_workers, together_of


def preprocess(
    images: Sequence[CocoImage], save_path: Path, config: ModelConfig, dtype: str = FLOAT32, workers: int = 1
) -> int:
    """Write `bin_file/<index>.bin` for each image and, when all are there, `ids.json`; return how many were made.

    A model that also takes the image's size on the canvas gets it as `image_size/<index>.bin`.

    `dtype` "float32" gives normalised images, "uint8" pixels for a model that has the preprocessing inside.
    A run that was cut short continues: inputs that an earlier run made from the same images are kept.
    `timings.json` says what making them took; where none had to be made, that of the run before stays.
    Raises DatasetError for an image that is missing or cannot be decoded, UsageError, before anything is written, when
    the disk is too small or other files lie there, ArtifactError when a file cannot be written.
    """
    advice = flags.SAVE_PATH.word("DIR")
    require_images(images)
    require_none_of_others(files_of_inputs(save_path, input_tensors(config, dtype)), advice)
    require_room_for_inputs(save_path, len(images), config, input_tensors(config, dtype))
    with lock_folder(save_path, advice):
        return _preprocess(images, save_path, config, dtype, workers)


def _preprocess(images: Sequence[CocoImage], save_path: Path, config: ModelConfig, dtype: str, workers: int) -> int:
    specs = input_tensors(config, dtype)
    folders = input_folders(bin_folder(save_path), specs)
    for folder in folders:
        make_folder(folder)
        folder.chmod(FOLDER_MODE)  # an older one may be open to more, which ais_bench refuses
    recipe = describe_inputs(images, config.preprocessing, specs)
    _remove_other_bins(save_path, recipe)
    write_json(recipe_file(save_path), recipe, indent=None)
    files = [tuple(folder / f"{index}.bin" for folder in folders) for index in range(len(images))]
    missing = [index for index, each in enumerate(files) if not all(map(_is_whole, each, specs))]
    ids = {"ids": [image.image_id for image in images]}
    if missing or _read_if_whole(ids_file(save_path)) != ids:
        ids_file(save_path).unlink(missing_ok=True)
    if len(missing) < len(images):
        print(f"{len(images) - len(missing)} of {len(images)} inputs are there already and are kept.", file=sys.stderr)
    jobs = [_Job(images[index], config, dtype, files[index]) for index in missing]
    timings = _make_inputs(jobs, workers) if jobs else Timings()
    if jobs or not timings_file(save_path).exists():
        write_json(timings_file(save_path), timings.to_json())
    if not ids_file(save_path).exists():
        write_json(ids_file(save_path), ids, indent=None)
    return len(missing)


def prepare_image(
    source: PictureSource, config: ModelConfig, dtype: str, timings: Timings
) -> tuple[tuple[np.ndarray, ...], tuple[int, int]]:
    """Read one picture and make the network's inputs of it; returns them, and the height and width in pixels.

    The steps are timed, the image is not counted. Raises DatasetError when it cannot be decoded, does not fit onto the
    model's canvas, or memory runs out.
    """
    with timings.timed("decode"):
        pixels = source.read()
    height, width = pixels.shape[:2]
    with timings.timed("resize"):
        try:
            return prepare_inputs(pixels, config, dtype), (height, width)
        except DatasetError as error:
            raise DatasetError(f"{source.name}: {error}") from error
        except (MemoryError, cv2.error) as error:
            raise DatasetError(
                f"{source.name}, {width}×{height} pixels, cannot be resized: memory runs out. Scale it down, or use "
                "fewer workers."
            ) from error


class _Job(NamedTuple):
    image: CocoImage
    config: ModelConfig
    dtype: str
    paths: tuple[Path, ...]  # one for each input


def _make_inputs(jobs: Sequence[_Job], workers: int) -> Timings:
    """Have the workers make and write the inputs."""
    timings = Timings()
    workers = min(workers, len(jobs))
    with open_workers(workers) as pool:
        made = pool.map(_make_input, jobs, together_of(len(jobs), workers))
        for spent in bar(made, desc="preprocess", unit="image", total=len(jobs)):
            timings.add(spent)
    return timings


def _make_input(job: _Job) -> Timings:
    timings = Timings(images=1)
    inputs, _ = prepare_image(source_of_image(job.image), job.config, job.dtype, timings)
    with timings.timed("write"):
        for path, prepared in zip(job.paths, inputs):
            write_bytes(path, prepared.data, is_swept=True)  # by _remove_other_bins
    return timings


def describe_inputs(
    images: Sequence[CocoImage], preprocessing: Preprocessing, specs: Sequence[TensorSpec]
) -> dict[str, Any]:
    """Return all that the written inputs depend on: each image's id, name, size and time, and the transform."""
    return {
        **describe_tensors(specs),
        "preprocessing": as_json(describe_preprocessing(preprocessing)),
        "code": digest_files([Path(transforms.__file__), Path(decode.__file__), Path(resized_size.__file__)]),
        "opencv": cv2.__version__,
        "simplejpeg": simplejpeg.__version__,
        "numpy": np.__version__,
        "images": describe_images(images),
    }


def require_room_for_inputs(save_path: Path, images: int, config: ModelConfig, specs: Sequence[TensorSpec]) -> None:
    """Raise UsageError, with what would do instead, when that many inputs do not fit where preprocess.py writes."""
    present, free = sum(map(size_of, input_folders(bin_folder(save_path), specs))), free_bytes(save_path)
    an_image = sum(spec.size_bytes for spec in specs)
    needed = images * an_image - present
    if needed <= free:
        return
    choices = []
    smaller = images * input_tensor(config, UINT8).size_bytes - present
    if config.preprocessing.is_stretched and smaller < needed and smaller <= plannable_bytes(free):
        choices.append(f"--dtype uint8, for a model with AIPP ({in_gb(max(0, smaller))} GB)")
    limit = (present + plannable_bytes(free)) // an_image
    if limit:
        choices.append(f"--limit {limit}")
    raise UsageError(
        f"The inputs of {images} images take {in_gb(needed)} GB more at {save_path}, where {in_gb(free)} GB are free. "
        + offer(*choices, f"another disk with {in_gb(images * an_image)} GB (--save_path DIR)")
    )


def _remove_other_bins(save_path: Path, recipe: dict[str, Any]) -> None:
    """Remove the inputs that an earlier run made from other images or by another transform."""
    earlier = read_recipe(save_path)
    kept = set()
    if earlier is not None and {**earlier, "images": None} == {**recipe, "images": None}:
        pairs = zip(earlier["images"], recipe["images"])
        kept = {f"{index}.bin" for index, (before, now) in enumerate(pairs) if before == now}
    made = set() if earlier is None else {f"{index}.bin" for index in range(len(earlier["images"]))}
    folders = {bin_folder(save_path), *folders_of_recipe(save_path, earlier), *folders_of_recipe(save_path, recipe)}
    for path in (path for folder in folders if folder.is_dir() for path in folder.iterdir()):
        # .part: what a run that was killed left half written
        if path.name in made - kept or re.fullmatch(r"\..*\.part", path.name):
            path.unlink()


def _read_if_whole(path: Path) -> Any:
    """Return what a file of ours holds, None when it is missing or damaged: it is then made again."""
    try:
        return read_json(path, "a file of preprocess")
    except ArtifactError:
        return None


def _is_whole(path: Path, spec: TensorSpec) -> bool:
    return path.is_file() and path.stat().st_size == spec.size_bytes
