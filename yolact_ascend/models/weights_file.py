"""Weights files as people have them: the state dict inside, and its shapes without PyTorch.

Takes what upstream's `load_weights` takes, and what trainers make of it: PyTorch's zip and its old format, a state dict
alone or under one key, and the `module.` of DataParallel. Source: haotian-liu/yolact_edge @ a9a0028,
yolact_edge/yolact.py.
"""

from __future__ import annotations

import collections
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from yolact_ascend.errors import WeightsError

WRAPPERS = ("state_dict", "model", "weights")  # keys under which trainers keep the state dict
PARALLEL = "module."  # what torch.nn.DataParallel puts before every key
NAMED_KEYS = 4  # how many keys a message lists
OLD_MAGIC = 0x1950A86A20F9469CFC6C  # of PyTorch's format before 1.6: torch.serialization.MAGIC_NUMBER
# How torch.load(weights_only=True) names a global that it does not load: PyTorch 2.1 to 2.3, from 2.4 on, and a module
# that it never loads. Source: pytorch/pytorch, torch/_weights_only_unpickler.py.
FOREIGN = re.compile(r"(?:Unsupported class|Unsupported global: GLOBAL|unsupported GLOBAL) ([\w.]+)")
# What a failed download leaves in place of weights, by its first bytes: reason and remedy.
NOT_WEIGHTS = {
    b"<": ("It is a web page.", "Open the address in a browser and download the file by hand."),
    b"version https://git-lfs": ("It is a Git LFS pointer.", "Fetch the file that it stands for: git lfs pull."),
}

Shape = tuple  # of ints


def read_shapes(path: Path) -> dict[str, Shape] | None:
    """Return the shapes of a file's tensors without PyTorch and without reading their values.

    None for a file that is not understood: `weights.read_tensors` says why.
    """
    try:
        loaded = _unpickle_shapes(path)
        return find_state_dict(loaded, path, lambda value: isinstance(value, _Tensor))[0]
    except Exception:  # whatever a broken file does to the unpickler
        return None


def find_fault(path: Path) -> str | None:
    """Return why a file cannot be weights, in a few words; None when it looks like weights."""
    if read_shapes(path):
        return None
    size = path.stat().st_size
    with path.open("rb") as file:
        beginning = file.read(100).lstrip()
    reasons = [reason for start, (reason, _) in NOT_WEIGHTS.items() if beginning.startswith(start)]
    return reasons[0] if reasons else f"{size} bytes, which are no PyTorch weights, or are cut short or damaged"


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
    """Return which of PyTorch's two formats a weights file has."""
    return "zip format" if zipfile.is_zipfile(path) else "PyTorch's format before 1.6"


def explain_unreadable(path: Path, error: Exception) -> str:
    """Return the sentence for a file that `torch.load` refused with this error, and what to do."""
    message = str(error).strip()
    save_weights = "In the program that wrote it, save the weights alone: torch.save(model.state_dict(), FILE)."
    foreign = FOREIGN.search(message)
    if foreign:
        return (
            f"{path} holds Python objects ({foreign[1]}) beside tensors. It is not read, because reading such a file "
            f"can run any code. {save_weights}"
        )
    if "TorchScript" in message:
        return f"{path} is a TorchScript program (torch.jit.save), expected weights. {save_weights}"
    reason = message.splitlines()[0] if message else type(error).__name__
    remedy = "Is it truncated? Compare its size with the source and download it again."
    with path.open("rb") as file:
        beginning = file.read(100).lstrip()
    for start, explanation in NOT_WEIGHTS.items():
        if beginning.startswith(start):
            reason, remedy = explanation
    return f"{path} cannot be read as PyTorch weights ({path.stat().st_size} bytes): {reason} {remedy}"


def list_keys(keys: list[str]) -> str:
    """Return the first keys in words, and how many more there are."""
    rest = len(keys) - NAMED_KEYS
    return ", ".join(keys[:NAMED_KEYS]) + (f" and {rest} more" if rest > 0 else "")


def _describe(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"a dict with {list_keys([str(key) for key in value])}" if value else "an empty dict"
    return f"a {type(value).__name__}"


class _Tensor(tuple):
    """The shape of a tensor, in place of the tensor."""


def _rebuild_tensor(storage: Any, offset: int, size: Shape, *_: Any) -> _Tensor:
    return _Tensor(size)


class _ShapeUnpickler(pickle.Unpickler):
    """Unpickles state dicts, with shapes in place of tensors, and nothing else."""

    _KNOWN = {  # noqa: RUF012
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
        ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
        ("torch", "Size"): tuple,
    }

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name.endswith("Storage"):
            return name
        if (module, name) not in self._KNOWN:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return self._KNOWN[module, name]

    def persistent_load(self, pid: Any) -> Any:
        return None


def _unpickle_shapes(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            (name,) = (name for name in archive.namelist() if PurePosixPath(name).name == "data.pkl")
            with archive.open(name) as file:
                return _ShapeUnpickler(file).load()
    with path.open("rb") as file:
        if _ShapeUnpickler(file).load() != OLD_MAGIC:
            raise pickle.UnpicklingError("not PyTorch's")
        for _ in ("protocol version", "system information"):
            _ShapeUnpickler(file).load()
        return _ShapeUnpickler(file).load()
