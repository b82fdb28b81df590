"""`rehearse`: which values of a network float16 cannot hold."""

from __future__ import annotations

import argparse
import json

from yolact_ascend import flags
from yolact_ascend.cli.flags import add_flag, add_flags, add_switch

HELP = "Find operators whose values do not fit in float16."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    add_flag(parser, flags.MODEL, help="exported ONNX file")
    add_flags(parser, flags.IMAGE_PATH)
    add_flag(parser, flags.LIMIT, default=8)
    add_switch(parser, "json", "print the ranges of all operators and weights as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    from yolact_ascend.analysis.rehearse import format_ranges, rehearse, to_json
    from yolact_ascend.images.decode import find_images

    images = find_images(arguments.image_path, arguments.limit)
    ranges = rehearse(arguments.model, images)
    print(json.dumps(to_json(ranges, len(images)), indent=2) if arguments.json else format_ranges(ranges, len(images)))
