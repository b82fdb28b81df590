"""`precision=int8` of a run: its recipe, and the images that the ranges are measured on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolact_ascend.compression.recipe import QuantizeRecipe, Recipe, read_recipe
from yolact_ascend.errors import DatasetError, UsageError
from yolact_ascend.flags import RECIPE
from yolact_ascend.models.values import ModelConfig
from yolact_ascend.targets.target import INT8, Target

ROBOFLOW_ANNOTATIONS = "_annotations.coco.json"  # its COCO export: in each split's folder, beside the images


@dataclass(frozen=True)
class Quantization:
    """How a run's model becomes INT8: the recipe and the word that names it, and where the images are from."""

    word: str  # a shipped recipe's name, or FILE.yaml
    recipe: Recipe
    source: Path  # a COCO folder with `train2017`, or a folder of images

    @property
    def part(self) -> QuantizeRecipe:
        """The part of the recipe that says how to quantise."""
        assert self.recipe.quantize is not None  # `read_quantization` asks for it
        return self.recipe.quantize

    @property
    def named(self) -> dict[str, str]:
        """The recipe as side-cars and reports name it."""
        return {"name": self.recipe.name, "sha256": self.recipe.sha256}

    def find_images(self) -> tuple[Path, Path | None]:
        """Return (folder of images, their annotation file or None); raises DatasetError when there are no images."""
        from yolact_ascend.images.layout import TRAINING_SPLIT, find_image_folder  # `doctor` needs no OpenCV

        try:
            folder = find_image_folder(self.source, TRAINING_SPLIT)
            return folder, next((file for file in self.annotation_files(folder) if file.is_file()), None)
        except (DatasetError, FileNotFoundError):
            raise DatasetError(
                f"precision=int8 measures ranges on training images, and {self.source} has none: neither a folder "
                f"{TRAINING_SPLIT} with images, nor images in itself. Pass calibration=DIR."
            ) from None

    def annotation_files(self, folder: Path) -> tuple[Path, ...]:
        """Return where the annotations of a folder of images are looked for, the first that is there is taken.

        Those of COCO's layout, whether it or its folder of images was named; the folder's name with .json, beside it;
        and `_annotations.coco.json` inside, as Roboflow exports it.
        """
        from yolact_ascend.images.layout import TRAINING_SPLIT, annotation_file_of

        places = (
            annotation_file_of(self.source, TRAINING_SPLIT),
            annotation_file_of(folder.parent, folder.name),
            folder.with_name(f"{folder.name}.json"),
            folder / ROBOFLOW_ANNOTATIONS,
        )
        return tuple(dict.fromkeys(places))


def require_pruned(quantization: Quantization | None, config: ModelConfig) -> None:
    """Raise UsageError for a recipe that prunes, too, and weights that are not pruned: a run trains nothing."""
    if quantization is None or quantization.recipe.prune is None or config.widths:
        return
    raise UsageError(
        f"recipe={quantization.word} prunes before it quantises, and these weights are not pruned. Run `prune "
        f"--recipe={quantization.word}` on them first, which trains them again, and pass what it writes: "
        "weights=DIR/weights.pth. Or take recipe=int8."
    )


def read_quantization(values: Mapping[str, Any], precision: str, target: type[Target]) -> Quantization | None:
    """Return what `recipe=` and `calibration=` ask for; None for another precision than int8.

    Raises UsageError when they are given without it, or when the recipe quantises nothing.
    """
    given = [f"{key}={values[key]}" for key in ("recipe", "calibration") if values[key]]
    if precision != INT8:
        if given:
            how = "Add precision=int8" if INT8 in target.precisions else f"target={target.name} has no precision=int8"
            raise UsageError(f"{' '.join(given)} is for precision=int8, and this run has precision={precision}. {how}.")
        return None
    word = values["recipe"] or RECIPE.default
    recipe = read_recipe(word)
    if recipe.quantize is None:
        raise UsageError(
            f"recipe={word} only prunes. Prune the weights with it (the verb prune), and run them without recipe= and "
            "precision=int8; or name a recipe with the key quantize."
        )
    return Quantization(word, recipe, values["calibration"] or values["coco"])
