"""`rehearse`: which values of a network float16 cannot hold, and which operators a chip is known to compute."""

from __future__ import annotations

import argparse
import json

from yolact_ascend import flags
from yolact_ascend.cli.flags import add_flag, add_flags, add_switch

HELP = "Find operators whose values do not fit in float16, or (--soc) that a chip may not have."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    add_flag(parser, flags.MODEL, help="exported ONNX file")
    add_flags(parser, flags.IMAGE_PATH)
    add_flag(parser, flags.LIMIT, default=8)
    text = "only list the operators of any ONNX file: known on this chip (such as Ascend310P3), known not, or unknown"
    add_flag(parser, flags.SOC, help=text)
    add_switch(parser, "json", "print the ranges of all operators and weights (with --soc: the operators) as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    if arguments.soc is not None:
        _list_operators(arguments)
        return
    from yolact_ascend.analysis.rehearse import format_ranges, rehearse, to_json
    from yolact_ascend.images.decode import find_images

    images = find_images(arguments.image_path, arguments.limit)
    ranges = rehearse(arguments.model, images)
    print(json.dumps(to_json(ranges, len(images)), indent=2) if arguments.json else format_ranges(ranges, len(images)))


def _list_operators(arguments: argparse.Namespace) -> None:
    from yolact_ascend.analysis.operators import format_operators, operators_on_chip, operators_to_json

    facts = operators_on_chip(arguments.model, arguments.soc)
    shown = operators_to_json(facts, arguments.soc)
    print(json.dumps(shown, indent=2) if arguments.json else format_operators(facts, arguments.soc))
