"""Stage `quantize` of `precision=int8`: the exported ONNX as INT8, in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from yolact_ascend import flags
from yolact_ascend.compression.calibration import choose_images
from yolact_ascend.compression.recipe import require_no_score
from yolact_ascend.errors import ArtifactError, DatasetError
from yolact_ascend.files import digest_files, sha256_file
from yolact_ascend.images.decode import find_images
from yolact_ascend.pipeline.context import RunContext
from yolact_ascend.pipeline.quantization import Quantization
from yolact_ascend.pipeline.steps import Step
from yolact_ascend.process import own_command
from yolact_ascend.sources import made_by

STAGE = "quantize"


def steps(run: RunContext) -> list[Step]:
    """Return the step, or none for another precision."""
    quantization = run.settings.quantization
    if quantization is None:
        return []
    files, runnable = run.quantized, run.runnable_onnx

    def require() -> None:
        """What can be known before the export."""
        folder, annotations = quantization.find_images()
        if annotations is None:
            require_no_score(quantization.part, quantization.annotation_files(folder))
        if runnable is not None and run.settings.exported is not None and not runnable.is_file():
            raise ArtifactError(
                f"{run.folder.onnx} was exported with operators=ascend, and precision=int8 measures ranges on an "
                f"export with operators=onnx. Export the weights so, too, and put that beside it as {runnable.name}."
            )

    def data() -> dict[str, Any]:
        try:
            return hash_data(quantization)
        except DatasetError:  # a card's host has the finished folder, and not the training images
            record = run.records.load(STAGE)
            if record is None:
                raise
            return {key: record.inputs.get(key) for key in ("images", "annotations")}

    def inputs() -> dict[str, Any]:
        return {
            "onnx_sha256": sha256_file(run.folder.onnx),
            **({} if runnable is None else {"runnable_sha256": sha256_file(runnable)}),
            "recipe_sha256": quantization.recipe.sha256,
            **data(),
            **made_by("compression.quantize"),
        }

    def work() -> None:
        folder, annotations = quantization.find_images()
        words = [flags.MODEL.word(run.folder.onnx), flags.RECIPE.word(quantization.word)]
        words += [] if runnable is None else [flags.ONNX_MODEL.word(runnable)]
        words += [flags.IMAGE_PATH.word(folder), *([] if annotations is None else [flags.JSON_FILE.word(annotations)])]
        words += [flags.SCORED.word(run.dataset.image_folder)] if run.settings.needs_dataset else []
        words += [flags.SAVE_PATH.word(files.folder), *flags.thread_words(run.settings.threads)]
        run.runner.run_own([*own_command(STAGE), *words])

    def made() -> Sequence[Path]:
        return [*files.all, files.progress]

    return [Step(STAGE, None, inputs, lambda: files.all, work, made, require)]


def hash_data(quantization: Quantization) -> dict[str, Any]:
    """Return what identifies the images that are calibrated on, and their annotations; raises DatasetError."""
    folder, annotations = quantization.find_images()
    part = quantization.part
    chosen = choose_images(find_images(folder), part.images, part.seed)  # of COCO's 118 287
    return {
        "images": [chosen.found, digest_files(chosen.images)],
        "annotations": None if annotations is None else _hash_large(annotations),
    }


def _hash_large(path: Path) -> str:
    """Hash a file once in a run, as long as size and time stay: COCO's annotations of train2017 take 450 MB."""
    stat = path.stat()
    return _hash_once(path, stat.st_size, stat.st_mtime_ns)


@cache
def _hash_once(path: Path, _size: int, _time_ns: int) -> str:
    return sha256_file(path)
