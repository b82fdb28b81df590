"""What a run will write against what is free: the plan, and the refusal of one that cannot end well."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate
from pathlib import Path
from textwrap import indent
from typing import Any, NamedTuple

from tabulate import tabulate

from yolact_ascend.artifacts import INPUTS, UINT8_INPUT, TensorSpec, WorkFolder, bin_folder, cut_outputs
from yolact_ascend.config import get_config
from yolact_ascend.errors import UsageError
from yolact_ascend.settings import RunSettings

GB = 10**9
SPARE_BYTES = GB  # detections, logs and temporary files come on top of what is counted
WEIGHTS_BYTES = 200 * 10**6  # of the largest config, where there is no file to ask


@dataclass(frozen=True)
class DiskPlan:
    """The bytes that each step adds to the work folder, in the order of the run, and those that are free there."""

    added: dict[str, int]  # by the step's label
    free: int

    @property
    def needed(self) -> int:
        return sum(self.added.values())

    @property
    def is_refused(self) -> bool:
        return self.needed > self.free

    @property
    def is_tight(self) -> bool:
        """Whether what is not counted may be too much."""
        return self.needed + SPARE_BYTES > self.free

    def describe(self) -> str:
        """Return a table: what each step adds, the sum so far, and what is then left; "" when nothing is added."""
        if not self.needed:
            return ""
        sums = accumulate(self.added.values())
        rows = [
            (label, *map(in_gb, (size, total, self.free - total)))
            for (label, size), total in zip(self.added.items(), sums)
            if size
        ]
        headers = ("writes", "GB", "sum", f"left of {in_gb(self.free)}")
        table = tabulate(rows, headers, "plain", disable_numparse=True, colalign=("left", "right", "right", "right"))
        return indent(table, "  ")

    def to_json(self) -> dict[str, Any]:
        return {"needed_bytes": self.needed, "free_bytes": self.free, "added_bytes": self.added}


def plan_disk(settings: RunSettings, images: int, fresh: Collection[str] = ()) -> DiskPlan:
    """Return what the steps to run add to the disk; those labelled in `fresh` add nothing.

    What lies in the work folder already counts as written: a new run overwrites it.
    """
    writes = [write for write in _writes(settings, images) if write.label not in fresh]
    added = {write.label: _growth(write, _size_of) for write in writes}
    return DiskPlan(added, free_bytes(settings.out))


def require_room(settings: RunSettings, images: int, plan: DiskPlan) -> None:
    """Raise UsageError, with what would do instead, when the run cannot but fill the disk."""
    if plan.is_refused:
        raise UsageError(
            f"This run would write {in_gb(plan.needed)} GB more to {settings.out}, where {in_gb(plan.free)} GB are "
            f"free. {describe_remedies(settings, images, plan)}"
        )


def describe_remedies(settings: RunSettings, images: int, plan: DiskPlan) -> str:
    """Return a sentence on what would do where a plan does not fit, and the GB that each takes."""
    choices = [f"{words} ({in_gb(size)} GB)" for words, size in _alternatives(settings, images, plan.free)]
    elsewhere = sum(write.size_bytes for write in _writes(settings, images))
    return _one_of(*choices, f"another disk with {in_gb(elsewhere)} GB (out=DIR)")


def require_room_for_inputs(save_path: Path, images: int, spec: TensorSpec) -> None:
    """Raise UsageError, with what would do instead, when that many inputs do not fit where preprocess.py writes."""
    present, free = _size_of(bin_folder(save_path)), free_bytes(save_path)
    needed = images * spec.size_bytes - present
    if needed <= free:
        return
    choices = []
    smaller = images * UINT8_INPUT.size_bytes - present
    if smaller < needed and smaller <= _room(free):
        choices.append(f"--dtype uint8, for a model with AIPP ({in_gb(max(0, smaller))} GB)")
    limit = (present + _room(free)) // spec.size_bytes
    if limit:
        choices.append(f"--limit {limit}")
    raise UsageError(
        f"The inputs of {images} images take {in_gb(needed)} GB more at {save_path}, where {in_gb(free)} GB are free. "
        + _one_of(*choices, f"another disk with {in_gb(images * spec.size_bytes)} GB (--save_path DIR)")
    )


def free_bytes(folder: Path) -> int:
    """Return what a user may still write to a folder that need not exist yet."""
    return shutil.disk_usage(existing_folder(folder)).free


def existing_folder(path: Path) -> Path:
    """Return the path itself, or the nearest folder above it that exists."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())


