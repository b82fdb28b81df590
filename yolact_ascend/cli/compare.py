"""`compare`: the outputs and mAP of two runs."""

from __future__ import annotations

import argparse
import json

from yolact_ascend.cli.flags import add_switch, reader
from yolact_ascend.words import path

HELP = "Compare the outputs and mAP of two runs over the same images."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    parser.add_argument("first", type=reader(path), help="run folder of one batch size, such as results/bs8")
    parser.add_argument("second", type=reader(path), help="another one, over the same images")
    add_switch(parser, "json", "print the comparison as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    from yolact_ascend.analysis.compare import compare_runs, format_comparison

    comparison = compare_runs(arguments.first, arguments.second)
    names = (str(arguments.first), str(arguments.second))
    print(json.dumps(comparison.to_json(), indent=2) if arguments.json else format_comparison(comparison, names))
