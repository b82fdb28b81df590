"""The classes that weights were trained for: from the weights file, or named by the user; read without PyTorch."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolact_ascend.errors import UsageError, WeightsError, show_value
from yolact_ascend.files import read_json
from yolact_ascend.models.class_record import read_classes
from yolact_ascend.models.config import CONFIGS, DEFAULT_CONFIG, ModelConfig, get_config, with_classes
from yolact_ascend.models.families import family_of
from yolact_ascend.models.family import to_network_names
from yolact_ascend.models.file_names import config_by_name
from yolact_ascend.models.labels import is_class_name
from yolact_ascend.models.rcnn.yaml_config import is_config_file
from yolact_ascend.models.weights_file import read_shapes
from yolact_ascend.process import format_command, own_command

DEMO_HINT = "`run config={}` without weights= and coco= runs a demo with them."


@dataclass(frozen=True)
class Listed:
    """Classes that the user names, in the order of the class layer; `ids` None: they have none of their own."""

    names: tuple[str, ...]
    ids: tuple[int, ...] | None
    source: str  # for messages and the report

    @property
    def is_plain(self) -> bool:
        """Whether the user listed names alone, in the order of the class layer; an annotation file sorts by id."""
        return self.ids is None


@dataclass(frozen=True)
class ClassChoice:
    """A config with the classes of its weights, and where they are from."""

    config: ModelConfig
    source: str
    is_listed: bool = False  # by the user


def read_listed(word: str) -> Listed:
    """Read class names: a file with one name a line, a COCO annotation file, or names separated by commas.

    The categories of an annotation file come in the order of their ids, as upstream numbers its classes. Raises
    UsageError.
    """
    path = Path(word)
    is_file = False
    with contextlib.suppress(OSError):  # a list can be longer than a file name may be
        is_file = path.is_file()
    if not is_file:
        if "," not in word:
            raise UsageError(f"There is no file {word} with class names. Pass a file, or names separated by commas.")
        return _list_names(word.split(","), "the list of names")
    if path.suffix.lower() != ".json":
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise UsageError(f"{path} with class names is not UTF-8 text ({error}). Save it as UTF-8.") from error
        return _list_names([line for line in lines if line.strip()], path.name)
    data = read_json(path, "class names")
    categories = data.get("categories") if isinstance(data, dict) else None
    try:
        pairs = sorted((_read_id(category["id"]), _read_name(category["name"])) for category in categories or ())
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise UsageError(f'{path} has "categories" without ids and names ({error}). Fix them.') from error
    if not pairs:
        raise UsageError(f'{path} names no classes: it has no "categories". Expected a COCO annotation file.')
    numbers, names = (tuple(values) for values in zip(*pairs))
    for what, values in (("id", numbers), ("name", names)):
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise UsageError(f'{path} has two "categories" with the {what} {twice!r}. Expected each once. Fix them.')
    return Listed(names, numbers, path.name)


def _read_id(value: Any) -> int:
    """Return a whole number, also one that is written as 3.0; raises ValueError for anything else."""
    if type(value) in (int, float) and value == int(value):
        return int(value)
    raise ValueError(f"id {show_value(value)} is no whole number")


def _read_name(value: Any) -> str:
    """Return a name, also one that is a number; raises ValueError for anything else, and for an empty one."""
    if type(value) in (str, int, float) and str(value).strip() and is_class_name(str(value)):
        return str(value)
    raise ValueError(f"name {show_value(value)} is no text")


def _list_names(words: Sequence[str], source: str) -> Listed:
    names = tuple(word.strip() for word in words)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not all(names) or not names:
        found = f"{', '.join(map(repr, twice))} more than once" if twice else "an empty name"
        raise UsageError(f"{source} has {found if names else 'no names'}. Expected each class once, in its order.")
    return Listed(names, None, source)


def config_of(word: str | None, weights: Path) -> ModelConfig:
    """Return the config that a word names, else the one that weights, which may be missing, are of.

    A word is a name or a config file (`get_config`), or the name of a config that travels in the weights. Without one,
    the record in the weights says it, else their file's name; the default config where neither does. Raises
    WeightsError when the record is damaged, and UsageError like `get_config`.
    """
    if word is not None and (word in CONFIGS or is_config_file(word)):
        return get_config(word)
    recorded = read_classes(weights)
    if recorded is not None and recorded.config is not None and word in (None, recorded.config_name):
        return recorded.config
    if word is not None:
        return get_config(word)
    if recorded is not None and recorded.config_name in CONFIGS:
        return CONFIGS[recorded.config_name]
    return config_by_name(weights) or CONFIGS[DEFAULT_CONFIG]


def read_config(path: Path, config: ModelConfig) -> ModelConfig:
    """Return `config` with the classes of the weights in `path`, without names from elsewhere; see `choose_classes`."""
    return choose_classes(path, config).config


def choose_classes(path: Path, config: ModelConfig, names_word: str | None = None) -> ClassChoice:
    """Choose the classes of the weights in `path`, which may be missing; `names_word` is for `read_listed`.

    A file of ours names them. Upstream's files do not: their class layer tells how many there are. The names are then
    those that the user lists, or the config's own if there are as many, or numbers. An annotation file of other
    classes leaves the config's own: whoever scores compares the two. A list of names is always taken, in its order.
    Raises WeightsError when the file is of another config or its record is damaged, and when more or fewer classes are
    listed than it has.
    """
    recorded = _read_recorded(path, config)
    if recorded is not None:
        return ClassChoice(recorded, f"the weights file{_describe_unused(names_word, recorded)}")
    shapes = read_shapes(path)
    count = count_classes(shapes, config) if shapes else None  # None: whoever reads the weights says what is wrong
    is_as_published = count in (None, config.num_classes)
    listed = read_listed(names_word) if names_word else None
    if listed is not None and (listed.is_plain or not is_as_published or _names_other_classes(listed, config)):
        if count not in (None, len(listed.names)):
            raise WeightsError(
                f"{path} has {count} classes, but {listed.source} has {len(listed.names)}. Are they weights of "
                f"{config.name}? The file does not say, and does not name its classes. Pass the right config, or as "
                "many names in the order of training: classes=FILE (--classes FILE)."
            )
        return ClassChoice(with_classes(config, listed.names, _ids_of(listed, config)), listed.source, is_listed=True)
    if is_as_published:
        return ClassChoice(config, f"{config.name}, as the weights file names none")
    assert count is not None
    return ClassChoice(with_numbers(config, count), "numbers, as the weights file names none")


def name_classes(config: ModelConfig, names_word: str | None, source: str) -> ModelConfig:
    """Return the config of a model with the class names that the user lists (`read_listed`), if he does.

    Raises UsageError when the model, `source`, has more or fewer classes.
    """
    if names_word is None:
        return config
    listed = read_listed(names_word)
    if len(listed.names) != config.num_classes:
        raise UsageError(
            f"{source} has {config.num_classes} classes, but {listed.source} has {len(listed.names)}. Pass as many "
            "names, in the order of training, or none: the model names its classes."
        )
    return with_classes(config, listed.names, _ids_of(listed, config))


def _names_other_classes(listed: Listed, config: ModelConfig) -> bool:
    """Whether there are as many classes as the config has, with other names."""
    return len(listed.names) == config.num_classes and set(listed.names) != set(config.class_names)


def _describe_unused(names_word: str | None, recorded: ModelConfig) -> str:
    """Say that a list of names is not used; of an annotation file, which is not read, the checks of data say so."""
    if names_word is None or names_word.lower().endswith(".json"):
        return ""
    return ", not from the names that were passed" if read_listed(names_word).names != recorded.class_names else ""


def _ids_of(listed: Listed, config: ModelConfig) -> tuple[int, ...]:
    if listed.ids is not None:
        return listed.ids
    own = dict(zip(config.class_names, config.category_ids))
    if set(listed.names) == set(own):  # in another order
        return tuple(own[name] for name in listed.names)
    return tuple(range(1, len(listed.names) + 1))


def count_classes(shapes: Mapping[str, Sequence[int]], config: ModelConfig) -> int | None:
    """Return how many classes the class layer of a file with these shapes has, if it is of the family of `config`.

    None when there is no such layer, or its outputs are no whole number for each class.
    """
    keys = family_of(config).keys
    shape = to_network_names(shapes, keys).get(f"{keys.class_layer_prefix}weight")
    outputs = shape[0] if shape else 0
    per_cell = family_of(config).outputs_per_class(config)
    if not outputs or outputs % per_cell or outputs // per_cell < 2:
        return None
    return int(outputs // per_cell) - 1  # without the background


def with_numbers(config: ModelConfig, count: int) -> ModelConfig:
    """Return `config` with classes "class 1", "class 2", … whose ids are 1, 2, …, as upstream numbers them."""
    numbers = tuple(range(1, count + 1))
    return with_classes(config, tuple(f"class {number}" for number in numbers), numbers)


def _read_recorded(path: Path, config: ModelConfig) -> ModelConfig | None:
    """Return `config` with the classes that the file names; None when it names none."""
    recorded = read_classes(path)
    if recorded is None:
        return None
    name = recorded.config_name
    if name != config.name:
        if recorded.config is not None:
            raise WeightsError(
                f"{path} holds weights of {name}, not of {config.name}: leave out --config (config= in a run), as the "
                "file states its config, or pass the config file that they were trained with."
            )
        demo = f" {DEMO_HINT.format(name)}" if name in CONFIGS and CONFIGS[name].source.is_shipped else ""
        raise WeightsError(f"{path} holds weights of {name}: use --config={name} (config={name} in a run).{demo}")
    if recorded.config is not None and recorded.config.widths != config.widths:
        raise WeightsError(
            f"{path} holds weights of a {name} with other widths: leave out --config (config= in a run), as the file "
            "states its config."
        )
    shapes = read_shapes(path)
    count, named = count_classes(shapes, config) if shapes else None, len(recorded.class_names)
    if count not in (None, named):
        raise WeightsError(
            f"{path} is damaged: its record names {named} classes, expected {count}, as its class layer has. "
            "Copy it again."
        )
    return with_classes(config, recorded.class_names, recorded.category_ids)


def require_weights(path: Path, config: ModelConfig) -> None:
    """Raise WeightsError, saying where weights of that config can be had, when there is no such file."""
    if path.is_file():
        return
    yours = "pass your own (`weights=FILE` in a run, `--weights=FILE` elsewhere)"
    source = config.source
    if source.is_shipped:
        where = (
            f"The weights of {config.name} come with the repository, {source.url}: pass them, or {yours}. "
            f"{DEMO_HINT.format(config.name)}"
        )
    elif source.file_name:
        fetch = format_command(own_command("download", "weights", config.name))
        where = f"The official weights are at {source.url} ; download them ({fetch}), or {yours}."
    elif not source.is_published or not source.url:
        where = f"Nobody has published weights of {config.name}: train them (train --config={config.name}), or {yours}."
    else:
        where = f"Weights of {config.name} are linked at {source.url} ; download them, or {yours}."
    raise WeightsError(f"There is no weights file {path}. {where}")
