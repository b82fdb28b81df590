"""Weights files as people have them: the state dict inside, and its shapes without PyTorch.

Takes what upstream's `load_weights` takes, and what trainers make of it: PyTorch's zip and its old format, pickles of
arrays, a state dict alone or under one key, and the `module.` of DataParallel. Sources: haotian-liu/yolact_edge @
a9a0028, yolact_edge/yolact.py; facebookresearch/detectron2 @ 02b5c4e2, detectron2/checkpoint/detection_checkpoint.py.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from yolact_ascend.errors import WeightsError
from yolact_ascend.models.unreadable import explain_unreadable
from yolact_ascend.models.weights_archive import (
    MOST_BYTES,
    PICKLE,
    REMEDY,
    is_archive,
    read_record,
    require_whole,
    value_sizes,
)
from yolact_ascend.models.weights_arrays import Array, is_array_pickle, read_arrays
from yolact_ascend.models.weights_pickle import Shape, ShapeReader, Tensor

WRAPPERS = ("state_dict", "model", "weights", "blobs")  # keys under which trainers keep the state dict
PARALLEL = "module."  # what torch.nn.DataParallel puts before every key
NAMED_KEYS = 4  # how many keys a message lists
OLD_MAGIC = 0x1950A86A20F9469CFC6C  # of PyTorch's format before 1.6: torch.serialization.MAGIC_NUMBER
OLD_COUNT_BYTES = 8  # before the values of each storage in that format: how many there are


def read_shapes(path: Path) -> dict[str, Shape] | None:
    """Return the shapes of a file's tensors without PyTorch and without reading their values.

    None for a file that is not understood: `weights.read_tensors` says why.
    """
    try:
        return _read_shapes(path)
    except Exception:  # whatever a broken file does to its readers
        return None


def read_text(path: Path, key: str) -> str | None:
    """Return a text that stands beside the weights in a file of PyTorch's zip format, without PyTorch; None: none."""
    try:
        loaded, _ = _read_archive(path)
    except Exception:  # as above
        return None
    text = loaded.get(key) if isinstance(loaded, dict) else None
    return text if isinstance(text, str) else None


def _read_shapes(path: Path) -> dict[str, Shape]:
    """Return what `read_shapes` does; raises WeightsError and any other error for a file that is not understood."""
    if is_archive(path):
        loaded, _ = _read_archive(path)
    elif is_array_pickle(path):
        loaded = read_arrays(path, with_values=False)
    else:
        head = _read_old(path)
        loaded = head and head.loaded
    found, _ = find_state_dict(loaded, path, lambda value: isinstance(value, (Tensor, Array)))
    return {key: value.shape if isinstance(value, Array) else value for key, value in found.items()}


def require_sound(path: Path, needed_bytes: int) -> None:
    """Check the bytes of a file before PyTorch reads it, which compares no checksums and takes any memory.

    `needed_bytes` is what the config's tensors take in float32. Raises WeightsError for a damaged or cut file, and for
    one that unpacks to far more than is needed.
    """
    try:
        if is_archive(path):
            _require_sound_archive(path, needed_bytes)
        elif not is_array_pickle(path):  # of arrays, each length is compared when they are read
            _require_sound_old(path)
    except WeightsError:
        raise
    except Exception as error:  # whatever a broken file does to its readers
        raise WeightsError(explain_unreadable(path, error)) from error


def find_fault(path: Path) -> str | None:
    """Return why a file that was just fetched cannot be weights; None when it looks like weights."""
    try:
        if is_array_pickle(path):
            _read_shapes(path)
        elif read_shapes(path) is None:
            return explain_unreadable(path, ValueError("no PyTorch weights"))
        require_sound(path, path.stat().st_size)
    except WeightsError as error:
        return str(error)
    except Exception as error:  # whatever a broken file does to its readers
        return explain_unreadable(path, error)
    return None


