"""Small annotation files, with one field or another changed."""

from __future__ import annotations

import json
from unittest import mock

import numpy as np

from yolact_ascend.errors import DatasetError
from yolact_ascend.images.annotations import read_annotations
from yolact_ascend.images.coco import order_images
from yolact_ascend.scale.truths import read_truths

TRIANGLE = [1.0, 2.0, 9.0, 2.0, 5.0, 9.0]
WIDTH, HEIGHT = 20, 10


def annotation(**fields):
    """Return an annotation of a triangle; a field that is ... is left out."""
    whole = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 8, 7], "area": 28, "iscrowd": 0}
    found = {**whole, "segmentation": [TRIANGLE], **fields}
    return {key: value for key, value in found.items() if value is not ...}


def image(**fields):
    """Return the picture of `annotation`."""
    return {"id": 1, "file_name": "a.jpg", "width": WIDTH, "height": HEIGHT, **fields}


def reader(folder):
    """Return a function that writes a.json in a folder and reads it; a section that is ... is left out.

    It is read whole, and in pieces as `scale` does it, also with its annotations first; all must find the same.
    """

    def read(*annotations, images=None, categories=None, encoding="utf-8", **more):
        data = {
            "images": images or [image()],
            "annotations": list(annotations),
            "categories": categories or [{"id": 1, "name": "screw"}],
            **more,
        }
        data = {key: value for key, value in data.items() if value is not ...}
        path, found = folder / "a.json", []
        for ordered in (dict(reversed(data.items())), data):
            path.write_text(json.dumps(ordered), encoding=encoding)
            with mock.patch.multiple("yolact_ascend.long_json", BLOCK=7, MOST_ENTRIES=2):
                found.append(repr(outcome(lambda: read_in_pieces(path))))
        whole = outcome(lambda: read_annotations(path))
        assert found == [repr(comparable(whole))] * 2
        if isinstance(whole, DatasetError):
            raise whole
        return whole

    return read


def outcome(call):
    """Return what a reader returns or raises."""
    try:
        return call()
    except DatasetError as error:
        return error


def read_in_pieces(path):
    """Return what `scale` reads, in the form of `comparable`."""
    read = read_truths(path)
    images, truths, checked = read.checked.images, read.truths, read.checked
    rows = read.rows_in_order()
    listed = [
        [images.ids[row].item(), images.names[row], *images.sizes_of(np.array([row]))[0], json.loads(truths.of(row))]
        for row in rows
    ]
    return [listed, checked.categories, checked.is_scored, checked.warnings, checked.mask_fault]


def comparable(found):
    """Return what was read with each image's annotations beside it, in the order of `stream`."""
    if isinstance(found, DatasetError):
        return found
    by_id = {entry["id"]: entry for entry in found.data["images"]}
    listed = [
        [
            *(by_id[image_id][key] for key in ("id", "file_name", "height", "width")),
            [entry for entry in found.data["annotations"] if entry["image_id"] == image_id],
        ]
        for image_id in order_images(found.data)
    ]
    return [listed, found.data["categories"], found.is_scored, found.warnings, found.mask_fault]
