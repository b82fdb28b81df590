"""Stage `postprocess`: outputs to detections and mAP."""

from __future__ import annotations

from typing import Any

from yolact_ascend import flags
from yolact_ascend.files import sha256_file
from yolact_ascend.pipeline.context import RunContext
from yolact_ascend.pipeline.data_place import note_place
from yolact_ascend.pipeline.stages.commands import (
    dataset_words,
    results_words,
    worker_words,
)
from yolact_ascend.pipeline.steps import Step
from yolact_ascend.process import own_command
from yolact_ascend.sources import made_by
from yolact_ascend.targets.folder import ids_file


def steps(run: RunContext) -> list[Step]:
    """Return a step for each batch size."""
    return [_step(run, batch_size) for batch_size in run.settings.batch_sizes]


def _step(run: RunContext, batch_size: int) -> Step:
    folder = run.folder
    results = [*run.detections(batch_size).values(), folder.scores(batch_size)]

    def inputs() -> dict[str, Any]:
        return {
            "outputs": run.records.token(f"infer bs{batch_size}"),
            "weights_sha256": run.weights_sha256,
            "config": run.settings.config,
            "cut": run.settings.cut,
            "annotations_sha256": sha256_file(run.dataset.annotation_file),
            "host_part": run.sha256_host_part(),
            **made_by("host.postprocess", "targets.described"),
        }

    def work() -> int:
        run.require_model(batch_size)
        for path in results:
            path.unlink(missing_ok=True)
        run.runner.run_own(
            [
                *own_command("postprocess"),
                flags.MODEL.word(run.model(batch_size)),
                flags.FILE_PATH.word(folder.outputs(batch_size)),
                *dataset_words(run),
                flags.IDS_PATH.word(ids_file(folder.inputs)),
                *results_words(run, batch_size),
                *worker_words(run),
            ]
        )
        return len(run.images)

    return Step("postprocess", batch_size, inputs, lambda: results, work, note=lambda: note_place(run))
