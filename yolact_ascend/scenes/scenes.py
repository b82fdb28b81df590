"""A data set that is drawn instead of photographed, in COCO's format and the same for the same seed.

Textured backgrounds, clutter without a class, eight classes of objects (`shapes`) of 26 to 340 pixels that cover each
other and reach over the border, crowds of tiny ones, shadows, light, blur and sensor noise. The arrays are those of
the installed numpy and OpenCV: another version may draw another scene, and JPEG files differ with the encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from yolact_ascend import flags
from yolact_ascend.detection.draw import write_jpeg
from yolact_ascend.files import make_folder, write_json
from yolact_ascend.folders import hold_results
from yolact_ascend.images.layout import SPLIT, TRAINING_SPLIT
from yolact_ascend.models.config import DRAWN_CATEGORY_IDS, DRAWN_CLASSES
from yolact_ascend.progress import bar
from yolact_ascend.scenes.shapes import (
    Sprite,
    draw_sprite,
    random_colour,
    value_noise,
)

SPLITS = (TRAINING_SPLIT, SPLIT)  # so that everything that reads COCO finds them
DESCRIPTION = "yolact-ascend drawn scenes"  # how the annotation file begins
JPEG_QUALITY = 92
SIZES = ((640, 480), (480, 640), (550, 550), (600, 450), (512, 512))  # width, height in pixels
EMPTY_SHARE = 0.05  # of the scenes have no object
CROWD_SHARE = 0.06  # of the scenes have a crowd region
MOST_OBJECTS = 12
SMALL_SHARE = 0.08  # of the objects are smaller than the others
SMALL_PX, USUAL_PX = (26, 48), (48, 340)  # their longer sides
LEAST_INSIDE = 0.35  # of an object's area lies inside the image
LEAST_VISIBLE = 0.4  # of what lies inside stays uncovered by later objects
PLACEMENT_TRIES = 8
CROWD_PX = (12, 22)
POLYGON_SCALE = 4  # contours follow pixel centres; on a finer grid they come closer to the pixels' edges


@dataclass(frozen=True)
class DrawnObject:
    """One object, or one crowd of a class: its visible pixels as booleans [H,W]."""

    class_id: int
    mask: np.ndarray
    is_crowd: bool = False


@dataclass(frozen=True)
class Scene:
    """An image, BGR uint8 [H,W,3], and what is in it."""

    image: np.ndarray
    instances: tuple[DrawnObject, ...]


class _Canvas:
    """The picture as it grows, and which object each pixel belongs to (-1: none)."""

    def __init__(self, background: np.ndarray) -> None:
        self.colours = background
        self.owner: np.ndarray = np.full(background.shape[:2], -1, dtype=np.int16)
        self.inside_area: list[int] = []  # of each object, before others cover it

    def window(self, sprite: Sprite, x: int, y: int) -> tuple[slice, slice, slice, slice] | None:
        """Return rows and columns of the canvas and of a sprite centred at (x, y); None where they do not meet."""
        h, w = sprite.coverage.shape[:2]
        top, left = y - h // 2, x - w // 2
        rows = slice(max(top, 0), min(top + h, self.owner.shape[0]))
        columns = slice(max(left, 0), min(left + w, self.owner.shape[1]))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return None
        return (
            rows,
            columns,
            slice(rows.start - top, rows.stop - top),
            slice(columns.start - left, columns.stop - left),
        )

    def accepts(self, sprite: Sprite, x: int, y: int) -> bool:
        """Tell whether enough of the sprite is inside, and enough of each object would stay visible."""
        window = self.window(sprite, x, y)
        if window is None:
            return False
        rows, columns, sprite_rows, sprite_columns = window
        solid = sprite.coverage > 0.5
        inside = solid[sprite_rows, sprite_columns]
        if inside.sum() < LEAST_INSIDE * solid.sum():
            return False
        covered = self.owner[rows, columns][inside]
        lost = np.bincount(covered[covered >= 0], minlength=len(self.inside_area))
        if not lost.any():
            return True
        visible = np.bincount(self.owner[self.owner >= 0], minlength=len(self.inside_area)) - lost
        return bool(np.all((lost == 0) | (visible >= LEAST_VISIBLE * np.array(self.inside_area))))

    def put(self, sprite: Sprite, x: int, y: int, owner: int) -> int:
        """Draw a sprite over what is there; returns how many pixels it owns."""
        window = self.window(sprite, x, y)
        if window is None:
            return 0
        rows, columns, sprite_rows, sprite_columns = window
        coverage = sprite.coverage[sprite_rows, sprite_columns]
        share = coverage[..., None]
        below = self.colours[rows, columns]
        self.colours[rows, columns] = below + (sprite.colours[sprite_rows, sprite_columns] - below) * share
        self.owner[rows, columns][coverage > 0.5] = owner
        return int((coverage > 0.5).sum())

    def cast_shadow(self, sprite: Sprite, x: int, y: int, strength: float) -> None:
        """Darken what lies below a sprite, with soft edges."""
        window = self.window(sprite, x, y)
        if window is None:
            return
        rows, columns, sprite_rows, sprite_columns = window
        soft = cv2.GaussianBlur(sprite.coverage, (0, 0), 1 + 0.03 * max(sprite.coverage.shape))
        self.colours[rows, columns] *= 1 - strength * soft[sprite_rows, sprite_columns, None]


def draw_scene(seed: int, split: str, index: int) -> Scene:
    """Draw scene `index` of a split: a function of these three alone."""
    generator = np.random.default_rng([seed, SPLITS.index(split), index])
    width, height = SIZES[generator.integers(len(SIZES))]
    canvas = _Canvas(_draw_background(height, width, generator))
    _draw_clutter(canvas.colours, generator)
    class_ids: list[int] = []
    crowd = -1
    if generator.random() >= EMPTY_SHARE:
        if generator.random() < CROWD_SHARE:
            crowd = 0
            class_ids.append(_place_crowd(canvas, generator))
        class_ids += _place_objects(canvas, len(class_ids), generator)
    image = _photograph(canvas.colours, generator)
    masks = [canvas.owner == owner for owner in range(len(class_ids))]
    instances = (
        DrawnObject(class_id, mask, owner == crowd) for owner, (class_id, mask) in enumerate(zip(class_ids, masks))
    )
    return Scene(image, tuple(instance for instance in instances if instance.mask.any()))


def _draw_background(height: int, width: int, generator: np.random.Generator) -> np.ndarray:
    """Return float32 colours [height,width,3]: two or three colours mixed by one of four textures."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    kind = generator.integers(4)
    noise = value_noise(height, width, generator.uniform(2, 8), 5, generator)
    if kind == 0:  # clouds, marble
        share = 0.5 + 0.8 * noise
    elif kind == 1:  # boards, cloth: stripes along a direction, bent by noise
        angle = generator.uniform(0, np.pi)
        along = x * np.cos(angle) + y * np.sin(angle)
        share = 0.5 + 0.4 * np.sin(along / generator.uniform(5, 25) + 3 * noise) + 0.3 * noise
    elif kind == 2:  # tiles, each of its own tone
        size = generator.uniform(40, 120)
        tones = generator.random((int(height / size) + 2, int(width / size) + 2)).astype(np.float32)
        column, row = (x / size).astype(int), (y / size).astype(int)
        joint = (x % size < 3) | (y % size < 3)
        share = np.where(joint, 1.0, 0.6 * tones[row, column]) + 0.3 * noise
    else:  # a horizon
        share = 1 / (1 + np.exp(-(y - height * generator.uniform(0.2, 0.8)) / generator.uniform(2, 60))) + 0.4 * noise
    colours = [random_colour(generator, saturations=(0, 140), values=(60, 250)) for _ in range(3)]
    mixed = colours[0] + (colours[1] - colours[0]) * np.clip(share, 0, 1)[..., None]
    tint = np.clip(value_noise(height, width, 2, 2, generator), 0, 1)[..., None]
    fine = 1 + generator.uniform(0.02, 0.12) * value_noise(height, width, 100, 2, generator)
    return ((mixed + (colours[2] - mixed) * 0.6 * tint) * fine[..., None]).astype(np.float32)


