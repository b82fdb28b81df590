"""What a report calls a data set: what it is, not what its annotation file is called."""

from __future__ import annotations

from collections.abc import Iterable

from yolact_ascend.images.coco import CocoDataset
from yolact_ascend.models.labels import COCO_CATEGORY_IDS, COCO_CLASSES

SHOWN_CLASSES = 5
SPLITS = ("train", "val", "test")  # a folder named after a split says little without the one above it


def name_dataset(dataset: CocoDataset) -> str:
    """Return "COCO val2017" where every image and class is of that split, else the folder and the classes."""
    from yolact_ascend.images.archives import FILES, IMAGES  # here: a run needs no urllib before its report

    split = _coco_split(dataset, IMAGES)
    if split is not None:
        is_whole = len(dataset.images) == FILES[IMAGES[split].name][1]
        return f"COCO {split}" if is_whole else f"a part of COCO {split}"
    folder = dataset.image_folder.resolve()
    name = f"{folder.parent.name}/{folder.name}" if folder.name.lower().startswith(SPLITS) else folder.name
    names = [str(number) if named is None else named for number, named in dataset.categories]
    more = ", …" if len(names) > SHOWN_CLASSES else ""
    classes = "class" if len(names) == 1 else "classes"
    return f"{name}, {len(names)} {classes} ({', '.join(names[:SHOWN_CLASSES])}{more})"


def _coco_split(dataset: CocoDataset, splits: Iterable[str]) -> str | None:
    """Return the split of COCO that every image states to come from; None for other images or other classes.

    COCO's own files state for each image where it lies there, as `coco_url`.
    """
    if tuple(dataset.categories) != tuple(zip(COCO_CATEGORY_IDS, COCO_CLASSES)):
        return None
    for split in splits:
        places = ((str(entry.get("coco_url")), entry["id"]) for entry in dataset.annotations["images"])
        if all(url.endswith(f"images.cocodataset.org/{split}/{number:012d}.jpg") for url, number in places):
            return split
    return None
