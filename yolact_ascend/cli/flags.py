"""Adds the declared flags to a verb's parser, and reads what several verbs share from its arguments."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolact_ascend import flags
from yolact_ascend.detection.tasks import BOX, MASK
from yolact_ascend.environment import is_stage_of_a_run
from yolact_ascend.errors import UsageError
from yolact_ascend.flags import Flag
from yolact_ascend.folders import lock_folder
from yolact_ascend.models.canvas import read_canvas
from yolact_ascend.models.classes import choose_classes, config_of
from yolact_ascend.models.config import CONFIGS, DEFAULT_CONFIG, DEFAULT_WEIGHTS, ModelConfig
from yolact_ascend.models.families import all_cuts, default_cut, family_of
from yolact_ascend.models.values import FITS
from yolact_ascend.targets.folder import find_work_folder
from yolact_ascend.targets.registry import TARGETS, find_target, target_of_model
from yolact_ascend.targets.target import RUN, DeviceRequest, Engine
from yolact_ascend.words import one_of

if TYPE_CHECKING:  # not for `--help`
    from yolact_ascend.detection.evaluate import Evaluation
    from yolact_ascend.host.loading import ModelRequest
    from yolact_ascend.images.coco import CocoDataset
    from yolact_ascend.timings import Timings

LISTED_CONFIGS = f"one of {', '.join(CONFIGS)}, or a Detectron2 config file (FILE.yaml)"


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the defaults there are, and no "(default: None)"."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or isinstance(action.default, bool):
            return action.help
        return super()._get_help_string(action)


@contextlib.contextmanager
def held_work_folders(arguments: argparse.Namespace) -> Iterator[None]:
    """Hold the work folders around the paths of a verb's flags, as a run does; a stage's are held by its run.

    Raises UsageError when a run is at work there.
    """
    paths = [getattr(arguments, name, None) for name in sorted(flags.HELD)]
    folders = {find_work_folder(path) for path in paths if path is not None}
    with contextlib.ExitStack() as stack:
        if not is_stage_of_a_run():
            for folder in sorted(filter(None, folders)):
                stack.enter_context(lock_folder(folder, "another path"))
        yield


def add_flag(parser: argparse.ArgumentParser, flag: Flag, **changes: Any) -> None:
    """Add a flag under its name and aliases; `changes` replace its default, its help or what else argparse takes."""
    parser.add_argument(
        *(f"--{name}" for name in (flag.name, *flag.aliases)),
        *((f"-{flag.short}",) if flag.short else ()),
        **{
            "type": reader(flag.read),
            "default": flag.default,
            "help": flag.help,
            "metavar": flag.name.upper(),
            **changes,
        },
    )


def add_flags(parser: argparse.ArgumentParser, *chosen: Flag) -> None:
    """Add several flags as they are."""
    for flag in chosen:
        add_flag(parser, flag)


def add_switch(parser: argparse.ArgumentParser, name: str, text: str) -> None:
    """Add a flag without a value."""
    parser.add_argument(f"--{name}", action="store_true", help=text)


def add_choice(parser: argparse.ArgumentParser, name: str, text: str, default: bool) -> None:
    """Add a flag without a value, and its opposite: --NAME and --no_NAME; the last one of a command line holds."""
    shown = f"{text} (default)" if default else text
    parser.add_argument(f"--{name}", action="store_true", default=default, help=shown)
    opposite = "leave it out" if default else "leave it out (default)"
    parser.add_argument(f"--no_{name}", action="store_false", dest=name, default=default, help=opposite)


def reader(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return what argparse calls to read a value; what was expected becomes part of its message."""

    def read_or_explain(word: str) -> Any:
        try:
            return read(word)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"'{word}': expected {error}") from None

    return read_or_explain


def add_model(parser: argparse.ArgumentParser, weights: Path | None = Path(DEFAULT_WEIGHTS)) -> None:
    """Add the flags for config and weights; `weights` is the default (None: the verb needs to know whether one is)."""
    text = f"{LISTED_CONFIGS} (default: what the weights state, else {DEFAULT_CONFIG})"
    add_flag(parser, flags.CONFIG, help=text)
    shown = "" if weights else f" (default: {DEFAULT_WEIGHTS})"
    add_flag(parser, flags.TRAINED_MODEL, default=weights, help=f"{flags.TRAINED_MODEL.help}{shown}")
    add_flags(parser, flags.CLASSES)


def chosen_config(arguments: argparse.Namespace) -> ModelConfig:
    """Return the config with the classes of the weights.

    Weights that name no classes get those of `--classes`, or of the annotation file, if the verb has one.
    """
    word, given = arguments.classes, getattr(arguments, "json_file", None)
    if word is None and given is not None and given.is_file():
        word = str(given)
    weights = arguments.trained_model or Path(DEFAULT_WEIGHTS)
    config = config_of(arguments.config, weights)
    return choose_classes(weights, config, word).config


def add_cut(parser: argparse.ArgumentParser) -> None:
    """Add the flag for the cut; its default is that of the config's family."""
    text = (
        "where the graph on the device ends: before the prediction heads (fpn, default), after them (heads), or with "
        "scores and boxes decoded (boxes)"
    )
    add_flag(parser, flags.CUT, help=text, choices=all_cuts(), metavar=None)


