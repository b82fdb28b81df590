"""What a report calls a data set: what it is, not what its annotation file is called."""

from __future__ import annotations

from yolact_ascend.images.coco import CocoDataset
from yolact_ascend.models.labels import COCO_CATEGORY_IDS, COCO_CLASSES

# Images in COCO's splits (cocodataset.org); its own files state for each image where it lies there, as `coco_url`.
SPLIT_SIZES = {"val2017": 5000, "train2017": 118287}
COCO_IMAGES = "images.cocodataset.org"
SHOWN_CLASSES = 5
SPLITS = ("train", "val", "test")  # a folder named after a split says little without the one above it


def name_dataset(dataset: CocoDataset) -> str:
    """Return "COCO val2017" where every image and class is of that split, else the folder and the classes."""
    split = _coco_split(dataset)
    if split is not None:
        is_whole = len(dataset.images) == SPLIT_SIZES[split]
        return f"COCO {split}" if is_whole else f"a part of COCO {split}"
    folder = dataset.image_folder.resolve()
    name = f"{folder.parent.name}/{folder.name}" if folder.name.lower().startswith(SPLITS) else folder.name
    names = [str(number) if named is None else named for number, named in dataset.categories]
    more = ", …" if len(names) > SHOWN_CLASSES else ""
    classes = "class" if len(names) == 1 else "classes"
    return f"{name}, {len(names)} {classes} ({', '.join(names[:SHOWN_CLASSES])}{more})"


def _coco_split(dataset: CocoDataset) -> str | None:
    """Return the split of COCO that every image states to come from; None for other images or other classes."""
    if tuple(dataset.categories) != tuple(zip(COCO_CATEGORY_IDS, COCO_CLASSES)):
        return None
    for split in SPLIT_SIZES:
        places = ((str(entry.get("coco_url")), entry["id"]) for entry in dataset.annotations["images"])
        if all(url.endswith(f"{COCO_IMAGES}/{split}/{number:012d}.jpg") for url, number in places):
            return split
    return None