def _draw_clutter(colours: np.ndarray, generator: np.random.Generator) -> None:
    """Draw triangles, lines and soft blobs, which are no class, onto `colours`."""
    height, width = colours.shape[:2]
    for _ in range(generator.integers(0, 8)):
        centre = generator.uniform(0, 1, 2) * (width, height)
        size = generator.uniform(15, 120)
        layer: np.ndarray = np.zeros((height, width), dtype=np.float32)
        kind = generator.integers(3)
        points = np.int32(centre + generator.uniform(-size, size, (3, 2)))
        if kind == 0:
            cv2.fillPoly(layer, [points], 1.0, cv2.LINE_AA)
        elif kind == 1:
            cv2.polylines(layer, [points], False, 1.0, int(generator.integers(1, 7)), cv2.LINE_AA)
        else:
            cv2.circle(layer, [int(n) for n in centre], int(size / 2), 1.0, -1)
            layer = cv2.blur(layer, (int(size), int(size)))
        share = generator.uniform(0.3, 0.9) * layer[..., None]
        colours += (random_colour(generator, saturations=(0, 200), values=(30, 250)) - colours) * share


def _place_crowd(canvas: _Canvas, generator: np.random.Generator) -> int:
    """Draw many tiny objects of one class close together, as owner 0; returns their class."""
    class_id = int(generator.integers(len(DRAWN_CLASSES)))
    height, width = canvas.owner.shape[:2]
    spread = generator.uniform(30, 70)
    centre = generator.uniform(0.2, 0.8, 2) * (width, height)
    for x, y in generator.normal(centre, spread, (generator.integers(20, 50), 2)).astype(int):
        sprite = draw_sprite(class_id, generator.uniform(*CROWD_PX), generator)
        canvas.put(sprite, x, y, 0)
    canvas.inside_area.append(int((canvas.owner == 0).sum()))
    return class_id


