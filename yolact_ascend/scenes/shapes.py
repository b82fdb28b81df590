"""The eight kinds of object of the drawn data set: outline and surface, from a random generator.

Each is a function of a `Frame` and a generator; it returns how far inside the outline each pixel lies (px, about) and
its colour (BGR, 0..255). Outlines vary in proportion, surfaces in hue, pattern and light; what makes a class is both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from yolact_ascend.models.config import DRAWN_CLASSES


class Frame(NamedTuple):
    """The pixels of a patch in an object's own axes: u, v [h,w] are -1..1 along its long and short half axis.

    `long_px` and `short_px` are these half axes; `grain` [h,w] is noise of mean 0 and about -1..1.
    """

    u: np.ndarray
    v: np.ndarray
    long_px: float
    short_px: float
    grain: np.ndarray


class Sprite(NamedTuple):
    """One drawn object: colours [h,w,3] (BGR, 0..255) and coverage [h,w] (0..1)."""

    colours: np.ndarray
    coverage: np.ndarray


Painter = Callable[[Frame, np.random.Generator], tuple[np.ndarray, np.ndarray]]

# The shortest to the longest side that a class is drawn with.
ASPECTS = {
    "ball": (0.8, 1.0),
    "crate": (0.3, 1.0),
    "star": (0.8, 1.0),
    "leaf": (0.3, 0.5),
    "ring": (0.6, 1.0),
    "gear": (0.85, 1.0),
    "capsule": (0.28, 0.5),
    "cross": (0.75, 1.0),
}


def value_noise(height: int, width: int, cells: float, octaves: int, generator: np.random.Generator) -> np.ndarray:
    """Return smooth noise [height,width] about -1..1: a grid of `cells` along the long side, finer each octave."""
    total = np.zeros((height, width), dtype=np.float32)
    cell_px = max(height, width) / cells
    for octave in range(octaves):
        size = (int(width / cell_px * 2**octave) + 2, int(height / cell_px * 2**octave) + 2)
        grid = generator.uniform(-1, 1, size[::-1]).astype(np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * 0.5**octave
    return total / (2 - 0.5 ** (octaves - 1))


def random_colour(
    generator: np.random.Generator,
    hues: tuple[float, float] = (0, 180),
    saturations: tuple[float, float] = (60, 255),
    values: tuple[float, float] = (90, 255),
) -> np.ndarray:
    """Return a BGR colour [3] of a hue (0..180, OpenCV's half degrees), saturation and value in these ranges."""
    hsv = [generator.uniform(*hues) % 180, generator.uniform(*saturations), generator.uniform(*values)]
    return cv2.cvtColor(np.array([[hsv]]).astype(np.uint8), cv2.COLOR_HSV2BGR)[0, 0].astype(np.float32)


def draw_sprite(class_id: int, long_px: float, generator: np.random.Generator) -> Sprite:
    """Draw an object of a class, its longer side `long_px` pixels, turned by a random angle."""
    name = DRAWN_CLASSES[class_id]
    long_half = long_px / 2
    short_half = long_half * generator.uniform(*ASPECTS[name])
    angle = generator.uniform(0, 2 * np.pi)
    cos, sin = np.cos(angle), np.sin(angle)
    half_width = int(np.hypot(long_half * cos, short_half * sin) * 1.2 + 3)
    half_height = int(np.hypot(long_half * sin, short_half * cos) * 1.2 + 3)
    if name in ("crate", "cross"):  # corners reach beyond the ellipse
        half_width = int(long_half * abs(cos) + short_half * abs(sin) + 3)
        half_height = int(long_half * abs(sin) + short_half * abs(cos) + 3)
    y, x = np.mgrid[-half_height : half_height + 1, -half_width : half_width + 1].astype(np.float32)
    u = (x * np.float32(cos) + y * np.float32(sin)) / np.float32(long_half)
    v = (y * np.float32(cos) - x * np.float32(sin)) / np.float32(short_half)
    grain = value_noise(x.shape[0], x.shape[1], generator.uniform(4, 12), 3, generator)
    inside_px, colours = PAINTERS[name](Frame(u, v, long_half, short_half, grain), generator)
    light = 1 + generator.uniform(0, 0.25) * (x * generator.uniform(-1, 1) + y * generator.uniform(-1, 1)) / long_half
    shade = light * (1 + 0.12 * grain)
    colours = np.clip(colours * shade[..., None], 0, 255).astype(np.float32)
    return Sprite(colours, np.clip(inside_px + 0.5, 0, 1).astype(np.float32))


def _mix(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    return first + (second - first) * share[..., None].astype(np.float32)


def _contrast(colour: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return a colour that stands out from another: much darker, or much lighter."""
    if colour.mean() > 128:
        return colour * generator.uniform(0.15, 0.45)
    return 255 - (255 - colour) * generator.uniform(0.1, 0.4)


def _sphere(radius: np.ndarray, u: np.ndarray, v: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return the light [h,w] on a ball: lit from a random side, with a small bright spot."""
    z = np.sqrt(np.clip(1 - radius**2, 0, 1))
    towards = generator.normal(size=2)
    towards *= 0.6 / np.hypot(*towards)
    diffuse = np.clip(u * towards[0] + v * towards[1] + z * 0.8, 0, 1)
    return 0.4 + 0.7 * diffuse + 0.5 * diffuse**24


def _paint_ball(frame: Frame, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    radius = np.hypot(frame.u, frame.v)
    base = random_colour(generator)
    turn = generator.uniform(-3, 3)
    stripes = np.sin(generator.integers(2, 5) * np.arctan2(frame.v, frame.u) + turn * radius) > 0
    colours = _mix(base, _contrast(base, generator), stripes)
    return (1 - radius) * frame.short_px, colours * _sphere(radius, frame.u, frame.v, generator)[..., None]


def _paint_crate(frame: Frame, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    base = random_colour(generator, hues=(5, 25), saturations=(70, 200), values=(110, 240))
    boards = generator.integers(3, 6)
    gap = np.abs((frame.v * boards / 2) % 1 - 0.5) > 0.44
    to_edge = np.minimum((1 - np.abs(frame.u)) * frame.long_px, (1 - np.abs(frame.v)) * frame.short_px)
    is_frame = to_edge < 0.2 * frame.short_px
    grain = 0.15 * np.sin(frame.v * 20 + 6 * frame.grain)
    dark = np.where(is_frame, 0.75 + grain, np.where(gap, 0.35, 1 + grain))
    dark = np.where(np.abs(to_edge - 0.2 * frame.short_px) < 0.03 * frame.short_px, 0.3, dark)
    return to_edge, base * dark[..., None]


def _paint_star(frame: Frame, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    points = generator.integers(5, 8)
    inner = generator.uniform(0.42, 0.55)
    step = np.pi / points
    angle = np.abs((np.arctan2(frame.v, frame.u) + step) % (2 * step) - step)  # 0 at a point, `step` between two
    radius = np.hypot(frame.u, frame.v)
    # The edge runs from the point (1, 0) to the notch.
    edge = np.array([inner * np.cos(step) - 1, inner * np.sin(step)])
    edge /= np.hypot(*edge)
    inside = edge[0] * (radius * np.sin(angle)) - edge[1] * (radius * np.cos(angle) - 1)
    base = random_colour(generator, hues=(15, 35), saturations=(150, 255), values=(170, 255))
    facets = np.where(((np.arctan2(frame.v, frame.u) % (2 * step)) < step), 1.1, 0.72)
    speckled = frame.grain > 0.35
    colours = _mix(base, _contrast(base, generator), 0.6 * speckled)
    return inside * frame.short_px, colours * facets[..., None]


def _paint_leaf(frame: Frame, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    u = np.clip(frame.u, -1, 1)
    width = (1 - u**2) * (1 + 0.35 * u)
    wave = 1 + 0.06 * np.sin(u * generator.uniform(15, 30))
    inside = (width * wave - np.abs(frame.v)) * frame.short_px * 0.8
    inside = np.minimum(inside, (1 - np.abs(frame.u)) * frame.long_px)
    base = random_colour(generator, hues=(-5, 75), saturations=(120, 230), values=(80, 220))
    veins = np.sin((frame.u + np.abs(frame.v) * 0.35) * generator.uniform(22, 34)) > 0.75
    midrib = np.abs(frame.v) < 0.07
    light = np.where(midrib | veins, generator.uniform(1.3, 1.7), 1.0) * (0.9 + 0.2 * (frame.v > 0))
    return inside, base * light[..., None]


def _paint_ring(frame: Frame, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    thickness = generator.uniform(0.36, 0.55)
    radius = np.hypot(frame.u, frame.v)
    across = (radius - (1 - thickness / 2)) / (thickness / 2)  # -1..1 from the inner to the outer edge
    base = random_colour(generator)
    bands = np.sin(generator.integers(6, 13) * np.arctan2(frame.v, frame.u)) > generator.uniform(0.0, 0.6)
    colours = _mix(base, _contrast(base, generator), bands)
    round_light = 0.45 + 0.75 * np.sqrt(np.clip(1 - across**2, 0, 1))
    return (1 - np.abs(across)) * thickness / 2 * frame.short_px, colours * round_light[..., None]


def _paint_gear(frame: Frame, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    radius, angle = np.hypot(frame.u, frame.v), np.arctan2(frame.v, frame.u)
    teeth = generator.integers(8, 14)
    outline = 0.88 + 0.12 * np.tanh(4 * np.sin(teeth * angle))
    hole = generator.uniform(0.2, 0.32)
    inside = np.minimum(outline - radius, radius - hole) * frame.short_px
    base = random_colour(generator, saturations=(0, 50), values=(110, 220))
    brushed = 1 + 0.18 * np.sin(radius * generator.uniform(30, 60)) + 0.3 * np.cos(2 * angle + generator.uniform(0, 6))
    groove = np.abs(radius - 0.66) < 0.05
    return inside, base * (brushed * np.where(groove, 0.45, 1.0))[..., None]


def _paint_capsule(frame: Frame, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    x, y = frame.u * frame.long_px, frame.v * frame.short_px
    beyond = np.maximum(np.abs(x) - (frame.long_px - frame.short_px), 0)
    inside = frame.short_px - np.hypot(beyond, y)
    first = random_colour(generator, saturations=(140, 255))
    second = random_colour(generator, saturations=(0, 60), values=(190, 255))
    colours = _mix(first, second, frame.u > generator.uniform(-0.2, 0.2))
    round_light = 0.5 + 0.6 * np.sqrt(np.clip(1 - frame.v**2, 0, 1))
    shine = 0.4 * np.exp(-(((frame.v + 0.4) / 0.15) ** 2))
    return inside, colours * (round_light + shine)[..., None]


def _paint_cross(frame: Frame, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    arm = generator.uniform(0.3, 0.42)
    u, v = np.abs(frame.u), np.abs(frame.v)
    lying = np.minimum((1 - u) * frame.long_px, (arm - v) * frame.short_px)
    standing = np.minimum((arm - u) * frame.long_px, (1 - v) * frame.short_px)
    base = random_colour(generator)
    cells = generator.uniform(3, 6)
    checks = (np.floor(frame.u * cells) + np.floor(frame.v * cells)) % 2 > 0
    return np.maximum(lying, standing), _mix(base, _contrast(base, generator), checks)


PAINTERS: dict[str, Painter] = {
    "ball": _paint_ball,
    "crate": _paint_crate,
    "star": _paint_star,
    "leaf": _paint_leaf,
    "ring": _paint_ring,
    "gear": _paint_gear,
    "capsule": _paint_capsule,
    "cross": _paint_cross,
}
