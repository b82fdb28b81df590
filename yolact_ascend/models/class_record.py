"""The record of classes inside a `.pth`: its config, class names and category ids, read without PyTorch.

A `.pth` is a zip archive. PyTorch skips records that it does not know: a state dict with classes still loads strictly,
here and in upstream, and each command reads the classes from the weights file that it needs anyway. A config that is
in no list, as one of a Detectron2 config file, travels in the record as a value.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from yolact_ascend.errors import WeightsError
from yolact_ascend.files import parse_json
from yolact_ascend.models.config import CONFIGS, ModelConfig
from yolact_ascend.models.config_json import config_to_json, read_config_value
from yolact_ascend.models.description_fields import Fields
from yolact_ascend.models.labels import LEAST_ID, MOST_ID, is_class_name
from yolact_ascend.models.weights_archive import is_archive, read_record

RECORD = "yolact_ascend.json"
MOST_CHARACTERS = 200  # of a config's name
SHOWN_CHARACTERS = 60  # of what was found


class Recorded(NamedTuple):
    """What the record says, checked."""

    config_name: str
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    config: ModelConfig | None = None  # of a name that is in no list


def add_classes(path: Path, config: ModelConfig) -> None:
    """Write the record into a file that `torch.save` has just made."""
    record: dict[str, Any] = {"config": config.name, "class_names": config.class_names}
    record["category_ids"] = config.category_ids
    if config.name not in CONFIGS:
        record["values"] = config_to_json(config)
    with zipfile.ZipFile(path, "a") as archive:
        top = PurePosixPath(archive.namelist()[0]).parts[0]  # PyTorch refuses records outside of its one folder
        # A fixed time: the same weights give the same bytes.
        archive.writestr(zipfile.ZipInfo(f"{top}/{RECORD}"), json.dumps(record))


def read_classes(path: Path) -> Recorded | None:
    """Return what the record in a weights file says; None when the file has none, or cannot be opened.

    Raises WeightsError when the archive or the record is damaged.
    """
    try:
        record = read_record(path, RECORD) if is_archive(path) else None
    except OSError:  # whoever reads the weights says which
        return None
    if record is None:
        return None
    try:
        return _check(parse_json(record))
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"The record of classes in {path} is damaged ({type(error).__name__}: {error}). Copy the file again."
        ) from error


def _check(fields: Any) -> Recorded:
    """Return the record's fields; raises ValueError and the like that say what was expected and found."""
    config, names, ids = fields["config"], fields["class_names"], fields["category_ids"]
    if not isinstance(config, str) or len(config) > MOST_CHARACTERS:
        raise ValueError(f'"config" is {_show(config)}, expected a name')
    _require_list("class_names", names, "names, each once", is_class_name)
    expected = f"whole numbers from {LEAST_ID} to {MOST_ID}, each once"
    _require_list("category_ids", ids, expected, lambda number: type(number) is int and LEAST_ID <= number <= MOST_ID)
    if len(names) != len(ids):
        raise ValueError(f"{len(names)} class_names with {len(ids)} category_ids, expected as many")
    values = read_config_value(Fields(fields["values"], '"values"')) if "values" in fields else None
    if values is not None and values.name != config:
        raise ValueError(f'"values" are of {_show(values.name)}, expected {_show(config)}')
    return Recorded(config, tuple(names), tuple(ids), values)


def _require_list(key: str, values: Any, expected: str, is_right: Callable[[Any], bool]) -> None:
    """Raise ValueError unless the values are a list of what is expected, not empty and without equal entries."""
    if not isinstance(values, list) or not values:
        raise ValueError(f'"{key}" is {_show(values)}, expected a list of {expected}')
    seen: set[Any] = set()
    for value in values:
        if not is_right(value) or value in seen:
            raise ValueError(f'"{key}" has {_show(value)}{" twice" if is_right(value) else ""}, expected {expected}')
        seen.add(value)


def _show(value: Any) -> str:
    return json.dumps(value)[:SHOWN_CHARACTERS]