def _place_objects(canvas: _Canvas, first_owner: int, generator: np.random.Generator) -> list[int]:
    """Draw one to twelve objects over each other; returns their classes, in the order of their owners."""
    height, width = canvas.owner.shape[:2]
    count = generator.integers(1, MOST_OBJECTS + 1)
    ranges = [SMALL_PX if generator.random() < SMALL_SHARE else USUAL_PX for _ in range(count)]
    sizes_px = [float(np.exp(generator.uniform(*np.log(size_range)))) for size_range in ranges]
    # Large ones first, mostly: they find no place among others, and small ones on top of them stay visible.
    sizes_px.sort(key=lambda size: -size * generator.uniform(0.5, 1))
    shadow = generator.uniform(0, 0.6)
    light_from = generator.uniform(-1, 1, 2)
    class_ids: list[int] = []
    for size_px in sizes_px:
        class_id = int(generator.integers(len(DRAWN_CLASSES)))
        sprite = draw_sprite(class_id, size_px, generator)
        for _ in range(PLACEMENT_TRIES):
            x, y = (int(n) for n in generator.uniform(0, 1, 2) * (width, height))
            if canvas.accepts(sprite, x, y):
                offset = (light_from * (3 + 0.06 * size_px)).astype(int)
                canvas.cast_shadow(sprite, x + offset[0], y + offset[1], shadow)
                canvas.inside_area.append(canvas.put(sprite, x, y, first_owner + len(class_ids)))
                class_ids.append(class_id)
                break
    return class_ids


