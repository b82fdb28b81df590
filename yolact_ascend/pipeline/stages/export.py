"""Stage `export`: weights to ONNX, in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from yolact_ascend import flags
from yolact_ascend.models.canvas import describe_canvas
from yolact_ascend.models.families import family_of
from yolact_ascend.models.family import ONNX
from yolact_ascend.models.host_part import heads_file
from yolact_ascend.models.output_type import output_type_of
from yolact_ascend.pipeline.context import RunContext
from yolact_ascend.pipeline.model_source import EXPORT
from yolact_ascend.pipeline.stages.commands import (
    canvas_words,
    cut_words,
    export_command,
    operators_words,
    output_type_words,
)
from yolact_ascend.pipeline.steps import Step
from yolact_ascend.sources import made_by


def steps(run: RunContext) -> list[Step]:
    """Return the step, or none where an exported model stands in for weights."""
    if run.settings.exported is not None:
        return []
    settings, onnx, runnable = run.settings, run.folder.onnx, run.runnable_onnx

    def inputs() -> dict[str, Any]:
        return {
            "weights_sha256": run.weights_sha256,
            "config": settings.config,
            "cut": settings.cut,
            "classes": [run.config.class_names, run.config.category_ids],
            **({} if settings.operators == ONNX else {"operators": settings.operators}),
            **({} if settings.output_type is None else {"output_type": output_type_of(run.config)}),
            **({} if runnable is None else {"runnable": runnable.name}),
            "upstream": run.records.token("patch") if settings.upstream else None,
            **({} if run.config.preprocessing.is_stretched else {"canvas": describe_canvas(run.config)}),
            **made_by("models.export"),
        }

    def work() -> None:
        upstream = [flags.UPSTREAM.word(settings.upstream)] if settings.upstream else []
        options = [*cut_words(run), *output_type_words(run), *canvas_words(run), *upstream]
        if runnable is not None:
            run.runner.run_own([*export_command(run), flags.ONNX_OUTPUT.word(runnable), *options])
        run.runner.run_own([*export_command(run), flags.ONNX_OUTPUT.word(onnx), *options, *operators_words(run)])

    def outputs() -> list[Path]:
        second = [] if runnable is None else [runnable]
        return [onnx, *second, *([heads_file(onnx)] if family_of(run.config).has_host_part(settings.cut) else [])]

    return [Step(EXPORT, None, inputs, outputs, work, note=lambda: settings.weights.name)]
