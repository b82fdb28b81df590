"""Small annotation files, with one field or another changed."""

from __future__ import annotations

import json

from yolact_ascend.images.annotations import read_annotations

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
    """Return a function that writes a.json in a folder and reads it; a section that is ... is left out."""

    def read(*annotations, images=None, categories=None, encoding="utf-8", **more):
        data = {
            "images": images or [image()],
            "annotations": list(annotations),
            "categories": categories or [{"id": 1, "name": "screw"}],
            **more,
        }
        data = {key: value for key, value in data.items() if value is not ...}
        path = folder / "a.json"
        path.write_text(json.dumps(data), encoding=encoding)
        return read_annotations(path)

    return read