def find_state_dict(loaded: Any, path: Path, is_tensor: Callable[[Any], bool]) -> tuple[dict[str, Any], list[str]]:
    """Return the state dict in what a file holds, with plain keys, and notes; raises WeightsError."""
    notes: list[str] = []

    def is_state_dict(value: Any) -> bool:
        return isinstance(value, Mapping) and all(isinstance(k, str) and is_tensor(v) for k, v in value.items())

    found = loaded
    if not is_state_dict(loaded):
        entries = loaded if isinstance(loaded, Mapping) else {}
        places = [key for key in WRAPPERS if is_state_dict(entries.get(key)) and entries[key]]
        if len(places) > 1:
            raise WeightsError(
                f"{path} holds {len(places)} state dicts, {' and '.join(places)}. Save the right one alone: "
                "torch.save(state_dict, FILE)."
            )
        if not places:
            raise WeightsError(f"{path} holds no state dict: expected names with tensors, found {_describe(loaded)}.")
        found = entries[places[0]]
        unused = [str(key) for key in entries if key != places[0]]
        rest = f"; not used: {list_keys(unused)}" if unused else ""
        notes.append(f"the weights are those under '{places[0]}'{rest}")
    if found and all(key.startswith(PARALLEL) for key in found):
        found = {key[len(PARALLEL) :]: value for key, value in found.items()}
        notes.append(f"'{PARALLEL}' is left out of the names")
    return dict(found), notes


def describe_format(path: Path) -> str:
    """Return which format a weights file has: one of PyTorch's two, or a pickle of arrays."""
    if is_archive(path):
        return "zip format"
    return "a pickle of NumPy arrays" if is_array_pickle(path) else "PyTorch's format before 1.6"


def list_keys(keys: list[str]) -> str:
    """Return the first keys in words, and how many more there are."""
    rest = len(keys) - NAMED_KEYS
    return ", ".join(keys[:NAMED_KEYS]) + (f" and {rest} more" if rest > 0 else "")


def _describe(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"a dict with {list_keys([str(key) for key in value])}" if value else "an empty dict"
    return f"a {type(value).__name__}"


class _Head(NamedTuple):
    """What stands before the values in a file of PyTorch's old format."""

    loaded: Any
    storages: dict[str, int]
    keys: list[str]  # of the storages, in the order of their values
    size_bytes: int


def _read_archive(path: Path) -> tuple[Any, dict[str, int]]:
    pickled = read_record(path, PICKLE)
    if pickled is None:
        raise ValueError(f"It has no {PICKLE}")
    reader = ShapeReader(io.BytesIO(pickled))
    return reader.read(), reader.storages


def _read_old(path: Path) -> _Head | None:
    """Return None for a pickle that is not PyTorch's."""
    with path.open("rb") as file:
        beginning = io.BytesIO(file.read(MOST_BYTES))
    reader = ShapeReader(beginning)
    if reader.read() != OLD_MAGIC:
        return None
    for _ in ("protocol version", "system information"):
        reader.read()
    loaded, keys = reader.read(), reader.read()
    return _Head(loaded, reader.storages, [str(key) for key in keys], beginning.tell())


def _require_sound_archive(path: Path, needed_bytes: int) -> None:
    require_whole(path, needed_bytes)
    found = value_sizes(path)
    for key, size in _read_archive(path)[1].items():
        if found.get(key) != size:
            holds = f"holds {found[key]} bytes" if key in found else "is missing"
            raise WeightsError(f"{path} is damaged: its record data/{key} {holds}, expected {size} bytes. {REMEDY}")


def _require_sound_old(path: Path) -> None:
    """There are no checksums: the sizes are compared."""
    head = _read_old(path)
    if head is None:  # PyTorch's own error is shown
        return
    if sorted(head.keys) != sorted(head.storages):
        known = len(set(head.keys) & set(head.storages))
        raise WeightsError(
            f"{path} is damaged: its list of values does not fit its tensors ({len(head.keys)} listed, {known} of them "
            f"of tensors, expected {len(head.storages)}). {REMEDY}"
        )
    end = head.size_bytes + sum(OLD_COUNT_BYTES + head.storages[key] for key in head.keys)
    size = path.stat().st_size
    if size < end:
        raise ValueError(f"Its tensors end at byte {end}")
    if size > end:
        raise WeightsError(f"{path} is damaged: {size - end} bytes follow its last tensor, expected none. {REMEDY}")
