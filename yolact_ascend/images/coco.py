"""A COCO data set: where it lies, which images there are, in which order, and whose classes it has."""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolact_ascend.environment import MEGAPIXELS_VARIABLE, most_pixels
from yolact_ascend.errors import DatasetError, show_name
from yolact_ascend.images.annotations import read_annotations
from yolact_ascend.models.config import ModelConfig

NAMED = 5  # of a kind that a message lists


@dataclass(frozen=True)
class CocoImage:
    """One entry of "images", with the path of its file. Sizes in pixels, as annotated."""

    image_id: int
    path: Path
    width: int
    height: int
    is_turned: bool = True  # by the file's EXIF orientation; False: it was annotated as it is stored


@dataclass(frozen=True)
class Inspection:
    """What was found in the pictures of a data set."""

    images: tuple[CocoImage, ...]  # those that were annotated as stored are marked
    unreadable: tuple[Path, ...]
    unclear: tuple[Path, ...]
    cut: tuple[Path, ...]
    other_size: tuple[tuple[CocoImage, tuple[int, int]], ...]  # and the size that is shown
    too_large: tuple[Path, ...] = ()  # more pixels than `environment.most_pixels`

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence for each kind of oddness that is worked with."""
        of = f"of {len(self.images)} images"
        unturned = [image.path for image in self.images if not image.is_turned]
        found = []
        if unturned:
            found.append(
                f"{len(unturned)} {of} were annotated without their EXIF orientation ({list_names(unturned)}): "
                "they are read as they are stored."
            )
        if self.unclear:
            found.append(
                f"{len(self.unclear)} {of} have an EXIF orientation, and their sizes do not tell whether they were "
                f"annotated turned ({list_names(self.unclear)}): they are turned."
            )
        if self.cut:
            found.append(f"{len(self.cut)} {of} look cut short ({list_names(self.cut)}): their lower part is made up.")
        if self.other_size:
            (image, (width, height)), paths = self.other_size[0], [image.path for image, _ in self.other_size]
            found.append(
                f"{len(paths)} {of} do not have the size that the annotation file says ({list_names(paths)}; "
                f"the first has {width}×{height} pixels, not {image.width}×{image.height}): their detections are "
                "scored in the annotation file's frame."
            )
        return tuple(found)

    def require_readable(self) -> None:
        """Raise DatasetError that names the files that are no pictures, or too large ones."""
        if self.too_large:
            raise DatasetError(
                f"{len(self.too_large)} of {len(self.images)} images have more than {most_pixels() / 1e6:.0f} million "
                f"pixels: {list_names(self.too_large)}, in {self.too_large[0].parent}. Scale them down, or raise the "
                f"limit: {MEGAPIXELS_VARIABLE}=N (in millions)."
            )
        if self.unreadable:
            raise DatasetError(
                f"{len(self.unreadable)} of {len(self.images)} images cannot be decoded: "
                f"{list_names(self.unreadable)}, in {self.unreadable[0].parent}. Replace these files, or remove them "
                "from the annotation file."
            )


@dataclass(frozen=True)
class CocoDataset:
    """An annotation file and its image folder.

    `images` come in the guide's order: first the annotated ones as the annotations name them (the order of
    `imgToAnns` in pycocotools), then those without annotations as the file lists them. So bins made for all images
    are also valid for the guide's scripts, which know the annotated ones only.
    """

    annotation_file: Path
    image_folder: Path
    annotations: dict[str, Any]
    images: tuple[CocoImage, ...]
    annotated_count: int
    is_scored: bool = True  # False: the file has no annotations, as COCO's test-dev lists
    warnings: tuple[str, ...] = ()
    mask_fault: str | None = None  # why its masks cannot be used
    pictures: Inspection | None = None  # of the files; None: they were not looked at

    def select(self, annotated_only: bool = False, limit: int | None = None) -> tuple[CocoImage, ...]:
        """Return the first `limit` images (None: all), without the unannotated ones if asked."""
        return self.images[: self.annotated_count if annotated_only else None][:limit]

    @property
    def truth(self) -> dict[str, Any] | None:
        """What to score against, in COCO's format; None when the file has no annotations."""
        return self.annotations if self.is_scored else None

    @property
    def categories(self) -> list[tuple[int, str | None]]:
        """Id and name of each category, in the order of the ids."""
        return sorted((category["id"], category["name"]) for category in self.annotations["categories"])

    def require_readable(self) -> None:
        """Raise DatasetError that names the files that are no pictures; they must have been looked at."""
        assert self.pictures is not None, "see images.pictures.verify_pictures"
        self.pictures.require_readable()

    def require_masks(self) -> None:
        """Raise DatasetError when its masks cannot be scored or learned from."""
        if self.mask_fault:
            raise DatasetError(self.mask_fault)


