"""`postprocess`: the device's outputs to detections and mAP; also as postprocess.py."""

from __future__ import annotations

import argparse

from yolact_ascend import flags
from yolact_ascend.cli.flags import (
    add_cut,
    add_dataset,
    add_flags,
    add_model,
    add_results,
    chosen_config,
    chosen_cut,
    chosen_dataset,
    results_files,
    say_warnings,
    show_scores,
)
from yolact_ascend.cores import count_cores

HELP = "Turn the device's outputs into detections and mAP (postprocess.py)."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    add_model(parser)
    add_dataset(parser)
    add_flags(parser, flags.FILE_PATH, flags.IDS_PATH)
    add_results(parser)
    add_cut(parser)
    add_flags(parser, flags.WORKERS)


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    config = chosen_config(arguments)
    cut = chosen_cut(arguments, config)
    from yolact_ascend.files import write_json
    from yolact_ascend.host.postprocess import postprocess, read_ids
    from yolact_ascend.images.pictures import verify_annotations
    from yolact_ascend.models.detector import load_detector

    dataset, config = verify_annotations(chosen_dataset(arguments), config)
    say_warnings(dataset)
    evaluation, timings = postprocess(
        arguments.file_path,
        load_detector(arguments.trained_model, config, cut),
        dataset,
        read_ids(arguments.ids_path, dataset),
        results_files(arguments, config),
        annotated_only=arguments.annotated_only,
        workers=arguments.workers or count_cores(),
    )
    if arguments.scores_file:
        write_json(arguments.scores_file, {**evaluation.to_json(), "host": timings.to_json()})
    show_scores(evaluation)
