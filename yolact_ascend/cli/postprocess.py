"""`postprocess`: the device's outputs to detections and mAP; also as postprocess.py."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from yolact_ascend import flags
from yolact_ascend.cli.flags import (
    add_cut,
    add_dataset,
    add_flag,
    add_flags,
    add_model,
    add_results,
    chosen_config,
    chosen_cut,
    chosen_dataset,
    results_files,
    say_overfull,
    say_warnings,
    show_scores,
)
from yolact_ascend.cores import count_cores
from yolact_ascend.errors import UsageError
from yolact_ascend.models.config import DEFAULT_WEIGHTS, get_config

if TYPE_CHECKING:  # not for `--help`
    from collections.abc import Callable

    from yolact_ascend.models.config import ModelConfig
    from yolact_ascend.models.family import Detector

HELP = "Turn the device's outputs into detections and mAP (postprocess.py)."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    text = "the model that gave the outputs: it states its config and cut, and its heads are read from beside it"
    add_flag(parser, flags.MODEL, default=None, help=f"{text} (default: they are made from the weights, by PyTorch)")
    add_model(parser, weights=None)
    add_dataset(parser)
    add_flags(parser, flags.FILE_PATH, flags.IDS_PATH)
    add_results(parser)
    add_cut(parser)
    add_flags(parser, flags.WORKERS)


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    config, make_detector = chosen_model(arguments)
    from yolact_ascend.files import write_json
    from yolact_ascend.host.postprocess import postprocess, read_ids
    from yolact_ascend.images.pictures import verify_annotations
    from yolact_ascend.targets.compiled import require_made_for

    require_made_for(
        arguments.ids_path.parent,
        config.preprocessing,
        str(arguments.model or config.name),
        "Pass the model that ran on these inputs, or make inputs and outputs again with this one.",
    )
    dataset, config = verify_annotations(chosen_dataset(arguments), config)
    say_warnings(dataset)
    evaluation, timings = postprocess(
        arguments.file_path,
        make_detector(config),
        dataset,
        read_ids(arguments.ids_path, dataset),
        results_files(arguments, config),
        annotated_only=arguments.annotated_only,
        workers=arguments.workers or count_cores(),
    )
    if arguments.scores_file:
        write_json(arguments.scores_file, {**evaluation.to_json(), "host": timings.to_json()})
    say_overfull(timings)
    show_scores(evaluation)


def chosen_model(arguments: argparse.Namespace) -> tuple[ModelConfig, Callable[[ModelConfig], Detector]]:
    """Return the config of the model, and what makes the host's part behind its cut, for classes of the data set's ids.

    It is the model of `--model`, which is checked against the other flags, or that of these alone. Raises UsageError
    and ArtifactError when they contradict each other.
    """
    from yolact_ascend.models.detector import load_detector

    if arguments.model is None:
        config = chosen_config(arguments)
        cut = chosen_cut(arguments, config)
        return config, lambda scored: load_detector(arguments.trained_model or Path(DEFAULT_WEIGHTS), scored, cut)
    from yolact_ascend.host.loading import require_config, require_weights_of
    from yolact_ascend.models.classes import name_classes
    from yolact_ascend.targets.described import open_detector, read_description

    model, weights = arguments.model, arguments.trained_model
    found = read_description(model)
    if arguments.config is not None:
        require_config(model, found.config, get_config(arguments.config))
    if arguments.cut not in (None, found.cut):
        raise UsageError(f"--cut={arguments.cut}: {model} ends at {found.cut}. Leave out --cut.")
    if weights is not None:
        require_weights_of(model, found, weights)
    config = name_classes(found.config, arguments.classes, str(model))
    return config, lambda scored: open_detector(model, dataclasses.replace(found, config=scored))
