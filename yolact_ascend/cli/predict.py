"""`predict`: detections in images or a video, as pictures and JSON."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from yolact_ascend import flags
from yolact_ascend.cli.flags import (
    add_engine,
    add_flag,
    add_flags,
    add_model,
    add_switch,
    chosen_config,
    chosen_devices,
)
from yolact_ascend.cores import count_cores
from yolact_ascend.detection.thresholds import DetectionSettings
from yolact_ascend.errors import DatasetError
from yolact_ascend.flags import COUNT, Flag
from yolact_ascend.words import decimal

HELP = "Detect objects in images or a video; write pictures and JSON."
SCORE_THRESHOLD = Flag("score_threshold", decimal(0, 1), "leave out detections with this score or less", 0.3)
TOP_K = Flag("top_k", COUNT, "largest number of detections per image", 100)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    parser.add_argument("source", type=Path, metavar="SOURCE", help="an image, a folder of images, or a video")
    add_model(parser)
    add_engine(parser)
    add_flag(parser, flags.SAVE_PATH, default=Path("predictions"))
    add_flags(parser, SCORE_THRESHOLD, TOP_K)
    add_flag(parser, flags.LIMIT, help="use only the first N images or frames")
    add_switch(parser, "recursive", "take the images of sub-folders, too")


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    config = chosen_config(arguments)
    from yolact_ascend.host import predict
    from yolact_ascend.models.detector import load_detector
    from yolact_ascend.models.families import find_cut

    source, is_video = arguments.source, predict.is_video(arguments.source)
    images, unused = ([], None) if is_video else predict.images_of(source, arguments.limit, arguments.recursive)
    if unused:
        print(unused, file=sys.stderr, flush=True)
    settings = DetectionSettings(score_threshold=arguments.score_threshold, max_detections=arguments.top_k)
    model, weights = arguments.model, arguments.trained_model
    with predict.open_engines(model, weights, chosen_devices(arguments)) as (engines, described):
        cut = find_cut(engines[0].outputs, config, engines[0].metadata.get("config"))
        detector = load_detector(weights, config, cut, settings, threads=count_cores())
        predictor = predict.Predictor(engines[0], detector)
        if is_video:
            summary = predict.predict_video(source, predictor, arguments.save_path, arguments.limit)
        else:
            summary = predict.predict_images(
                images, predictor, arguments.save_path, source if source.is_dir() else None
            )
    print(f"{summary.describe()}\n{model} on {described}; results in {arguments.save_path}")
    for warning in summary.warnings:
        print(f"warning: {warning}", file=sys.stderr, flush=True)
    if summary.skipped:
        raise DatasetError(f"{len(summary.skipped)} of {len(images)} images were skipped; they are named above.")
