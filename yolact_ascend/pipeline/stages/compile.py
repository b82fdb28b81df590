"""Stage `compile`: the ONNX to the target's model, one for each batch size, with its side-car."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from yolact_ascend.files import sha256_file
from yolact_ascend.models.inputs import input_tensors
from yolact_ascend.pipeline.context import RunContext
from yolact_ascend.pipeline.steps import Step
from yolact_ascend.process import format_command, without_folders
from yolact_ascend.targets.compiled import SCHEMA, describe_model, files_of_model, write_sidecar
from yolact_ascend.targets.folder import sidecar_file
from yolact_ascend.targets.target import COMPILE, CompileJob


def steps(run: RunContext) -> list[Step]:
    """Return a step for each batch size."""
    return [_step(run, batch_size) for batch_size in run.settings.batch_sizes]


def _step(run: RunContext, batch_size: int) -> Step:
    target, model = run.target, run.model(batch_size)
    job = CompileJob(
        onnx=run.compiled_from,
        model=model,
        batch_size=batch_size,
        precision=run.settings.precision,
        network_inputs=input_tensors(run.config),
        inputs=run.inputs,
        preprocessing=run.config.preprocessing,
        weights=run.settings.weights,
    )

    def inputs() -> dict[str, Any]:
        return {
            "onnx_sha256": sha256_file(run.compiled_from),
            "target": run.settings.target,
            "tools": target.identity(COMPILE),
            **target.compile_inputs(job),
            "sidecar_schema": SCHEMA,  # a model of an earlier version gets a side-car of today
        }

    def work() -> None:
        sidecar_file(model).unlink(missing_ok=True)
        command = target.compile(job, run.runner, run.folder.log(f"compile_bs{batch_size}"))
        flags = target.compile_inputs(job)["flags"]
        named = format_command(without_folders(command))  # the side-car travels; the log has the paths
        write_sidecar(model, describe_model(model, run.need(batch_size), run.description, flags, named))

    def made() -> list[Path]:
        return [sidecar_file(model), *target.compile_files(job)]

    return Step("compile", batch_size, inputs, lambda: [*files_of_model(model), sidecar_file(model)], work, made)
