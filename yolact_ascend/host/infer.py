"""The stages `infer` and `benchmark` of targets that run in this Python: files through an engine, timings to a summary.

Files and summary have the names and forms of ais_bench's.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from yolact_ascend.errors import ArtifactError
from yolact_ascend.files import make_folder, write_bytes, write_json
from yolact_ascend.loops import LoopClock
from yolact_ascend.models.inputs import IMAGE_SIZE, require_on_canvas, zero_sample
from yolact_ascend.progress import bar
from yolact_ascend.targets.folder import batch_files, input_folders, output_bin, summary_of
from yolact_ascend.targets.summary import summarise
from yolact_ascend.targets.target import Engine, Timing, batches
from yolact_ascend.tensors import TensorSpec, read_tensor

WARM_UPS = 1  # runs of a benchmark that do not count, as ais_bench has it


def infer_folder(engine: Engine, bin_folder: Path, output_folder: Path) -> int:
    """Run every `<index>.bin` of a folder; write `<index>_<k>.bin` for each output, and `<folder>_summary.json`.

    A second input of the model is in a folder of its name beside that one. Returns how many images there were.
    Raises ArtifactError when an input is missing or of the wrong size.
    """
    places = list(zip(engine.inputs, input_folders(bin_folder, engine.inputs)))
    indices = _indices(bin_folder)
    make_folder(output_folder)
    timings: list[Timing] = []
    batch_size = engine.batch_size or 1
    planned = list(batches(indices, batch_size))
    read = (
        [np.stack([_read(folder / f"{index}.bin", spec, engine) for index in batch]) for spec, folder in places]
        for batch in planned
    )
    with bar(desc="infer", unit="image", total=len(indices)) as progress:
        for batch, (outputs, timing) in zip(planned, engine.infer_all(read)):
            timings.append(timing)
            for place, index in enumerate(batch):
                for k, output in enumerate(outputs):
                    write_bytes(output_bin(output_folder, index, k), np.ascontiguousarray(output[place]).data, True)
            progress.update(len(batch))
    write_json(summary_of(output_folder), summarise([timings], batch_size, (0,)), indent=None)
    return len(indices)


def _read(path: Path, spec: TensorSpec, engine: Engine) -> np.ndarray:
    size = path.stat().st_size if path.is_file() else 0
    if size != spec.size_bytes:
        raise ArtifactError(
            f"{path} holds {size} bytes, expected {spec.size_bytes} of {spec.name} for one image. Run `preprocess` "
            "with this model again."
        )
    values = read_tensor(path, spec)
    if spec == IMAGE_SIZE:
        require_on_canvas(values, engine.inputs[0], path)
    return values


def benchmark(engine: Engine, output_folder: Path, loop: int, batch: Path | None) -> float:
    """Run one batch `loop` times, zeros or that of a file; write `<folder>_summary.json`; return images/s.

    That of a second input is in a file of its name beside it; in place of zeros it is the size of the canvas.
    Raises ArtifactError when a file does not hold one whole batch.
    """
    batch_size = engine.batch_size or 1
    inputs = _batch(engine.inputs, batch_size, batch)
    for _ in range(WARM_UPS):
        engine.infer(inputs)
    given = 0

    def repeat() -> Iterator[list[np.ndarray]]:
        nonlocal given
        for _ in range(loop):
            given += 1
            yield inputs

    timings: list[Timing] = []
    clock = LoopClock(loop, write=partial(tqdm.write, file=sys.stderr))
    clock.begin()
    for _, timing in bar(engine.infer_all(repeat()), desc="benchmark", unit="batch", total=loop):
        timings.append(timing)
        clock.done(len(timings), is_alone=given == len(timings))
    make_folder(output_folder.parent)
    summary = summarise([timings], batch_size, (0,))
    write_json(summary_of(output_folder), summary, indent=None)
    return float(summary["throughput"])


def _batch(specs: Sequence[TensorSpec], batch_size: int, path: Path | None) -> list[np.ndarray]:
    """Return one whole batch for each input."""
    if path is None:
        return [np.stack([sample] * batch_size) for sample in zero_sample(specs)]
    return [_read_batch(spec, batch_size, file) for spec, file in zip(specs, batch_files(path, specs))]


def _read_batch(spec: TensorSpec, batch_size: int, path: Path) -> np.ndarray:
    shape = (batch_size, *spec.shape)
    if not path.is_file():
        raise ArtifactError(f"There is no {path}, the batch of {spec.name}. Pass a file of one whole batch.")
    values = np.fromfile(path, spec.dtype)
    if values.size != math.prod(shape):
        raise ArtifactError(
            f"{path} holds {values.nbytes} bytes, expected {batch_size * spec.size_bytes} for a batch of {batch_size} "
            f"images of {list(spec.shape)} {spec.dtype}. Pass a file of one whole batch."
        )
    return values.reshape(shape)


def _indices(bin_folder: Path) -> list[int]:
    """Return the numbers of the inputs in a folder, in order."""
    names = sorted(_numbers(bin_folder))
    if not names:
        raise ArtifactError(f"{bin_folder} holds no <index>.bin. Run `preprocess` first.")
    return names


def _numbers(bin_folder: Path) -> Iterator[int]:
    if bin_folder.is_dir():
        for path in bin_folder.glob("*.bin"):
            if path.stem.isascii() and path.stem.isdigit():
                yield int(path.stem)
