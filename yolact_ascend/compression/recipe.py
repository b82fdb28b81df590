"""Recipes of smaller models as values: what is pruned and quantised, and how; read from YAML, three are shipped."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolact_ascend.errors import UsageError, show_value
from yolact_ascend.files import PACKAGE, sha256_bytes
from yolact_ascend.flags import MAX_COUNT, MAX_SEED
from yolact_ascend.models.rcnn.yaml_file import parse_yaml

FOLDER = PACKAGE / "recipes"  # of the shipped ones
SUFFIXES = (".yaml", ".yml")
HELD_OUT_IMAGES = 100  # that the mAP is measured on, to choose by
MINMAX, PERCENTILE, SEARCH, BEST = METHODS = ("minmax", "percentile", "search", "best")


@dataclass(frozen=True)
class QuantizeRecipe:
    """How a model becomes INT8.

    `method` is how a tensor's range is chosen: the smallest and largest value (minmax), all but the outermost values
    (percentile), the range with the least error (search), or the one of these three with the highest mAP (best).
    `keep_float` names nodes that stay in float32. `map_budget` are the points of mAP that may be lost: nodes stay in
    float32 until it is met (None: only those that must). `bias_correction`: biases give back what rounded weights
    change in the mean of each channel. `reduce_range` keeps weights within ±63, for CPUs without VNNI.
    """

    method: str = BEST
    percentile: float = 99.99
    images: int = 50
    keep_float: tuple[str, ...] = ()
    map_budget: float | None = 0.5
    seed: int = 0
    bias_correction: bool = True
    reduce_range: bool = False


@dataclass(frozen=True)
class PruneRecipe:
    """How channels are removed, and the network is fine-tuned afterwards.

    `ratio` is the share of the operations (FLOP) to remove. Widths are multiples of `round_to`, and at least
    `least_channels`. Afterwards each training image is seen `passes` times, `batch_size` in a step;
    `learning_rate` is as that of `train`.
    """

    ratio: float = 0.35
    round_to: int = 32
    least_channels: int = 32
    passes: float = 3.0
    batch_size: int = 8
    learning_rate: float = 0.005
    seed: int = 0


@dataclass(frozen=True)
class Recipe:
    """What is done to a model; a part that is None is left out."""

    name: str
    quantize: QuantizeRecipe | None = None
    prune: PruneRecipe | None = None

    @property
    def sha256(self) -> str:
        """The hash of its values, defaults included; the name and the file's comments do not count."""
        return sha256_bytes(json.dumps(self.to_json(), sort_keys=True).encode())

    def to_json(self) -> dict[str, Any]:
        """Return the values as JSON; a part that is left out is null."""
        parts = {part: getattr(self, part) for part in _PARTS}
        return {part: None if value is None else dataclasses.asdict(value) for part, value in parts.items()}


def require_no_score(recipe: QuantizeRecipe, looked_for: Sequence[Path] = ()) -> None:
    """Raise UsageError for a recipe that needs annotated images; to be called where there are none.

    `looked_for` are the annotation files that a run would have taken; none by hand, where --json_file names it.
    """
    if recipe.method == BEST:
        places = f"Put their COCO annotation file in one of these places: {', '.join(map(str, looked_for))}"
        raise UsageError(
            "The recipe chooses the method by mAP (method: best), which needs annotated images. "
            f"{places if looked_for else 'Pass their annotation file, --json_file=FILE'}; or take a recipe with "
            "another method."
        )


def shipped_recipes() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_recipe(word: str) -> Recipe:
    """Return a shipped recipe by its name, or that of a file, FILE.yaml.

    Raises UsageError that names the file and the key for what is not known or has a bad value.
    """
    if word in shipped_recipes():
        return _read_file(FOLDER / f"{word}.yaml")
    path = Path(word).expanduser()
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"There is no recipe {show_value(word)}. Pass one of {', '.join(shipped_recipes())}, or a file: FILE.yaml."
        )
    return _read_file(path)


def _read_file(path: Path) -> Recipe:
    try:
        content = parse_yaml(path.read_text(encoding="utf-8-sig"), has_unique_keys=True)
    except OSError as error:
        raise UsageError(f"Cannot read the recipe {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"The recipe {path} is not plain YAML: {reason}. Fix it.") from error
    expected = " and/or ".join(_PARTS)
    if not isinstance(content, dict) or not content:
        raise UsageError(f"The recipe {path} holds {show_value(content)}, expected the keys {expected}.")
    unknown = [key for key in content if key not in _PARTS]
    if unknown:
        raise UsageError(f"The recipe {path} has the key {show_value(unknown[0])}, expected {expected}.")
    return Recipe(path.stem, **{part: _read_part(path, part, values) for part, values in content.items()})


def _read_part(path: Path, part: str, values: Any) -> Any:
    kind, readers = _PARTS[part]
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise UsageError(f"The recipe {path} has {part}: {show_value(values)}, expected keys with values below it.")
    read = {}
    for key, value in values.items():
        if key not in readers:
            known = ", ".join(readers)
            raise UsageError(f"The recipe {path} has the key {part}.{key}, which is not known. Known are: {known}.")
        try:
            read[key] = readers[key](value)
        except ValueError as error:
            raise UsageError(f"The recipe {path} has {part}.{key}: {show_value(value)}, expected {error}.") from None
    return kind(**read)


def _number(least: float, most: float, *, is_whole: bool = False) -> Callable[[Any], Any]:
    expected = f"a {'whole ' if is_whole else ''}number from {least:g} to {most:g}"

    def read(value: Any) -> Any:
        kinds = (int,) if is_whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
            raise ValueError(expected)
        return value if is_whole else float(value)

    return read


def _one_of(words: tuple[str, ...]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return value

    return read


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError("a list of names of nodes")
    return tuple(value)


def _budget(value: Any) -> float | None:
    return None if value is None else _number(0, 100)(value)


_SEED = _number(0, MAX_SEED, is_whole=True)
_QUANTIZE: Mapping[str, Callable[[Any], Any]] = {
    "method": _one_of(METHODS),
    "percentile": _number(90, 100),
    "images": _number(1, MAX_COUNT, is_whole=True),
    "keep_float": _names,
    "map_budget": _budget,
    "seed": _SEED,
    "bias_correction": _flag,
    "reduce_range": _flag,
}
_PRUNE: Mapping[str, Callable[[Any], Any]] = {
    "ratio": _number(0, 0.95),
    "round_to": _number(1, 1024, is_whole=True),
    "least_channels": _number(1, 1024, is_whole=True),
    "passes": _number(0.01, 1000),
    "batch_size": _number(1, 1024, is_whole=True),
    "learning_rate": _number(1e-9, 1),
    "seed": _SEED,
}
_PARTS: Mapping[str, tuple[type, Mapping[str, Callable[[Any], Any]]]] = {
    "quantize": (QuantizeRecipe, _QUANTIZE),
    "prune": (PruneRecipe, _PRUNE),
}
