"""What a report calls a data set: what it is, not what its annotation file is called."""

from __future__ import annotations

import re
from collections.abc import Iterable

from yolact_ascend.images.coco import CocoDataset
from yolact_ascend.models.labels import COCO_CATEGORY_IDS, COCO_CLASSES
from yolact_ascend.report.texts import Texts

SHOWN_CLASSES = 5
# What `name_dataset` returns, taken apart for a report in another language.
PART = re.compile(r"a part of (?P<name>COCO \w+)")
WITH_CLASSES = re.compile(r"(?P<name>.*?), (?P<count>\d+) class(?:es)? \((?P<names>.*)\)", re.DOTALL)
SPLITS = ("train", "val", "test")  # a folder named after a split says little without the one above it


def name_dataset(dataset: CocoDataset) -> str:
    """Return "COCO val2017" where every image and class is of that split, else the folder and the classes."""
    from yolact_ascend.images.archives import FILES, IMAGES  # here: a run needs no urllib before its report

    say = Texts("en")
    split = _coco_split(dataset, IMAGES)
    if split is not None:
        is_whole = len(dataset.images) == FILES[IMAGES[split].name][1]
        return f"COCO {split}" if is_whole else say("part_of", name=f"COCO {split}")
    folder = dataset.image_folder.resolve()
    name = f"{folder.parent.name}/{folder.name}" if folder.name.lower().startswith(SPLITS) else folder.name
    names = [str(number) if named is None else named for number, named in dataset.categories]
    more = ", …" if len(names) > SHOWN_CLASSES else ""
    shown = ", ".join(names[:SHOWN_CLASSES]) + more
    return _with_classes(say, name, len(names), shown)


def name_in_words(name: str, say: Texts) -> str:
    """Return what `name_dataset` calls a data set, as report.json has it, in the language of a report."""
    part, classes = PART.fullmatch(name), WITH_CLASSES.fullmatch(name)
    if part:
        return say("part_of", **part.groupdict())
    return _with_classes(say, classes["name"], int(classes["count"]), classes["names"]) if classes else say.word(name)


def _with_classes(say: Texts, name: str, count: int, names: str) -> str:
    if count == 1:
        return say("one_class", name=name, names=names)
    return say("of_classes", name=name, count=count, names=names)


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
