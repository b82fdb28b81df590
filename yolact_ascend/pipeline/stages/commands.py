"""Flags that the commands of several stages share."""

from __future__ import annotations

from yolact_ascend import flags
from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.models.canvas import show_canvas
from yolact_ascend.models.families import default_cut
from yolact_ascend.models.family import ONNX
from yolact_ascend.pipeline.context import RunContext
from yolact_ascend.process import own_command


def export_command(run: RunContext) -> list[str]:
    """Return the start of the export's command: weights, config and classes, which the model then states."""
    return [
        *own_command("export"),
        flags.TRAINED_MODEL.word(run.settings.weights),
        flags.CONFIG.word(run.settings.config_file or run.settings.config),
        *class_words(run),
    ]


def class_words(run: RunContext) -> list[str]:
    """Return the flag for the names of the classes; none when the weights, or the config, name them."""
    return [flags.CLASSES.word(run.classes_word)] if run.class_choice.is_listed else []


def cut_words(run: RunContext) -> list[str]:
    """Return the flag for the cut; none for the default, so that the commands are the guide's."""
    return [] if run.settings.cut == default_cut(run.config) else [flags.CUT.word(run.settings.cut)]


def operators_words(run: RunContext) -> list[str]:
    """Return the flag for the operators of the graph; none for ONNX's."""
    return [] if run.settings.operators == ONNX else [flags.OPERATORS.word(run.settings.operators)]


def output_type_words(run: RunContext) -> list[str]:
    """Return the flag for the type of the prototypes; none for the config's."""
    word = run.settings.output_type
    return [] if word is None else [flags.OUTPUT_TYPE.word(word)]


def canvas_words(run: RunContext) -> list[str]:
    """Return the flags for the canvas of the model's input; none for what the config has."""
    canvas, fit = run.settings.canvas, run.settings.fit
    words = [] if canvas is None else [flags.CANVAS.word(show_canvas(canvas))]
    return [*words, *([] if fit is None else [flags.FIT.word(fit)])]


def dataset_words(run: RunContext) -> list[str]:
    """Return the flags for the images and annotations."""
    return [flags.IMAGE_PATH.word(run.dataset.image_folder), flags.JSON_FILE.word(run.dataset.annotation_file)]


def limit_words(run: RunContext) -> list[str]:
    """Return the flag for the first N images; none for all."""
    return [] if run.settings.limit is None else [flags.LIMIT.word(run.settings.limit)]


def worker_words(run: RunContext) -> list[str]:
    """Return the flag for the host's processes; none for all cores."""
    return [] if run.settings.workers is None else [flags.WORKERS.word(run.settings.workers)]


def results_words(run: RunContext, batch_size: int) -> list[str]:
    """Return the flags for the files of detections and scores."""
    files = {BOX: flags.BBOX_DET_FILE, MASK: flags.MASK_DET_FILE}
    words = [files[task].word(path) for task, path in run.detections(batch_size).items()]
    return [*words, flags.SCORES_FILE.word(run.folder.scores(batch_size))]
