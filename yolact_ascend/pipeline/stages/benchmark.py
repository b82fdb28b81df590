"""Stage `benchmark` of mode=perf: one batch again and again, for the device's throughput."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yolact_ascend.files import digest
from yolact_ascend.images.coco import describe_images
from yolact_ascend.pipeline.context import RunContext
from yolact_ascend.pipeline.steps import Step
from yolact_ascend.sources import made_by
from yolact_ascend.targets.compiled import sha256_model
from yolact_ascend.targets.folder import batch_files
from yolact_ascend.targets.summary import read_timings
from yolact_ascend.targets.target import BenchmarkJob


def steps(run: RunContext) -> list[Step]:
    """Return a step for each batch size."""
    return [_step(run, batch_size) for batch_size in run.settings.batch_sizes]


def _step(run: RunContext, batch_size: int) -> Step:
    settings, folder, target, model = run.settings, run.folder, run.target, run.model(batch_size)
    summary, log = folder.benchmark_summary(batch_size), folder.log(f"benchmark_bs{batch_size}")
    batch: tuple[Path, ...] = ()
    if settings.has_batch_file or len(run.inputs) > 1:  # no program fills a second input with what an image can have
        batch = batch_files(folder.benchmark_input(batch_size), run.inputs)
    job = BenchmarkJob(model, batch_size, settings.loop, folder.run(batch_size), batch, settings.precision, run.inputs)

    def inputs() -> dict[str, Any]:
        made_from: dict[str, Any] = {"input": settings.input}
        if batch:
            made_from.update(made_by("pipeline.batch_file"))
        if settings.needs_dataset:
            made_from["images"] = digest(describe_images(run.images[:batch_size]))
        return {
            "model_sha256": sha256_model(model),
            "target": run.settings.target,
            "tools": target.identity(),
            **target.benchmark_inputs(job),
            **made_from,
        }

    def work() -> int:
        run.require_model(batch_size)
        summary.unlink(missing_ok=True)
        try:
            if batch:
                _write_batch(run, batch, batch_size)
            target.benchmark(job, run.runner, log)
        finally:
            _remove_batch(batch)
        read_timings(summary, log)  # else the report would be the one to fail
        return settings.loop * batch_size * len(target.npus)

    def made() -> list[Path]:
        return [summary, folder.benchmark_outputs(batch_size), *batch]

    def require() -> None:
        target.benchmark_inputs(job)  # the command, whose flags a program may not have

    return Step("benchmark", batch_size, inputs, lambda: [summary], work, made, require)


def _remove_batch(paths: Sequence[Path]) -> None:
    """Remove the files of a batch, which take gigabytes for a large one, and their folder unless it holds more."""
    for path in paths:
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        for path in paths[:1]:
            path.parent.rmdir()


def _write_batch(run: RunContext, paths: Sequence[Path], batch_size: int) -> None:
    """Write the batch that a benchmark runs, one file for each input of the model."""
    from yolact_ascend.pipeline.batch_file import image_samples, random_samples, write_batch, zero_samples  # OpenCV

    specs, content = run.inputs, run.settings.input
    samples = {
        "zeros": lambda: zero_samples(specs),
        "random": lambda: random_samples(specs),
        "dataset": lambda: image_samples(run.images, run.config, specs[0].dtype),
    }
    source = f"one batch of {batch_size}, {content}, {specs[0].dtype}"
    print(f"Writing {paths[0]} ({source}); it is removed after the benchmark.", file=sys.stderr)
    write_batch(paths, samples[content](), batch_size)
