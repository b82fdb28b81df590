"""Stage `preprocess`: COCO images to raw network inputs, one file each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from yolact_ascend import flags
from yolact_ascend.files import digest
from yolact_ascend.images.coco import describe_images
from yolact_ascend.models.config import describe_preprocessing, listed_name
from yolact_ascend.models.inputs import FLOAT32
from yolact_ascend.pipeline.context import RunContext
from yolact_ascend.pipeline.stages.commands import dataset_words, limit_words, worker_words
from yolact_ascend.pipeline.steps import Step
from yolact_ascend.process import own_command
from yolact_ascend.sources import made_by
from yolact_ascend.targets.folder import (
    bin_folder,
    files_of_inputs,
    ids_file,
    input_folders,
    spoil_recipe,
    timings_file,
)


def steps(run: RunContext) -> list[Step]:
    """Return the step; all batch sizes share the inputs."""
    save_path, dtype = run.folder.inputs, run.settings.input_dtype
    folders = input_folders(bin_folder(save_path), run.inputs)
    bins = [folder / f"{index}.bin" for folder in folders for index in range(len(run.images))]
    # The canvas of a model is none of its config's name, and some names are in no list: the model states both. A
    # compiled one states that it takes uint8.
    name = listed_name(run.config) if run.config.preprocessing.is_stretched else None
    model = run.folder.onnx if dtype == FLOAT32 else run.model(run.settings.batch_sizes[0])
    words = [flags.MODEL.word(model)] if name is None else [flags.CONFIG.word(name), flags.DTYPE.word(dtype)]

    def inputs() -> dict[str, Any]:
        return {
            "images": digest(describe_images(run.images)),
            "preprocessing": describe_preprocessing(run.config.preprocessing),
            "dtype": dtype,
            **made_by("host.preprocess"),
        }

    def work() -> int:
        if "preprocess" in run.settings.force:
            spoil_recipe(save_path)
        before = run.records.describe(bins)
        run.runner.run_own(
            [
                *own_command("preprocess"),
                *dataset_words(run),
                flags.SAVE_PATH.word(save_path),
                *limit_words(run),
                *words,
                *worker_words(run),
            ]
        )
        # Those that an earlier, unfinished run made took no time in this one.
        after = run.records.describe(bins)
        return sum(before.get(name) != state for name, state in after.items()) // len(folders)

    def outputs() -> list[Path]:
        return [ids_file(save_path), timings_file(save_path), *bins]

    return [Step("preprocess", None, inputs, outputs, work, made=lambda: files_of_inputs(save_path, run.inputs))]
