"""The interface of a target: a place where a graph runs. Each target is a folder beside this file."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from yolact_ascend.checks import Check
from yolact_ascend.errors import UsageError
from yolact_ascend.models.config import Preprocessing
from yolact_ascend.models.inputs import embed_of
from yolact_ascend.process import Runner
from yolact_ascend.tensors import TensorSpec

if TYPE_CHECKING:  # `--help` needs no package beside Python
    import numpy as np

    from yolact_ascend.slots import Slots

Timing = tuple[float, float]
COMPILE, RUN = "compile", "run"  # what a device's programs are needed for
ALL_WORK = frozenset((COMPILE, RUN))
INT8 = "int8"  # of `precisions`: such a model is compiled from what `quantize` wrote
BATCH_CONTENTS = ("zeros", "random", "dataset")  # what the batch of a benchmark may hold


@dataclass(frozen=True)
class DeviceRequest:
    """Which devices of a target a user asks for."""

    device: str = "auto"  # one of the target's `devices`
    soc: str | None = None  # the chip to compile for, where the target cannot ask it
    npus: tuple[int, ...] = (0,)  # numbers of the devices
    threads: int | None = None  # of a model that runs on the host's CPU; None: all cores
    work: frozenset[str] = ALL_WORK  # of COMPILE and RUN: programs that are needed for none of it may be missing
    precision: str = ""  # of the models to compile, if that is known

    def require_no_chip(self, target: str) -> None:
        """Raise UsageError when a chip is named for a target that has none."""
        if self.soc is not None:
            raise UsageError(f"soc={self.soc}: target={target} compiles for no chip. Leave out soc=.")


@dataclass(frozen=True)
class CompileJob:
    """An exported ONNX to compile for one batch size."""

    onnx: Path
    model: Path  # to write
    batch_size: int
    precision: str  # one of the target's `precisions`
    network_inputs: tuple[TensorSpec, ...]  # of the ONNX, the picture first
    inputs: tuple[TensorSpec, ...]  # of the compiled model: pixels where it does the preprocessing itself
    preprocessing: Preprocessing
    weights: Path | None = None  # that the ONNX was exported from, for a target that runs the network itself

    @property
    def picture(self) -> TensorSpec:
        """The first input of the compiled model."""
        return self.inputs[0]

    @property
    def embed(self) -> str:
        """The value of `embed=` that gives a model such inputs."""
        return embed_of(self.picture)


@dataclass(frozen=True)
class InferJob:
    """A folder of inputs to run through a compiled model."""

    model: Path
    bin_folders: tuple[Path, ...]  # one for each input of the model, in its order, with `<index>.bin`
    count: int  # of images
    run_folder: Path  # `output/<index>_<k>.bin` and `output_summary.json` land in it


@dataclass(frozen=True)
class BenchmarkJob:
    """One batch to run again and again; `perf_summary.json` lands in the run folder."""

    model: Path
    batch_size: int
    loop: int
    run_folder: Path
    batch: tuple[Path, ...]  # files of one whole batch, one for each input; none: zeros, or what the program makes
    precision: str
    inputs: tuple[TensorSpec, ...]  # of the compiled model


class Engine(Protocol):
    """A model in memory that computes batches; a context manager that frees what it holds.

    Several threads may call it. Outputs are copies, and inputs are not held after a call.
    """

    inputs: tuple[TensorSpec, ...]  # of one image, as the model takes them
    outputs: tuple[TensorSpec, ...]  # of one image: they determine the cut at which the model ends
    metadata: Mapping[str, str]  # the model's own, such as weights_sha256

    @property
    def batch_size(self) -> int | None:
        """Images of every batch; None: any number."""

    @property
    def at_once(self) -> int:
        """How many calls of `infer_slot` compute side by side; further ones wait."""

    def infer(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Map inputs, each [B,...], to outputs, each [B,...]; a short batch is filled up on the device."""

    def infer_all(self, batches: Iterable[Sequence[np.ndarray]]) -> Iterator[tuple[list[np.ndarray], Timing]]:
        """Compute batches, their inputs [B,...], as they come, as many at once as is fastest; give outputs in order.

        With each, when the device began and ended, in milliseconds of its own clock.
        """

    def infer_slot(self, slots: Slots, slot: int, count: int, images: Sequence[np.ndarray] | None = None) -> Timing:
        """Compute the first `count` images of a batch that lies in shared memory, and put the outputs there.

        `images`, each [count,...], stand in for the slot's inputs, which have one size, where the model takes any.
        Returns when the device began and ended, in milliseconds of its own clock, without the copies.
        """

    def __enter__(self) -> Engine: ...

    def __exit__(self, *_: object) -> None: ...


