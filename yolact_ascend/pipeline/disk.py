"""What a run will write against what is free: the plan, and the refusal of one that cannot end well."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate
from pathlib import Path
from textwrap import indent
from typing import Any, NamedTuple

from tabulate import tabulate

from yolact_ascend.disk import SPARE_BYTES, free_bytes, in_gb, offer, plannable_bytes, size_of
from yolact_ascend.errors import UsageError
from yolact_ascend.models.families import cut_outputs
from yolact_ascend.models.inputs import NORMALISE, input_tensors
from yolact_ascend.pipeline.settings import RunSettings
from yolact_ascend.targets.folder import WorkFolder, bin_folder
from yolact_ascend.targets.registry import TARGETS

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
        headers = ("stage", "writes GB", "total GB", f"left of {in_gb(self.free)} GB")
        table = tabulate(rows, headers, "plain", disable_numparse=True, colalign=("left", "right", "right", "right"))
        return indent(table, "  ")

    def to_json(self) -> dict[str, Any]:
        return {"needed_bytes": self.needed, "free_bytes": self.free, "added_bytes": self.added}


def plan_disk(settings: RunSettings, images: int, fresh: Collection[str] = ()) -> DiskPlan:
    """Return what the steps to run add to the disk; those labelled in `fresh` add nothing.

    What lies in the work folder already counts as written: a new run overwrites it.
    """
    writes = [write for write in _writes(settings, images) if write.label not in fresh]
    added = {write.label: _growth(write) for write in writes}
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
    return offer(*choices, f"another disk with {in_gb(elsewhere)} GB (out=DIR)")


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
    config = settings.model_config
    inputs = input_tensors(config, settings.input_dtype)
    an_input = 0 if inputs[0].is_free else sum(spec.size_bytes for spec in inputs)  # such images are in no file
    an_output = sum(spec.size_bytes for spec in cut_outputs(config, settings.cut))
    suffix = TARGETS[settings.target].model_suffix
    sizes = settings.batch_sizes
    # What a benchmark writes, it removes: one batch at a time.
    largest = max(sizes)
    has_batch_file = settings.has_batch_file or len(inputs) > 1
    a_batch = largest * (an_input + an_output if has_batch_file else an_output)
    writes = [
        _Write("export", "export", folder.onnx, model),
        *(_Write("compile", f"compile bs{size}", folder.model(size, suffix), model) for size in sizes),
        _Write("preprocess", "preprocess", bin_folder(folder.inputs), images * an_input),
        *(_Write("infer", f"infer bs{size}", folder.outputs(size), images * an_output) for size in sizes),
        _Write("benchmark", f"benchmark bs{largest}", folder.benchmark_input(largest), a_batch),
    ]
    return [write for write in writes if write.stage in settings.stages]


def _growth(write: _Write, measure: Callable[[Path], int] = size_of) -> int:
    return max(0, write.size_bytes - measure(write.path))


def _alternatives(settings: RunSettings, images: int, free: int) -> Iterator[tuple[str, int]]:
    """Give the settings with which the run fits, and the bytes that it then adds."""
    measure, room = cache(size_of), plannable_bytes(free)

    def added(settings: RunSettings, images: int, spared: Collection[str] = ()) -> int:
        return sum(_growth(write, measure) for write in _writes(settings, images) if write.stage not in spared)

    can_embed = settings.model_config.preprocessing.is_stretched
    sizes = {
        "stream=1": added(settings, images, spared=("preprocess", "infer")),  # their files stay in memory
        **({"embed=1": added(replace(settings, embed=NORMALISE), images)} if can_embed else {}),
        f"bs={min(settings.batch_sizes)} only": added(
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
