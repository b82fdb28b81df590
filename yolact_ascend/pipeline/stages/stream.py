"""Stage `stream`: images to scores in one process, without inputs and outputs on disk."""

from __future__ import annotations

from typing import Any

from yolact_ascend import flags
from yolact_ascend.files import digest, read_json, sha256_file
from yolact_ascend.images.coco import describe_images
from yolact_ascend.pipeline.context import RunContext
from yolact_ascend.pipeline.data_place import note_place
from yolact_ascend.pipeline.stages.commands import (
    dataset_words,
    limit_words,
    results_words,
    worker_words,
)
from yolact_ascend.pipeline.steps import Step
from yolact_ascend.process import own_command
from yolact_ascend.sources import made_by
from yolact_ascend.targets.compiled import sha256_model


def steps(run: RunContext) -> list[Step]:
    """Return a step for each batch size."""
    return [_step(run, batch_size) for batch_size in run.settings.batch_sizes]


def _step(run: RunContext, batch_size: int) -> Step:
    folder, target, model = run.folder, run.target, run.model(batch_size)
    summary = folder.stream_summary(batch_size)
    results = [*run.detections(batch_size).values(), folder.scores(batch_size), summary]

    def inputs() -> dict[str, Any]:
        return {
            "model_sha256": sha256_model(model),
            "images": digest(describe_images(run.images)),
            "target": run.settings.target,
            "tools": target.identity(),
            "npus": list(target.npus),
            "weights_sha256": run.weights_sha256,
            "config": run.settings.config,
            "cut": run.settings.cut,
            "annotations_sha256": sha256_file(run.dataset.annotation_file),
            "host_part": run.sha256_host_part(),
            **made_by("host.stream", "targets.described", *target.engine_modules),
        }

    def work() -> int:
        run.require_model(batch_size)
        for path in results:
            path.unlink(missing_ok=True)
        run.runner.run_own(
            [
                *own_command("stream"),
                flags.MODEL.word(model),
                *dataset_words(run),
                *results_words(run, batch_size),
                flags.DEVICE.word(run.settings.device),
                flags.NPUS.word(",".join(map(str, target.npus))),
                flags.SUMMARY_FILE.word(summary),
                *flags.thread_words(run.settings.threads),
                *limit_words(run),
                *worker_words(run),
            ]
        )
        scores = read_json(folder.scores(batch_size), "the scores")
        return len(run.images) - len(scores["failed"])

    return Step("stream", batch_size, inputs, lambda: results, work, note=lambda: note_place(run))