class OneByOne:
    """What engines have in common that compute one batch after the other."""

    @property
    def at_once(self) -> int:
        """One at a time."""
        return 1

    def infer_all(self: Engine, batches: Iterable[Sequence[np.ndarray]]) -> Iterator[tuple[list[np.ndarray], Timing]]:
        """Compute batches in turn; see `Engine`."""
        for inputs in batches:
            start = time.perf_counter()
            outputs = self.infer(inputs)
            yield outputs, (1000 * start, 1000 * time.perf_counter())


class Target(Protocol):
    """A target whose devices were found, ready for one run. `find` makes it."""

    name: ClassVar[str]
    devices: ClassVar[tuple[str, ...]]  # values of `device=`; the first is the default
    device_aliases: ClassVar[Mapping[str, str]]
    precisions: ClassVar[tuple[str, ...]]  # values of `precision=`; the first is the default
    embeds: ClassVar[tuple[str, ...]]  # values of `embed=`: what a compiled model can do to its input by itself
    batch_contents: ClassVar[tuple[str, ...]]  # values of `input=` for a benchmark; the first is the default
    model_suffix: ClassVar[str]  # of a compiled model
    engine_modules: ClassVar[tuple[str, ...]]  # the code behind `open`, for `sources.made_by`

    kind: str  # report.json's device.kind
    npus: tuple[int, ...]  # numbers of the devices in use

    @classmethod
    def find(cls, request: DeviceRequest) -> Target:
        """Look for the devices and programs of this target; raises ToolError when they are missing."""

    @classmethod
    def check(cls, request: DeviceRequest) -> list[Check]:
        """Make doctor's checks of this target's devices and programs."""

    @classmethod
    def require_usable_paths(cls, work_folder: Path) -> None:
        """Raise UsageError for a work folder that this target's programs would refuse."""

    def require_precision(self, precision: str) -> None:
        """Raise UsageError for a precision that the device does not have; warn of one that it may not have."""

    def identity(self, work: str = RUN) -> dict[str, str]:
        """Return what a compiled model (COMPILE) or its outputs (RUN) depend on, beside the job."""

    def made_for(self) -> dict[str, str]:
        """Return what a model that is compiled now is for, as its side-car states it."""

    def describe(self) -> str:
        """Return a line for the plan of a run: what computes, and why that was chosen."""

    def describe_device(self, npu: int) -> str:
        """Return a few words on what computes on one device, for the last line of a verb."""

    def facts(self, precision: str) -> dict[str, Any]:
        """Return report.json's `device` for a model of that precision, without the host."""

    def how_to_paste(self) -> str | None:
        """Return what to type before printed commands can be pasted; None when nothing is needed."""

    def compile_inputs(self, job: CompileJob) -> dict[str, Any]:
        """Return what a compiled model depends on beside its ONNX: flags with names in place of paths."""

    def compile_files(self, job: CompileJob) -> list[Path]:
        """Return the files that compiling may write or remove."""

    def compile(self, job: CompileJob, runner: Runner, log: Path) -> list[str]:
        """Compile; return the command, for the side-car. No model is left when it fails."""

    @classmethod
    def compile_here(cls, job: CompileJob) -> None:
        """Compile in this process, which `compile` starts; raises UsageError where another program does that."""

    def infer_inputs(self, job: InferJob) -> dict[str, Any]:
        """Return what outputs depend on beside model and inputs."""

    def infer(self, job: InferJob, runner: Runner, log: Path) -> None:
        """Run the inputs through the model."""

    def benchmark_inputs(self, job: BenchmarkJob) -> dict[str, Any]:
        """Return what a benchmark's figures depend on beside the model."""

    def benchmark(self, job: BenchmarkJob, runner: Runner, log: Path) -> None:
        """Run the batch `loop` times on each device; leaves the summary only."""

    def open(self, model: Path, npu: int) -> Engine:
        """Load a compiled model onto one device."""


def batches(values: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Give `size` values at a time, as they come; the last batch may be shorter."""
    iterator = iter(values)
    return iter(lambda: list(itertools.islice(iterator, size)), [])