def load_dataset(annotation_file: Path, image_folder: Path, with_masks: bool = True) -> CocoDataset:
    """Read and check a COCO "instances" file; image files are looked at by `pictures.inspect`, not here.

    `with_masks` is that of `read_annotations`.
    Raises DatasetError when the file or folder is missing or the file is not in COCO's format.
    """
    if not image_folder.is_dir():
        raise DatasetError(f"There is no image folder {image_folder}. Pass the folder that holds the .jpg files.")
    read = read_annotations(annotation_file, with_masks)
    by_id = {entry["id"]: entry for entry in read.data["images"]}
    names = {path.name for path in image_folder.iterdir()}  # one look at the folder, not one at each file
    images = tuple(_coco_image(by_id[image_id], image_folder, names) for image_id in order_images(read.data))
    _require_own_files(annotation_file, images, by_id)
    return CocoDataset(
        annotation_file,
        image_folder,
        read.data,
        images,
        len({annotation["image_id"] for annotation in read.data["annotations"]}),
        read.is_scored,
        (*read.warnings, *_describe_outside(annotation_file, image_folder, images)),
        read.mask_fault,
    )


def order_images(annotations: Mapping[str, Any]) -> list[int]:
    """Return the ids of an annotation file's images in the order of `CocoDataset.images`."""
    annotated = (annotation["image_id"] for annotation in annotations["annotations"])
    return annotated_first(annotated, (entry["id"] for entry in annotations["images"]))


def annotated_first(annotated: Iterable[int], listed: Iterable[int]) -> list[int]:
    """Return the images that annotations have, once each and as these come, and then the others that are listed."""
    first = dict.fromkeys(annotated)
    return [*first, *(image for image in listed if image not in first)]


def _require_own_files(
    annotation_file: Path, images: Sequence[CocoImage], entries: Mapping[int, dict[str, Any]]
) -> None:
    """Raise DatasetError when two images of different names are found in one file, as without their folders."""
    names: dict[Path, str] = {}
    for image in images:
        name = entries[image.image_id]["file_name"]
        other = names.setdefault(image.path, name)
        if other != name:
            raise DatasetError(
                f"{annotation_file} lists {show_name(other)} and {show_name(name)}; both are found as {image.path}. "
                "Put each image where its file_name says, or give the files different names."
            )


def match_classes(dataset: CocoDataset, config: ModelConfig) -> ModelConfig:
    """Return the config with the data set's ids for its classes, which are compared by name.

    A data set without names is compared by id. Raises DatasetError that names the classes of one side that the other
    does not have; a data set may have some of the classes only, under the ids that the config gives them.
    """
    used = {annotation["category_id"] for annotation in dataset.annotations["annotations"]}
    named = {name: number for number, name in dataset.categories if name is not None}
    known = dict(zip(config.class_names, config.category_ids))
    if len(named) < len(dataset.categories):
        _require_known_ids(dataset, config, used)
        _require_no_contradiction(dataset, {name: number for name, number in named.items() if number in used}, known)
        return config
    surplus = [name for name, number in named.items() if name not in known and number in used]
    missing = [name for name in known if name not in named]
    has_same_ids = all(known.get(name) == number for name, number in named.items() if number in used)
    if surplus or (missing and not has_same_ids):
        sides = [
            f"{side}: {list_some([repr(name) for name in names])}"
            for side, names in (("only in the file", surplus), ("missing there", missing))
            if names
        ]
        raise DatasetError(
            f"{dataset.annotation_file} has other classes than the weights of {config.name} ({'; '.join(sides)}). "
            "Is this the annotation file that the weights were trained for?"
        )
    if has_same_ids:
        return config
    return dataclasses.replace(config, category_ids=tuple(named[name] for name in config.class_names))


def describe_renumbering(dataset: CocoDataset, config: ModelConfig, matched: ModelConfig) -> tuple[str, ...]:
    """Return a warning when the data set numbers the classes in another way than the config."""
    pairs = zip(config.class_names, config.category_ids, matched.category_ids)
    changed = [(name, before, after) for name, before, after in pairs if before != after]
    unnamed = [number for number, name in dataset.categories if name is None]
    if unnamed:
        count = f"{len(unnamed)} of {len(dataset.categories)} categories"
        return (f"{dataset.annotation_file.name} does not name {count}: the classes are compared by id.",)
    if not changed:
        return ()
    name, before, after = changed[0]
    return (
        f"{dataset.annotation_file.name} numbers {len(changed)} classes in another way than the weights ({name} is "
        f"{after}, not {before}): the classes are matched by name.",
    )


