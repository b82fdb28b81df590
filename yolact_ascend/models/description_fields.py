"""Reads the fields of a description, each checked: a file may be damaged and still be JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.errors import show_value
from yolact_ascend.models.families import FAMILIES
from yolact_ascend.models.labels import LEAST_ID, MOST_ID, is_class_name
from yolact_ascend.models.output_type import OUTPUT_TYPES
from yolact_ascend.models.values import DIALECTS, FITS, Anchors, Backbone, Preprocessing, Rcnn

T = TypeVar("T")
MOST_LETTERS = 1000  # of a text
MOST_NUMBER = 1e30
MOST_SIDE = 1 << 16  # of an image, in pixels, and the most channels
LEVELS = 5  # P3..P7 of YOLACT, P2..P6 of R-CNN
PROTO_DTYPES = tuple(OUTPUT_TYPES.values())
MOST_LAYERS = 64  # of a head
# The values of a config that only one family has. The others' are not written: they mean nothing there.
FAMILY_VALUES = {"yolact": ("anchors", "proto_channels"), "rcnn": ("rcnn",)}
SHA256 = re.compile(r"[0-9a-f]{64}")


class BadField(ValueError):
    """A field is missing or not what is expected; the text says which, and continues a sentence."""


class Fields:
    """The fields of a JSON object. Each reading method raises BadField when the field is not what it reads."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise BadField(f"{where} is {show_value(value)}, expected an object")
        self._value = value
        self._where = where
        self._read: set[str] = set()

    def raw(self, key: str) -> Any:
        """Return a field as it is."""
        if key not in self._value:
            raise BadField(f'"{key}" is missing')
        self._read.add(key)
        return self._value[key]

    def has(self, key: str) -> bool:
        """Tell whether a field that need not be there is."""
        return key in self._value

    def require_no_others(self) -> None:
        """Raise BadField when there is a field that was not read: it may change what the others mean."""
        others = sorted(set(map(str, self._value)) - self._read)
        if others:
            raise BadField(f"{show_value(others[0])} is no field of it")

    def one(self, key: str, is_right: Callable[[Any], bool], expected: str) -> Any:
        """Return a field that is right by a test."""
        value = self.raw(key)
        if not is_right(value):
            raise BadField(f'"{key}" is {show_value(value)}, expected {expected}')
        return value

    def many(self, key: str, is_right: Callable[[Any], bool], expected: str, count: int | None = None) -> tuple:
        """Return a list of values that are right by a test; `count` None: at least one."""
        value = self.raw(key)
        of = "a list of" if count is None else f"{count}"
        if not isinstance(value, list) or (not value if count is None else len(value) != count):
            raise BadField(f'"{key}" is {show_value(value)}, expected {of} {expected}')
        for each in value:
            if not is_right(each):
                raise BadField(f'"{key}" has {show_value(each)}, expected {expected}')
        return tuple(value)

    def distinct(self, key: str, is_right: Callable[[Any], bool], expected: str, count: int | None = None) -> tuple:
        """Return such a list, in which no value is twice."""
        values = self.many(key, is_right, expected, count)
        if len(set(values)) != len(values):
            raise BadField(f'"{key}" has a value twice, expected {expected}, each once')
        return values

    def inner(self, key: str) -> Fields:
        return Fields(self.raw(key), f'"{key}"')

    def text(self, key: str) -> str:
        return str(self.one(key, _is_text, f"a text of 1 to {MOST_LETTERS} letters"))

    def word(self, key: str, words: Collection[str]) -> str:
        return str(self.one(key, lambda value: isinstance(value, str) and value in words, f"one of {', '.join(words)}"))

    def whole(self, key: str, least: int = 0, most: int = MOST_SIDE) -> int:
        return int(self.one(key, _is_whole(least, most), f"a whole number from {least} to {most}"))

    def wholes(self, least: int = 0, most: int = MOST_SIDE) -> tuple[tuple[str, int], ...]:
        """Return all fields, at least one, whose names are free and whose values are whole numbers."""
        if not self._value:
            raise BadField(f"{self._where} is empty, expected names with whole numbers")
        return tuple((key, self.whole(key, least, most)) for key in self._value)

    def flag(self, key: str) -> bool:
        return bool(self.one(key, lambda value: isinstance(value, bool), "true or false"))

    def sha256(self, key: str) -> str:
        return str(self.one(key, _is_sha256, "a SHA-256 of 64 digits"))

    def file_name(self, key: str) -> str:
        """Return the name of a file that lies beside: without a folder, so that it leads nowhere else."""
        return str(self.one(key, _is_file_name, "a file name without a folder"))


