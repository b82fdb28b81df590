"""Stage `infer`: the inputs through the compiled model on the target's devices."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from yolact_ascend.pipeline.context import RunContext
from yolact_ascend.pipeline.steps import Step
from yolact_ascend.targets.compiled import require_inputs, sha256_model
from yolact_ascend.targets.folder import bin_folder, input_folders, output_bin, require_outputs
from yolact_ascend.targets.target import InferJob


def steps(run: RunContext) -> list[Step]:
    """Return a step for each batch size."""
    return [_step(run, batch_size) for batch_size in run.settings.batch_sizes]


def _step(run: RunContext, batch_size: int) -> Step:
    folder, target, model, count = run.folder, run.target, run.model(batch_size), len(run.images)
    output_folder, summary = folder.outputs(batch_size), folder.summary(batch_size)
    folders = input_folders(bin_folder(folder.inputs), run.inputs)
    job = InferJob(model, folders, count, folder.run(batch_size))

    def inputs() -> dict[str, Any]:
        return {
            "model_sha256": sha256_model(model),
            "inputs": run.records.token("preprocess"),
            "target": run.settings.target,
            "tools": target.identity(),
            **target.infer_inputs(job),
        }

    def outputs() -> list[Path]:
        files = [output_bin(output_folder, index, k) for index in range(count) for k in range(len(run.outputs))]
        return [summary, *files]

    def work() -> int:
        run.require_model(batch_size)
        require_inputs(folder.inputs, run.inputs, count)
        summary.unlink(missing_ok=True)
        _remove_outputs(output_folder)  # ais_bench reuses an existing folder without cleaning it
        target.infer(job, run.runner, folder.log(f"infer_bs{batch_size}"))
        require_outputs(output_folder, count, run.outputs)
        return count

    def require() -> None:
        target.infer_inputs(job)  # the command, whose flags a program may not have

    return Step("infer", batch_size, inputs, outputs, work, lambda: [summary, output_folder], require)


def _remove_outputs(folder: Path) -> None:
    """Remove the outputs of an earlier run; nothing else, the folder may be a user's."""
    if folder.is_dir():
        for path in folder.iterdir():
            if re.fullmatch(r"\d+_\d\.bin", path.name):
                path.unlink()