def _require_no_contradiction(dataset: CocoDataset, named: dict[str, int], known: dict[str, int]) -> None:
    """Raise DatasetError when ids are to be compared, because some names are missing, and a name has another id."""
    for name, number in named.items():
        if known.get(name) != number:
            there = f"id {known[name]}" if name in known else "no such class"
            raise DatasetError(
                f"{dataset.annotation_file} does not name all of its categories. They can only be compared by id, but "
                f"'{name}' has id {number} there, where the weights have {there}. Add the missing names."
            )


def _require_known_ids(dataset: CocoDataset, config: ModelConfig, used: set[int]) -> None:
    unknown = sorted(used - set(config.category_ids))
    if unknown:
        raise DatasetError(
            f"{dataset.annotation_file} uses category_id {list_some(unknown)}, which {config.name} does not know "
            f"(it has {config.num_classes} classes, ids {min(config.category_ids)}..{max(config.category_ids)}). "
            "Is this the annotation file that the weights were trained for?"
        )


def require_images(images: Sequence[CocoImage]) -> None:
    """Raise DatasetError, before any work, when an image file that the annotations list is not there."""
    missing = [image.path for image in images if not _is_file(image.path)]
    if missing:
        raise DatasetError(
            f"{len(missing)} of {len(images)} images that the annotation file lists are not in "
            f"{missing[0].parent}, the first is {show_name(missing[0].name)}. Complete the folder, or use another "
            "annotation file."
        )


def describe_images(images: Sequence[CocoImage]) -> list[list[Any]]:
    """Return each image's id, file name, size in bytes, time in ns, and whether EXIF turns it."""
    stats = [(image, image.path.stat()) for image in images]
    return [[image.image_id, image.path.name, stat.st_size, stat.st_mtime_ns, image.is_turned] for image, stat in stats]


def list_names(paths: Sequence[Path]) -> str:
    """Return the names of the first files in words."""
    return list_some([show_name(path.name) for path in paths])


def list_some(values: Sequence[Any]) -> str:
    """Return the first values in words, and how many more there are."""
    rest = len(values) - NAMED
    return ", ".join(map(str, values[:NAMED])) + (f" and {rest} more" if rest > 0 else "")


def _coco_image(entry: dict[str, Any], folder: Path, names: set[str]) -> CocoImage:
    return CocoImage(entry["id"], _find_file(entry["file_name"], folder, names), entry["width"], entry["height"])


def _find_file(name: str, folder: Path, names: set[str]) -> Path:
    """Return the path of an image, also where the file calls it by another folder or by COCO 2014's prefix."""
    if name in names:
        return folder / name
    if not _is_file(folder / name):
        for choice in other_names(name):
            if choice in names:
                return folder / choice
    return folder / name


def other_names(name: str) -> list[str]:
    """Return the names that a data set's image may have in a folder, if not the one that the annotation file states."""
    base = name.replace("\\", "/").rsplit("/", 1)[-1]
    # COCO 2014 writes COCO_val2014_000000000042.jpg for what 2017 calls 000000000042.jpg.
    return [base, *([base.rsplit("_", 1)[-1]] if base.startswith("COCO_") else [])]


def _describe_outside(annotation_file: Path, folder: Path, images: Sequence[CocoImage]) -> tuple[str, ...]:
    """Return a warning when a `file_name` leads out of the image folder.

    Such files are read, as upstream does: haotian-liu/yolact_edge @ a9a0028, yolact_edge/data/coco.py.
    """
    places = [image.path.parent for image in images]
    outside = {place for place in set(places) if _is_outside(place, folder)}
    if not outside:
        return ()
    names = [show_name(str(image.path)) for place, image in zip(places, images) if place in outside]
    return (
        f"{annotation_file.name}: {len(names)} of {len(images)} images lie outside of the image folder, where their "
        f"file_name leads ({list_some(names)}): they are read from there.",
    )


def _is_outside(place: Path, folder: Path) -> bool:
    """Tell where an absolute name or ".." leads out of a folder; a link in the folder leads where its owner wants."""
    if place.is_relative_to(folder) and ".." not in place.relative_to(folder).parts:
        return False
    return not Path(os.path.realpath(place)).is_relative_to(os.path.realpath(folder))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # of the whole path: there is no such file
            return False
        raise
