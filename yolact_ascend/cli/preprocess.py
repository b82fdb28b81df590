"""`preprocess`: COCO images to raw network inputs; also as preprocess.py."""

from __future__ import annotations

import argparse
from pathlib import Path

from yolact_ascend import flags
from yolact_ascend.cli.flags import (
    LISTED_CONFIGS,
    add_dataset,
    add_flag,
    add_flags,
    chosen_dataset,
    say_warnings,
)
from yolact_ascend.cores import count_cores
from yolact_ascend.models.config import DEFAULT_CONFIG, get_config
from yolact_ascend.models.inputs import INPUT_DTYPES

HELP = "Turn COCO images into raw network inputs (preprocess.py)."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    add_dataset(parser)
    add_flag(parser, flags.SAVE_PATH, default=Path("inputs"), help="folder for bin_file/ and ids.json")
    add_flags(parser, flags.LIMIT)
    add_flag(
        parser, flags.CONFIG, default=DEFAULT_CONFIG, help=f"config whose preprocessing is applied: {LISTED_CONFIGS}"
    )
    add_flag(parser, flags.DTYPE, choices=INPUT_DTYPES, metavar=None)
    add_flags(parser, flags.WORKERS)


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    config = get_config(arguments.config)
    from yolact_ascend.host.preprocess import preprocess
    from yolact_ascend.images.pictures import verify_pictures

    dataset = verify_pictures(chosen_dataset(arguments), arguments.annotated_only, arguments.limit)
    say_warnings(dataset)
    dataset.require_readable()
    images = dataset.images
    workers = arguments.workers or count_cores()
    made = preprocess(images, arguments.save_path, config, arguments.dtype, workers)
    print(f"{len(images)} inputs in {arguments.save_path} ({made} new)")
