"""`explain_map`: one run's mAP under each convention that people trip over."""

from __future__ import annotations

import argparse
import json

from yolact_ascend import flags
from yolact_ascend.cli.flags import add_flag, add_flags, add_switch, reader
from yolact_ascend.words import path

HELP = "Score a finished run under other conventions (NMS, resize, mask crop, AP code, ...): what moves its mAP."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    parser.add_argument("run", type=reader(path), help="run folder of one batch size, such as results/bs8")
    moved = "where that does not lie there any more"
    add_flag(parser, flags.JSON_FILE, default=None, help=f"annotation file that the run was scored against, {moved}")
    add_flag(parser, flags.IMAGE_PATH, default=None, help=f"folder of its images, {moved}")
    add_flags(parser, flags.WORKERS)
    add_switch(parser, "no_infer", "leave out what needs the model to run again: the other resize")
    add_switch(parser, "json", "print the rows as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    from yolact_ascend.analysis.explain import explain_run, format_explanation

    explanation = explain_run(
        arguments.run, arguments.json_file, arguments.image_path, arguments.workers, not arguments.no_infer
    )
    if arguments.json:
        print(json.dumps(explanation.to_json(), indent=2))
    else:
        print(format_explanation(explanation, str(arguments.run)))
