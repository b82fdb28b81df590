"""`stream`: images to mAP in memory, on any target."""

from __future__ import annotations

import argparse
import contextlib

from yolact_ascend import flags
from yolact_ascend.cli.flags import (
    add_coco,
    add_dataset,
    add_engine,
    add_flag,
    add_flags,
    add_model,
    add_results,
    chosen_config,
    chosen_dataset,
    chosen_devices,
    results_files,
    say_warnings,
    show_scores,
    take_coco,
)
from yolact_ascend.cores import count_cores

HELP = "Run images to mAP in memory, in overlapping stages, on any target."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    add_model(parser)
    add_engine(parser)
    add_flag(parser, flags.BATCH_SIZE, help="images per batch, for a model whose batch size is not fixed")
    add_coco(parser)
    add_dataset(parser)
    add_flags(parser, flags.LIMIT)
    add_results(parser)
    add_flags(parser, flags.SUMMARY_FILE, flags.WORKERS)


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    config = chosen_config(arguments)
    from yolact_ascend.files import write_json
    from yolact_ascend.host.predict import open_engines
    from yolact_ascend.host.stream import Spent, score_stream, stream
    from yolact_ascend.images.pictures import verify
    from yolact_ascend.models.detector import load_detector
    from yolact_ascend.models.families import find_cut
    from yolact_ascend.targets.summary import summarise

    take_coco(arguments)
    dataset, config = verify(chosen_dataset(arguments), config, arguments.annotated_only, arguments.limit)
    say_warnings(dataset)
    files, spent = results_files(arguments, config), Spent()
    workers = arguments.workers or count_cores()
    with open_engines(arguments.model, arguments.trained_model, chosen_devices(arguments)) as (engines, described):
        cut = find_cut(engines[0].outputs, config, engines[0].metadata.get("config"))
        detector = load_detector(arguments.trained_model, config, cut)
        batch_size = engines[0].batch_size or arguments.batch_size
        with contextlib.closing(stream(engines, dataset.images, detector, batch_size, workers, spent)) as found:
            streamed = score_stream(found, dataset, config, files, spent)
    if arguments.scores_file:
        write_json(arguments.scores_file, streamed.to_json())
    if arguments.summary_file:
        write_json(arguments.summary_file, summarise(spent.devices, batch_size, arguments.npus), indent=None)
    print(f"{streamed.describe()}\n{arguments.model} on {described}")
    show_scores(streamed.evaluation)
