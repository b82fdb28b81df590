"""The demo: what a run uses when there are neither weights nor a data set."""

from __future__ import annotations

from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from yolact_ascend import flags
from yolact_ascend.errors import ArtifactError, DatasetError
from yolact_ascend.files import digest_files, read_json, shipped, write_json
from yolact_ascend.images.layout import find_split
from yolact_ascend.models.config import CONFIGS, DEMO_CONFIG
from yolact_ascend.pipeline.model_source import find_exported, require_exported_fits, require_operators
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

    A config whose weights come with this repository may be named: then the demo is that of this config.
    """
    is_named = "config" in settings.given
    config = settings.model_config if is_named else CONFIGS[DEMO_CONFIG]
    if settings.given & _OWN_CHOICE or not config.source.is_shipped:
        return settings
    if not is_named and (settings.weights.is_file() or _has_split(settings.coco)):
        return settings
    if settings.exported is not None:  # of a user's own weights, which are not here
        return settings
    folder, weights = WorkFolder(settings.out).demo_data, shipped(config.source.url)
    exported = find_exported(weights, False, settings.out)
    if exported is not None:
        cut = settings.cut if "cut" in settings.given else None
        require_exported_fits(exported, settings.canvas, settings.fit, cut, settings.classes)
        operators = settings.operators if "operators" in settings.given else None
        require_operators(WorkFolder(settings.out).onnx, operators)
        settings = replace(settings, cut=exported.cut, exported=exported)
    return replace(settings, config=config.name, model_config=config, weights=weights, coco=folder, is_demo=True)


def draw_command(folder: Path) -> list[str]:
    """Build the command that draws the demo's scenes."""
    counts = [flags.TRAIN_IMAGES.word(0), flags.VAL_IMAGES.word(IMAGES), flags.SEED.word(SEED)]
    return [*own_command("draw"), flags.SAVE_PATH.word(folder), *counts]


def is_drawn(folder: Path) -> bool:
    """Whether the scenes lie there as the present code draws them."""
    try:
        return read_json(recipe_file(folder), "what the scenes were drawn from") == _recipe() and _has_split(folder)
    except ArtifactError:
        return False


def note_drawn(folder: Path) -> None:
    """Note that the scenes are all there; to be called when they are."""
    write_json(recipe_file(folder), _recipe())


def _recipe() -> dict[str, Any]:
    versions = {name: metadata.version(name) for name in ("numpy", "opencv-python-headless")}
    return {"seed": SEED, "images": IMAGES, "code": digest_files(sources_of("scenes.scenes")), **versions}


def _has_split(folder: Path) -> bool:
    try:
        find_split(folder)
    except DatasetError:
        return False
    return True
