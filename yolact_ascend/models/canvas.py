"""The canvas of models that pad their pictures: its size, and how a picture is fitted onto it.

The exported graph has one size, so the canvas is chosen before the export; the model states it to all later stages.
"""

from __future__ import annotations

import dataclasses
import re

from yolact_ascend.errors import UsageError
from yolact_ascend.models.values import CANVAS_MULTIPLE, FIT_MAX, ModelConfig

LARGEST_CANVAS = 8192
SHOWN_CANVAS = "SIZE or HEIGHTxWIDTH in pixels"


def read_canvas(word: str) -> tuple[int, int]:
    """Return height and width of `SIZE` or `HEIGHTxWIDTH`; raises ValueError with what was expected."""
    found = re.fullmatch(r"(\d{1,6})(?:x(\d{1,6}))?", word, re.ASCII)
    sides = (int(found.group(1)), int(found.group(2) or found.group(1))) if found else (0, 0)
    if any(side % CANVAS_MULTIPLE or not CANVAS_MULTIPLE <= side <= LARGEST_CANVAS for side in sides):
        raise ValueError(
            f"{SHOWN_CANVAS}, multiples of {CANVAS_MULTIPLE} up to {LARGEST_CANVAS}, such as 1344 or 800x1344"
        )
    return sides


def show_canvas(sides: tuple[int, int]) -> str:
    """Return height and width as `read_canvas` reads them."""
    return "x".join(map(str, dict.fromkeys(sides)))


def describe_canvas(config: ModelConfig) -> list[str]:
    """Return a config's canvas and fit, as its words have them."""
    own = config.preprocessing
    return [show_canvas((own.height_px, own.width_px)), own.fit]


def with_canvas(config: ModelConfig, canvas: tuple[int, int] | None, fit: str | None) -> ModelConfig:
    """Return the config with another canvas (height, width in px), or another way onto it; None: the config's own.

    Raises UsageError for a config that pads nothing, and for a canvas that is too small for its pictures.
    """
    own = config.preprocessing
    if canvas is None and fit is None:
        return config
    if own.is_stretched:
        given = f"canvas={show_canvas(canvas)}" if canvas else f"fit={fit}"
        raise UsageError(
            f"{given}: {config.name} stretches images to {own.width_px}×{own.height_px} pixels, and has no canvas. "
            "Leave out canvas= and fit=."
        )
    height, width = canvas or (own.height_px, own.width_px)
    changed = dataclasses.replace(own, height_px=height, width_px=width, fit=fit or own.fit)
    shortest, longest = own.shortest_edge_px or 0, own.longest_edge_px or 0
    if changed.fit == FIT_MAX and (min(height, width) < shortest or max(height, width) < longest):
        least, most = (-(-edge // CANVAS_MULTIPLE) * CANVAS_MULTIPLE for edge in (shortest, longest))
        landscape = f" canvas={least}x{most} for images that are not higher than wide," if least < most else ""
        raise UsageError(
            f"canvas={show_canvas((height, width))} is too small: {config.name} resizes images to a shorter edge of "
            f"{shortest} px and a longer one of up to {longest} px. Pass canvas={most} for any image,{landscape} "
            "or fit=window for any canvas."
        )
    return dataclasses.replace(config, preprocessing=changed)
