"""The demo: what a run uses when there are neither weights nor a data set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from yolact_ascend import flags
from yolact_ascend.compression.recipe import HELD_OUT_IMAGES
from yolact_ascend.errors import ArtifactError, DatasetError
from yolact_ascend.files import digest_files, read_json, shipped, write_json
from yolact_ascend.images.layout import SPLIT, TRAINING_SPLIT, find_split
from yolact_ascend.models.config import CONFIGS, DEMO_CONFIG
from yolact_ascend.models.output_type import with_output_type
from yolact_ascend.pipeline.model_source import (
    find_exported,
    require_exported_fits,
    require_operators,
    require_output_type,
)
from yolact_ascend.pipeline.settings import RunSettings
from yolact_ascend.process import own_command
from yolact_ascend.sources import sources_of
from yolact_ascend.targets.folder import WorkFolder, recipe_file

WEIGHTS = shipped(CONFIGS[DEMO_CONFIG].source.url)
IMAGES = 100  # held-out scenes; the weights have not seen them
SEED = 1  # of the data set that they were trained on, whose other split this is
NOTE = (
    "a demo: drawn scenes, not COCO, and a small network trained on such scenes. Its mAP and its throughput are "
    "measured, but cannot be compared with models trained on COCO. For that, pass weights= and coco=."
)
# What any of these names is the user's choice, so nothing is put in its place.
_OWN_CHOICE = frozenset({"weights", "coco", "images", "annotations", "upstream"})


def with_demo(settings: RunSettings) -> RunSettings:
    """Return the settings of the demo when none of model and data was named, or found at the guide's paths.

    A config whose weights come with this repository, or a file of such weights, may be named: the demo is that one.
    """
    chosen = settings.given & _OWN_CHOICE
    has_ours = chosen == {"weights"} and settings.weights.resolve().parent == WEIGHTS.parent.resolve()
    is_named = has_ours or "config" in settings.given
    config = settings.model_config if is_named else with_output_type(CONFIGS[DEMO_CONFIG], settings.output_type)
    if (chosen and not has_ours) or not (has_ours or config.source.is_shipped):
        return settings
    if not is_named and (settings.weights.is_file() or _has_split(settings.coco)):
        return settings
    if has_ours and _has_split(settings.coco):
        return settings
    if settings.exported is not None:  # of a user's own weights, which are not here
        return settings
    folder = WorkFolder(settings.out).demo_data
    weights = settings.weights if has_ours else shipped(config.source.url)
    exported = find_exported(weights, False, settings.out)
    if exported is not None:
        cut = settings.cut if "cut" in settings.given else None
        require_exported_fits(exported, settings.canvas, settings.fit, cut, settings.classes)
        require_output_type(exported, settings.output_type)
        operators = settings.operators if "operators" in settings.given else None
        require_operators(WorkFolder(settings.out).onnx, operators)
        settings = replace(settings, cut=exported.cut, exported=exported)
    quantization = settings.quantization
    if quantization is not None and "calibration" not in settings.given:
        quantization = replace(quantization, source=WorkFolder(settings.out).demo_calibration)
    return replace(
        settings,
        config=config.name,
        model_config=config,
        weights=weights,
        coco=folder,
        is_demo=True,
        quantization=quantization,
    )


@dataclass(frozen=True)
class Scenes:
    """A drawn data set in COCO's layout: how many scenes of the training's split, and of the held-out one."""

    folder: Path
    train_images: int
    val_images: int

    def draw_command(self) -> list[str]:
        """Build the command that draws them."""
        counts = [flags.TRAIN_IMAGES.word(self.train_images), flags.VAL_IMAGES.word(self.val_images)]
        return [*own_command("draw"), flags.SAVE_PATH.word(self.folder), *counts, flags.SEED.word(SEED)]

    def are_drawn(self) -> bool:
        """Whether the scenes lie there as the present code draws them."""
        try:
            found = read_json(recipe_file(self.folder), "what the scenes were drawn from")
        except ArtifactError:
            return False
        splits = [split for split, count in zip((TRAINING_SPLIT, SPLIT), (self.train_images, self.val_images)) if count]
        return bool(found == self._recipe()) and all(_has_split(self.folder, split) for split in splits)

    def note_drawn(self) -> None:
        """Note that the scenes are all there; to be called when they are."""
        write_json(recipe_file(self.folder), self._recipe())

    def _recipe(self) -> dict[str, Any]:
        versions = {name: metadata.version(name) for name in ("numpy", "opencv-python-headless")}
        training = {"train_images": self.train_images} if self.train_images else {}
        code = digest_files(sources_of("scenes.scenes"))
        return {"seed": SEED, "images": self.val_images, **training, "code": code, **versions}


def demo_scenes(settings: RunSettings) -> list[Scenes]:
    """Return what a demo draws: the scenes that are scored, and for int8 those that its ranges are measured on.

    The latter are of the split that the weights were trained on, with as many to choose the method by.
    """
    scenes = [Scenes(settings.coco, 0, IMAGES)]
    quantization = settings.quantization
    if quantization is not None and quantization.source == WorkFolder(settings.out).demo_calibration:
        scenes.append(Scenes(quantization.source, quantization.part.images + HELD_OUT_IMAGES, 0))
    return scenes


def _has_split(folder: Path, split: str = SPLIT) -> bool:
    try:
        find_split(folder, split)
    except DatasetError:
        return False
    return True