def in_gb(size_bytes: int) -> str:
    """Return bytes as gigabytes, 10^9 bytes each, for a sentence."""
    return f"{size_bytes / GB:.2f}"


class _Write(NamedTuple):
    stage: str
    label: str  # of the step
    path: Path
    size_bytes: int


def _writes(settings: RunSettings, images: int) -> list[_Write]:
    """Return what each step to run writes; the files of a few kilobytes are left out.

    An ONNX and each `.om` are counted as large as the weights: float32 in both, and an NPU's float16 takes less.
    """
    folder = WorkFolder(settings.out)
    model = settings.weights.stat().st_size if settings.weights.is_file() else WEIGHTS_BYTES
    an_input = INPUTS[settings.input_dtype].size_bytes
    an_output = sum(spec.size_bytes for spec in cut_outputs(get_config(settings.config), settings.cut))
    sizes = settings.batch_sizes
    # What a benchmark writes, it removes: one batch at a time.
    largest = max(sizes)
    a_batch = largest * (an_output if settings.input == "zeros" else an_input + an_output)
    writes = [
        _Write("export", "export", folder.onnx, model),
        *(_Write("compile", f"compile bs{size}", folder.om(size), model) for size in sizes),
        _Write("preprocess", "preprocess", bin_folder(folder.inputs), images * an_input),
        *(_Write("infer", f"infer bs{size}", folder.outputs(size), images * an_output) for size in sizes),
        _Write("benchmark", f"benchmark bs{largest}", folder.benchmark_input(largest), a_batch),
    ]
    return [write for write in writes if write.stage in settings.stages]


def _growth(write: _Write, size_of: Callable[[Path], int]) -> int:
    return max(0, write.size_bytes - size_of(write.path))


def _alternatives(settings: RunSettings, images: int, free: int) -> Iterator[tuple[str, int]]:
    """Give the settings with which the run fits, and the bytes that it then adds."""
    size_of, room = cache(_size_of), _room(free)

    def added(settings: RunSettings, images: int, spared: Collection[str] = ()) -> int:
        return sum(_growth(write, size_of) for write in _writes(settings, images) if write.stage not in spared)

    sizes = {
        "stream=1": added(settings, images, spared=("preprocess", "infer")),  # their files stay in memory
        "aipp=1": added(replace(settings, aipp=True), images),
        f"bs={min(settings.batch_sizes)} alone": added(
            replace(settings, batch_sizes=(min(settings.batch_sizes),)), images
        ),
    }
    yield from ((words, size) for words, size in sizes.items() if size <= room)
    fits, fills = 0, images
    while fills - fits > 1:
        middle = (fits + fills) // 2
        fits, fills = (middle, fills) if added(settings, middle) <= room else (fits, middle)
    if fits and settings.mode == "full":
        yield f"limit={fits}", added(settings, fits)


def _room(free: int) -> int:
    """Return how much of what is free may be planned for: the rest is for what is not counted."""
    return max(free - SPARE_BYTES, free // 2)


def _one_of(*choices: str) -> str:
    """Join choices to the sentence that offers them."""
    *others, last = choices
    return f"Take {', '.join(others)}, or {last}." if others else f"Take {last}."


def _size_of(path: Path) -> int:
    """Return the bytes of a file, or of the files that lie in a folder; 0 when there is neither."""
    if path.is_dir():
        return sum(entry.stat().st_size for entry in os.scandir(path) if entry.is_file())
    return path.stat().st_size if path.is_file() else 0