def read_config_fields(fields: Fields) -> dict[str, Any]:
    """Return the values of a `ModelConfig` by name, but for those that are not written."""
    names = fields.distinct("class_names", is_class_name, "names")
    is_id, expected = _is_whole(LEAST_ID, MOST_ID), f"whole numbers from {LEAST_ID} to {MOST_ID}"
    ids = fields.distinct("category_ids", is_id, expected)
    if len(names) != len(ids):
        raise BadField(f"{len(names)} class_names with {len(ids)} category_ids, expected as many")
    family = fields.word("family", FAMILIES)
    values = {
        "name": fields.text("name"),
        "family": family,
        "tasks": fields.distinct("tasks", lambda value: value in (BOX, MASK), f"{BOX} or {MASK}"),
        "class_names": names,
        "category_ids": ids,
        "preprocessing": _whole_value(fields.inner("preprocessing"), _read_preprocessing),
        "backbone": _whole_value(fields.inner("backbone"), _read_backbone),
        "fpn_sources": fields.distinct(
            "fpn_sources", _is_whole(0, MOST_SIDE), "numbers of stages", count=4 if family == "rcnn" else 3
        ),
        "fpn_channels": fields.whole("fpn_channels", 1),
        "proto_dtype": fields.word("proto_dtype", PROTO_DTYPES) if fields.has("proto_dtype") else PROTO_DTYPES[0],
        "widths": fields.inner("widths").wholes(1) if fields.has("widths") else (),
    }
    if family == "rcnn":
        values["rcnn"] = _whole_value(fields.inner("rcnn"), _read_rcnn)
    else:
        values["anchors"] = _whole_value(fields.inner("anchors"), _read_anchors)
        values["proto_channels"] = fields.whole("proto_channels", 1)
    fields.require_no_others()
    return values


def others_values(family: str) -> list[str]:
    """Return the values of a config that only other families have."""
    return [name for other, names in FAMILY_VALUES.items() if other != family for name in names]


def _whole_value(fields: Fields, read: Callable[[Fields], T]) -> T:
    value = read(fields)
    fields.require_no_others()
    return value


def _read_preprocessing(fields: Fields) -> Preprocessing:
    def edge(key: str) -> int | None:
        return None if fields.raw(key) is None else fields.whole(key, 1)

    found = Preprocessing(
        height_px=fields.whole("height_px", 1),
        width_px=fields.whole("width_px", 1),
        mean_rgb=fields.many("mean_rgb", _is_number, "numbers", count=3),
        std_rgb=fields.many("std_rgb", _is_positive, "numbers above 0", count=3),
        pixel_max=fields.one("pixel_max", _is_positive, "a number above 0"),
        channel_order=fields.word("channel_order", ("RGB", "BGR")),
        interpolation=fields.word("interpolation", ("cv2", "pillow")),
        shortest_edge_px=edge("shortest_edge_px"),
        longest_edge_px=edge("longest_edge_px"),
        fit=fields.word("fit", FITS) if fields.has("fit") else Preprocessing.fit,
    )
    if (found.shortest_edge_px is None) != (found.longest_edge_px is None):
        raise BadField('"shortest_edge_px" and "longest_edge_px" are one without the other')
    return found


