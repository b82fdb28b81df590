"""`draw`: a data set of drawn scenes."""

from __future__ import annotations

import argparse
from pathlib import Path

from yolact_ascend import flags
from yolact_ascend.cli.flags import add_flag, add_flags
from yolact_ascend.errors import UsageError

HELP = "Generate a data set of drawn scenes in COCO's format."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    add_flag(parser, flags.SAVE_PATH, default=Path("data/drawn"), help="folder for the data set, in COCO's layout")
    add_flags(parser, flags.TRAIN_IMAGES, flags.VAL_IMAGES, flags.SEED)


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    if not arguments.train_images and not arguments.val_images:
        raise UsageError("--train_images=0 and --val_images=0: there is nothing to draw. Set one of them above 0.")
    from yolact_ascend.scenes.scenes import draw_dataset

    draw_dataset(arguments.save_path, arguments.train_images, arguments.val_images, arguments.seed)
    counts = f"{arguments.train_images} training and {arguments.val_images} validation scenes"
    print(f"{counts} in {arguments.save_path}")
