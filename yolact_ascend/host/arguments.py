"""Arguments of the Python API, checked before any work: what a user passes is not always what was asked for."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from yolact_ascend.errors import UsageError, YolactAscendError, show_value
from yolact_ascend.flags import MAX_DEVICE

# What a verb calls by a flag, and the argument of `load` for it.
ARGUMENT_OF = {
    **{name: name for name in ("target", "device", "npus", "soc", "threads", "batch_size", "config", "classes")},
    **{"model": "path", "trained_model": "weights", "weights": "weights", "top_k": "max_detections"},
}
_FLAG = re.compile(r"--(\w+)(?:=(\S+?))?(?=[,;:)]|\.?(?:\s|$))")


def read_whole(name: str, value: Any, least: int, most: int) -> int:
    """Return a whole number, also one of numpy's, as Python's; raises UsageError for anything else."""
    if not isinstance(value, Integral) or isinstance(value, bool) or not least <= int(value) <= most:
        raise UsageError(f"{name}={show_value(value)}: expected a whole number from {least} to {most}.")
    return int(value)


def read_number(name: str, value: Any, least: float, most: float) -> float:
    """Return a number, also one of numpy's, as Python's; raises UsageError for anything else."""
    if not isinstance(value, Real) or isinstance(value, bool) or not least <= float(value) <= most:
        raise UsageError(f"{name}={show_value(value)}: expected a number from {least:g} to {most:g}.")
    return float(value)


def read_path(name: str, value: Any) -> Path:
    """Return a path; raises UsageError for what is none, or an empty one."""
    word = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(word, str) or not word:
        raise UsageError(f"{name}={show_value(value)}: expected a path.")
    return Path(word)


def read_devices(name: str, value: Any) -> tuple[int, ...]:
    """Return the numbers of devices, each once; raises UsageError for anything else, and when there is none."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise UsageError(f"{name}={show_value(value)}: expected numbers of devices, such as {name}=(0,).")
    numbers = tuple(dict.fromkeys(read_whole(name, each, 0, MAX_DEVICE) for each in value))
    if not numbers:
        raise UsageError(f"{name}={show_value(value)}: expected at least one number of a device.")
    return numbers


def read_text(name: str, value: Any) -> str | None:
    """Return a text, or None for none; raises UsageError for anything else."""
    if value is not None and not isinstance(value, str):
        raise UsageError(f"{name}={show_value(value)}: expected a text.")
    return value


@contextlib.contextmanager
def speaking_python() -> Iterator[None]:
    """Have errors of the block name our flags as arguments of `load`: device="gpu" for --device=gpu."""
    try:
        yield
    except YolactAscendError as error:
        said = _FLAG.sub(_as_argument, str(error))
        if said == str(error):
            raise
        raise type(error)(said) from error


def _as_argument(flag: re.Match[str]) -> str:
    name, value = ARGUMENT_OF.get(flag[1]), flag[2]
    if name is None:
        return flag[0]
    return f"{name}=" if value is None else f"{name}={value if value.isdigit() else chr(34) + value + chr(34)}"
