"""Where the parts of a COCO data set lie in its folder."""

from __future__ import annotations

from pathlib import Path

from yolact_ascend.errors import DatasetError
from yolact_ascend.images.decode import IMAGE_SUFFIXES
from yolact_ascend.process import format_command, own_command

SPLIT, TRAINING_SPLIT = "val2017", "train2017"


def find_split(coco_folder: Path, split: str = SPLIT) -> tuple[Path, Path]:
    """Return (image folder, annotation file) of a COCO folder in any usual layout.

    The images lie in `DIR/val2017`, `DIR/images/val2017`, `DIR/images` (as upstream's download script unzips them) or
    `DIR` itself, the annotations in `DIR/annotations/instances_val2017.json`.
    Raises DatasetError that names the places that were tried.
    """
    if not coco_folder.is_dir():
        raise DatasetError(
            f"There is no COCO folder {coco_folder}. Pass `coco=DIR` with DIR/{split} and annotations, or fetch it: "
            f"{_download(split, coco_folder)}. Without coco=, weights= and config=, "
            "a run is a demo on scenes that it draws."
        )
    image_folder = find_image_folder(coco_folder, split)
    annotation_file = annotation_file_of(coco_folder, split)
    if not annotation_file.is_file():
        raise DatasetError(
            f"There is no annotation file {annotation_file}. It comes in COCO's annotations archive: "
            f"{_download('annotations', coco_folder)}. "
            "For a file of another name: images=DIR annotations=FILE."
        )
    return image_folder, annotation_file


def annotation_file_of(coco_folder: Path, split: str) -> Path:
    """Return where COCO's layout has the annotations of a split."""
    return coco_folder / "annotations" / f"instances_{split}.json"


def _download(what: str, folder: Path) -> str:
    return format_command(own_command("download", "coco", what, "--to", str(folder)))


def find_image_folder(coco_folder: Path, split: str = SPLIT) -> Path:
    """Return the folder with a split's images; raises DatasetError that names the places that were tried."""
    named = (coco_folder / split, coco_folder / "images" / split)
    flat = (coco_folder / "images", coco_folder)
    for folder in named:
        if folder.is_dir():
            return folder
    for folder in flat:
        if folder.is_dir() and any(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.iterdir()):
            return folder
    raise DatasetError(
        f"{coco_folder} holds no images: neither {named[0]} nor {named[1]} is a folder, and neither {flat[0]} nor "
        f"{flat[1]} holds any. Move them there, or name their folder: images=DIR annotations=FILE."
    )
