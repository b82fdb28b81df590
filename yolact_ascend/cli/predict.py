"""`predict`: detections in images, a video, a camera or a stream, as pictures and JSON."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from yolact_ascend import flags
from yolact_ascend.cli.flags import (
    add_choice,
    add_described_model,
    add_flag,
    add_flags,
    add_switch,
    reader,
    requested_model,
)
from yolact_ascend.detection.thresholds import PREDICTION_SETTINGS
from yolact_ascend.errors import DatasetError, UsageError
from yolact_ascend.flags import COUNT, Flag
from yolact_ascend.images.live_source import LiveSource, read_source
from yolact_ascend.words import decimal, whole_number

HELP = "Detect objects in images, a video, a camera or a stream; write pictures and JSON."
SOURCE = "an image, a folder of images, a video, the number of a camera, or the URL of a stream (rtsp://, http://, …)"
MOST_DELAY_MS = 10**6
MOST_TIMEOUT_S = 86_400.0
SCORE_THRESHOLD = Flag(
    "score_threshold",
    decimal(0, 1),
    "leave out detections with this score or less",
    PREDICTION_SETTINGS.score_threshold,
    aliases=("prob_threshold",),
    short="pt",
)
TOP_K = Flag("top_k", COUNT, "largest number of detections per image", PREDICTION_SETTINGS.max_detections)
DELAY = Flag(
    "delay",
    whole_number(0, MOST_DELAY_MS),
    "milliseconds to wait after each image or frame; with --show, 0 waits for a key (default with --show: 1 for videos "
    "and cameras, 0 for images)",
)
TIMEOUT = Flag("timeout", decimal(0, MOST_TIMEOUT_S, above=True), "seconds to wait for a camera or stream", 10.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    parser.add_argument("source", type=reader(read_source), metavar="SOURCE", help=SOURCE)
    add_described_model(parser)
    add_flag(parser, flags.BATCH_SIZE, default=None, help="images per batch, for a model that takes any (default: 1)")
    add_flag(parser, flags.SAVE_PATH, default=Path("predictions"))
    add_flags(parser, SCORE_THRESHOLD, TOP_K)
    add_flag(parser, flags.LIMIT, help="use only the first N images or frames")
    add_switch(parser, "recursive", "take the images of sub-folders, too")
    add_choice(parser, "show_boxes", "draw boxes", True)
    add_choice(parser, "show_scores", "draw scores", True)
    add_choice(parser, "show_fps", "draw the rate, and print the rate of each step", False)
    add_switch(parser, "show", "show what is drawn in a window; Esc or q ends")
    add_choice(parser, "video", "write the drawn video", True)
    text = "print the time of each layer for the first picture, slowest first, by the engine's profiler"
    add_switch(parser, "show_pc", text)
    add_switch(parser, "track", "number the objects of a video, and keep number and colour over its frames")
    add_flags(parser, DELAY, TIMEOUT)


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    from yolact_ascend.host import footage, predict
    from yolact_ascend.host.loading import choose_model
    from yolact_ascend.host.track import require_trackers
    from yolact_ascend.host.view import View, require_window
    from yolact_ascend.targets.layer_times import format_layer_times

    source, images = arguments.source, list[Path]()
    is_moving = isinstance(source, LiveSource) or footage.is_video(source)
    if not is_moving:
        images, unused = predict.images_of(source, arguments.limit, arguments.recursive)
        if unused:
            print(unused, file=sys.stderr, flush=True)
    view = View(arguments.show_boxes, arguments.show_scores, arguments.show_fps, arguments.show, arguments.delay)
    if arguments.show:
        require_window()
    if arguments.track:
        _require_moving(source, is_moving)
        require_trackers()
    settings = dataclasses.replace(
        PREDICTION_SETTINGS, score_threshold=arguments.score_threshold, max_detections=arguments.top_k
    )
    chosen = footage.Footage(arguments.limit, view, arguments.track, arguments.video, arguments.timeout)
    with choose_model(requested_model(arguments)).open(settings) as model:
        if arguments.show_pc:
            model.require_layer_times()
        if isinstance(source, LiveSource):
            summary = footage.predict_live(source, model, arguments.save_path, chosen)
        elif is_moving:
            summary = footage.predict_video(source, model, arguments.save_path, chosen)
        else:
            folder = source if source.is_dir() else None
            summary = predict.predict_images(images, model, arguments.save_path, folder, view)
        if arguments.show_pc and summary.first is not None:
            print(f"{format_layer_times(model.layer_times(summary.first))}\n")
    print(f"{summary.describe(arguments.show_fps)}\n{model.path} on {model.device}; results in {arguments.save_path}")
    for warning in summary.warnings:
        print(f"warning: {warning}", file=sys.stderr, flush=True)
    if summary.skipped:
        raise DatasetError(f"{len(summary.skipped)} of {len(images)} images were skipped; they are named above.")


def _require_moving(source: Path, is_moving: bool) -> None:
    """Raise UsageError when objects are to be followed over pictures that do not follow each other."""
    if not is_moving:
        raise UsageError(f"--track numbers the objects of a video, a camera or a stream; {source} holds single images.")
