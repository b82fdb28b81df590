"""`predict`: detections in images or a video, as pictures and JSON."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from yolact_ascend import flags
from yolact_ascend.cli.flags import add_described_model, add_flag, add_flags, add_switch, reader, requested_model
from yolact_ascend.detection.thresholds import PREDICTION_SETTINGS
from yolact_ascend.errors import DatasetError
from yolact_ascend.flags import COUNT, Flag
from yolact_ascend.words import decimal, path

HELP = "Detect objects in images or a video; write pictures and JSON."
SCORE_THRESHOLD = Flag(
    "score_threshold",
    decimal(0, 1),
    "leave out detections with this score or less",
    PREDICTION_SETTINGS.score_threshold,
)
TOP_K = Flag("top_k", COUNT, "largest number of detections per image", PREDICTION_SETTINGS.max_detections)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    parser.add_argument("source", type=reader(path), metavar="SOURCE", help="an image, a folder of images, or a video")
    add_described_model(parser)
    add_flag(parser, flags.BATCH_SIZE, default=None, help="images per batch, for a model that takes any (default: 1)")
    add_flag(parser, flags.SAVE_PATH, default=Path("predictions"))
    add_flags(parser, SCORE_THRESHOLD, TOP_K)
    add_flag(parser, flags.LIMIT, help="use only the first N images or frames")
    add_switch(parser, "recursive", "take the images of sub-folders, too")


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    from yolact_ascend.host import predict
    from yolact_ascend.host.loading import choose_model

    source, is_video = arguments.source, predict.is_video(arguments.source)
    images, unused = ([], None) if is_video else predict.images_of(source, arguments.limit, arguments.recursive)
    if unused:
        print(unused, file=sys.stderr, flush=True)
    settings = dataclasses.replace(
        PREDICTION_SETTINGS, score_threshold=arguments.score_threshold, max_detections=arguments.top_k
    )
    with choose_model(requested_model(arguments)).open(settings) as model:
        if is_video:
            summary = predict.predict_video(source, model, arguments.save_path, arguments.limit)
        else:
            folder = source if source.is_dir() else None
            summary = predict.predict_images(images, model, arguments.save_path, folder)
    print(f"{summary.describe()}\n{model.path} on {model.device}; results in {arguments.save_path}")
    for warning in summary.warnings:
        print(f"warning: {warning}", file=sys.stderr, flush=True)
    if summary.skipped:
        raise DatasetError(f"{len(summary.skipped)} of {len(images)} images were skipped; they are named above.")