def _photograph(colours: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return the uint8 image that a camera would take: uneven light, blur, sensor noise."""
    height, width = colours.shape[:2]
    light = 1 + 0.35 * value_noise(height, width, 1.5, 1, generator)
    colours = colours * light[..., None] * generator.uniform(0.8, 1.2)
    if generator.random() < 0.5:
        colours = cv2.GaussianBlur(colours, (0, 0), generator.uniform(0.4, 1.3))
    noise = generator.standard_normal((height, width, 3), dtype=np.float32) * generator.uniform(1, 7)
    return np.clip(colours + noise, 0, 255).astype(np.uint8)


def trace_polygons(mask: np.ndarray) -> list[list[float]] | None:
    """Return a mask [H,W] as COCO polygons; None when it has holes, which polygons cannot say."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return []
    top, left = rows[0], columns[0]
    piece = mask[top : rows[-1] + 1, left : columns[-1] + 1].astype(np.uint8)
    fine = cv2.resize(piece, None, fx=POLYGON_SCALE, fy=POLYGON_SCALE, interpolation=cv2.INTER_NEAREST)
    contours, hierarchy = cv2.findContours(fine, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if (hierarchy[0, :, 3] >= 0).any():
        return None
    polygons = []
    for contour in contours:
        points = cv2.approxPolyDP(contour, 0.4 * POLYGON_SCALE, True).reshape(-1, 2)
        if len(points) >= 3:
            polygons.append(((points + 0.5) / POLYGON_SCALE + (left, top)).round(2).ravel().tolist())
    return polygons


def annotate(instance: DrawnObject, image_id: int, annotation_id: int) -> dict[str, Any]:
    """Return an instance as an entry of "annotations": polygons, or run lengths for crowds and masks with holes."""
    height, width = instance.mask.shape
    polygons = None if instance.is_crowd else trace_polygons(instance.mask)
    if polygons:
        rle = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
        segmentation: Any = polygons
    else:
        rle = coco_mask.encode(np.asfortranarray(instance.mask, dtype=np.uint8))
        segmentation = {"size": [height, width], "counts": rle["counts"].decode("ascii")}
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": DRAWN_CATEGORY_IDS[instance.class_id],
        "iscrowd": int(instance.is_crowd),
        "area": float(coco_mask.area(rle)),
        "bbox": [float(n) for n in coco_mask.toBbox(rle)],
        "segmentation": segmentation,
    }


def draw_dataset(folder: Path, train_images: int, val_images: int, seed: int) -> None:
    """Draw so many scenes for training and to hold out into a folder in COCO's layout; a split of none is left out.

    Image ids count from 1 through both splits. Raises ArtifactError when the folder cannot be written, UsageError when
    images or annotations of others lie in it.
    """
    cv2.setNumThreads(1)  # scenes are small: more threads cost more than they save
    drawn = [split for split, count in zip(SPLITS, (train_images, val_images)) if count]
    files = [_annotation_file(folder, split) for split in drawn]
    is_ours = any(_is_of_drawn_scenes(path) for path in files)
    with hold_results(folder, [*files, *(folder / split for split in drawn)], flags.SAVE_PATH.word("DIR"), is_ours):
        _draw_splits(folder, train_images, val_images, seed)


def _annotation_file(folder: Path, split: str) -> Path:
    return folder / "annotations" / f"instances_{split}.json"


def _is_of_drawn_scenes(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return DESCRIPTION.encode() in file.read(100)


def _draw_splits(folder: Path, train_images: int, val_images: int, seed: int) -> None:
    image_id = 0
    for split, count in zip(SPLITS, (train_images, val_images)):
        if not count:
            continue
        make_folder(folder / split)
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for index in bar(range(count), desc=f"draw {split}", unit="image"):
            scene = draw_scene(seed, split, index)
            image_id += 1
            name = f"{image_id:012d}.jpg"
            write_jpeg(folder / split / name, scene.image, JPEG_QUALITY)
            height, width = scene.image.shape[:2]
            images.append({"id": image_id, "file_name": name, "width": width, "height": height})
            for instance in scene.instances:
                annotations.append(annotate(instance, image_id, len(annotations) + 1))
        categories = [{"id": i, "name": name} for i, name in zip(DRAWN_CATEGORY_IDS, DRAWN_CLASSES)]
        info = {"description": f"{DESCRIPTION}, seed {seed}, {split}"}
        data = {"info": info, "images": images, "annotations": annotations, "categories": categories}
        write_json(_annotation_file(folder, split), data, indent=None)
