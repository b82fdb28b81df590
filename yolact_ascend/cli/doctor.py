"""`doctor`: checks what is missing for a run."""

from __future__ import annotations

import argparse

from yolact_ascend.cli.flags import add_switch
from yolact_ascend.cli.run import add_words
from yolact_ascend.errors import ToolError
from yolact_ascend.pipeline.settings import parse_words

HELP = "Check what is missing for a run with these settings, and how to fix it."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    add_words(parser)
    add_switch(parser, "json", "print the checks as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    settings = parse_words(arguments.words)
    from yolact_ascend.analysis import doctor

    checks = doctor.examine(settings)
    print(doctor.render_json(checks) if arguments.json else doctor.render_text(checks), flush=True)
    failed = doctor.failed(checks)
    if failed:
        raise ToolError(f"{len(failed)} of {len(checks)} checks failed: {', '.join(failed)}.")
