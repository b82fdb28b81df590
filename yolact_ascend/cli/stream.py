"""`stream`: images to mAP in memory, on any target."""

from __future__ import annotations

import argparse
import contextlib

from yolact_ascend import flags
from yolact_ascend.cli.flags import (
    add_coco,
    add_dataset,
    add_described_model,
    add_flag,
    add_flags,
    add_results,
    chosen_dataset,
    requested_model,
    results_files,
    say_overfull,
    say_warnings,
    show_scores,
    take_coco,
)
from yolact_ascend.detection.thresholds import EVALUATION_SETTINGS

HELP = "Run images to mAP in memory, in overlapping stages, on any target."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    add_described_model(parser)
    add_flag(parser, flags.BATCH_SIZE, default=None, help="images per batch, for a model that takes any (default: 1)")
    add_coco(parser)
    add_dataset(parser)
    add_flags(parser, flags.LIMIT)
    add_results(parser)
    add_flags(parser, flags.SUMMARY_FILE, flags.WORKERS)


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    from yolact_ascend.files import write_json
    from yolact_ascend.host.loading import choose_model
    from yolact_ascend.host.overlap import Spent
    from yolact_ascend.host.stream import score_stream, scored_sources
    from yolact_ascend.images.pictures import require_proportions, verify
    from yolact_ascend.targets.summary import summarise

    take_coco(arguments)
    chosen = choose_model(requested_model(arguments))
    dataset, config = verify(chosen_dataset(arguments), chosen.config, arguments.annotated_only, arguments.limit)
    say_warnings(dataset)
    if dataset.pictures is not None:
        require_proportions(dataset.pictures, config.preprocessing)
    files, spent, images = results_files(arguments, config), Spent(), dataset.images
    with chosen.open(EVALUATION_SETTINGS) as model:
        sources = scored_sources(dataset, config)
        with contextlib.closing(model.overlap(sources, spent, arguments.workers, len(images))) as found:
            streamed = score_stream(found, dataset, config, files, spent)
    if arguments.scores_file:
        write_json(arguments.scores_file, streamed.to_json())
    if arguments.summary_file:
        write_json(arguments.summary_file, summarise(spent.devices, model.batch_size, arguments.npus), indent=None)
    print(f"{streamed.describe()}\n{model.path} on {model.device}")
    say_overfull(spent.host)
    show_scores(streamed.evaluation)