def _read_anchors(fields: Fields) -> Anchors:
    return Anchors(
        scales_px=fields.many("scales_px", _is_positive, "sizes above 0", count=LEVELS),
        aspect_ratios=fields.many("aspect_ratios", _is_positive, "numbers above 0"),
        is_square=fields.flag("is_square"),
    )


def _read_backbone(fields: Fields) -> Backbone:
    def is_stage(value: Any) -> bool:
        is_number = _is_whole(0, MOST_SIDE)
        return is_number(value) or (isinstance(value, list) and bool(value) and all(map(is_number, value)))

    stages = fields.many("stages", is_stage, "numbers, or lists of numbers")
    return Backbone(
        kind=fields.text("kind"),
        block=fields.text("block"),
        stages=tuple(tuple(stage) if isinstance(stage, list) else stage for stage in stages),
        stem_channels=fields.whole("stem_channels", 1),
        last_channels=fields.whole("last_channels"),
        imagenet_file=fields.one("imagenet_file", lambda value: value == "" or _is_file_name(value), "a file name"),
    )


def _read_rcnn(fields: Fields) -> Rcnn:
    def is_sizes(value: Any) -> bool:
        return isinstance(value, list) and bool(value) and all(map(_is_positive, value))

    def share(key: str) -> float:
        return float(fields.one(key, lambda value: _is_number(value) and 0 <= value <= 1, "a number from 0 to 1"))

    sizes = fields.many("anchor_sizes_px", is_sizes, "lists of sizes above 0", count=LEVELS)
    if len({len(each) for each in sizes}) > 1:
        raise BadField('"anchor_sizes_px" has more sizes for one level than for another, expected as many')
    return Rcnn(
        dialect=fields.word("dialect", DIALECTS),
        stride_in_1x1=fields.flag("stride_in_1x1"),
        groups=fields.whole("groups", 1),
        bottleneck_channels=fields.whole("bottleneck_channels", 1),
        res2_channels=fields.whole("res2_channels", 1),
        anchor_sizes_px=tuple(map(tuple, sizes)),
        aspect_ratios=fields.many("aspect_ratios", _is_positive, "numbers above 0"),
        rpn_candidates=fields.whole("rpn_candidates", 1),
        rpn_proposals=fields.whole("rpn_proposals", 1),
        rpn_nms_iou=share("rpn_nms_iou"),
        rpn_box_weights=fields.many("rpn_box_weights", _is_positive, "numbers above 0", count=4),
        box_pooler_size=fields.whole("box_pooler_size", 1),
        mask_pooler_size=fields.whole("mask_pooler_size", 1),
        box_pooler_samples=fields.whole("box_pooler_samples"),
        mask_pooler_samples=fields.whole("mask_pooler_samples"),
        pooler_is_aligned=fields.flag("pooler_is_aligned"),
        box_layers=fields.whole("box_layers", 1, MOST_LAYERS),
        box_channels=fields.whole("box_channels", 1),
        mask_layers=fields.whole("mask_layers", 0, MOST_LAYERS),
        mask_channels=fields.whole("mask_channels", 1),
        box_weights=fields.many("box_weights", _is_positive, "numbers above 0", count=4),
        score_threshold=share("score_threshold"),
        nms_iou=share("nms_iou"),
        max_detections=fields.whole("max_detections", 1),
        class_agnostic_boxes=fields.flag("class_agnostic_boxes"),
        class_agnostic_masks=fields.flag("class_agnostic_masks"),
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value.strip()) > 0 and len(value) <= MOST_LETTERS


def _is_file_name(value: Any) -> bool:
    return _is_text(value) and not set(value) & set("/\\\0") and value not in (".", "..")


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and SHA256.fullmatch(value) is not None


def _is_whole(least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < MOST_NUMBER  # neither NaN nor infinite


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0