def add_canvas(parser: argparse.ArgumentParser) -> None:
    """Add the flags for the canvas of models that pad their pictures."""
    add_flag(parser, flags.CANVAS, type=reader(read_canvas))
    add_flag(parser, flags.FIT, choices=FITS, metavar=None)


def chosen_cut(arguments: argparse.Namespace, config: ModelConfig) -> str:
    """Return the cut; raises UsageError when the config's family does not have it."""
    cut = arguments.cut or default_cut(config)
    try:
        return one_of(family_of(config).cuts)(cut)
    except ValueError as error:
        raise UsageError(f"--cut={cut}: expected {error}, the cuts of {config.name}.") from None


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add the flags for a model and the devices that run it."""
    add_flags(parser, flags.MODEL, flags.DEVICE, flags.NPUS, flags.SOC, flags.THREADS)


def chosen_devices(arguments: argparse.Namespace) -> DeviceRequest:
    """Return which devices the flags ask for."""
    return DeviceRequest(arguments.device, arguments.soc, arguments.npus, arguments.threads, frozenset((RUN,)))


def add_described_model(parser: argparse.ArgumentParser) -> None:
    """Add the flags for a model that states what it is, or weights to make it from, and for the devices that run it."""
    text = f"a model (.om, .xml, .onnx), or a folder with one (default: {flags.MODEL.default})"
    add_flag(parser, flags.MODEL, default=None, help=text)
    text = "weights file (.pth, .pkl): without --model, the model is made of it once; with it, the model must be of it"
    add_flag(parser, flags.TRAINED_MODEL, help=text)
    add_flag(parser, flags.CONFIG, help=f"{LISTED_CONFIGS} (default: what the model or the weights state)")
    add_flags(parser, flags.CLASSES)
    add_flag(parser, flags.TARGET, choices=list(TARGETS), metavar=None)
    add_flags(parser, flags.DEVICE, flags.NPUS, flags.SOC, flags.THREADS)


def requested_model(arguments: argparse.Namespace) -> ModelRequest:
    """Return the model that the flags of `add_described_model` name."""
    from yolact_ascend.host.loading import ModelRequest

    model, weights = arguments.model, arguments.trained_model
    if model is None and weights is not None:
        model, weights = weights, None
    path = flags.MODEL.default if model is None else model
    request = ModelRequest(path, weights, arguments.config, arguments.classes, arguments.target)
    return replace(request, devices=chosen_devices(arguments), batch_size=arguments.batch_size)


@contextlib.contextmanager
def opened(arguments: argparse.Namespace) -> Iterator[Engine]:
    """Open the model of `add_engine`'s flags on the one device that they name."""
    target = find_target(target_of_model(arguments.model), chosen_devices(arguments))
    with target.open(arguments.model, target.npus[0]) as engine:
        yield engine


def add_dataset(parser: argparse.ArgumentParser) -> None:
    """Add the flags for images and annotations."""
    add_flags(parser, flags.IMAGE_PATH, flags.JSON_FILE)
    add_switch(parser, "annotated_only", "leave out images without annotations, as Ascend ModelZoo's guide does")


def chosen_dataset(arguments: argparse.Namespace, with_masks: bool = True) -> CocoDataset:
    """Load the data set; raises DatasetError. What a verb uses of it is checked by `images.pictures`."""
    from yolact_ascend.images.coco import load_dataset

    return load_dataset(arguments.json_file, arguments.image_path, with_masks)


def say_warnings(dataset: CocoDataset) -> None:
    """Say what is odd about a data set, unless the run that started this stage has said it."""
    if not is_stage_of_a_run():
        for warning in dataset.warnings:
            print(f"warning: {warning}", file=sys.stderr, flush=True)


def say_overfull(spent: Timings) -> None:
    """Say in how many images the graph left out anchors above the threshold."""
    if spent.overfull_images:
        print(f"warning: {spent.describe_overfull()}", file=sys.stderr, flush=True)


def add_coco(parser: argparse.ArgumentParser) -> None:
    """Add run_all.sh's name for a data set: one folder."""
    add_flag(parser, flags.COCO)


def take_coco(arguments: argparse.Namespace) -> None:
    """Put the paths of `--coco` in place of the defaults; raises UsageError when the others were passed, too."""
    from yolact_ascend.images.layout import find_split

    if arguments.coco is None:
        return
    if arguments.image_path != flags.IMAGE_PATH.default or arguments.json_file != flags.JSON_FILE.default:
        raise UsageError("Pass either --coco, or --image_path and --json_file.")
    arguments.image_path, arguments.json_file = find_split(arguments.coco)


def add_results(parser: argparse.ArgumentParser) -> None:
    """Add the flags for detections and scores."""
    add_flags(parser, flags.BBOX_DET_FILE, flags.MASK_DET_FILE, flags.SCORES_FILE)


def results_files(arguments: argparse.Namespace, config: ModelConfig) -> dict[str, Path]:
    """Return the files of detections, by task of the config."""
    files = {BOX: arguments.bbox_det_file, MASK: arguments.mask_det_file}
    return {task: files[task] for task in config.tasks}


def show_scores(evaluation: Evaluation) -> None:
    """Print the table of mAP, and COCOeval's lines for each task."""
    from yolact_ascend.detection.evaluate import format_summary, format_table

    print(f"mAP in percent, {evaluation.images} images:\n{format_table(evaluation)}")
    for task, score in evaluation.scores.items():
        print(f"\nCOCOeval, {task} (fractions):\n{format_summary(score)}")
