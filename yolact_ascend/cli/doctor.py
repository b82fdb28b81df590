"""`doctor`: checks what is missing for a run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from yolact_ascend.cli.flags import add_switch
from yolact_ascend.cli.run import add_words
from yolact_ascend.errors import ToolError
from yolact_ascend.pipeline.settings import parse_words

HELP = "Check what is missing for a run with these settings, and how to fix it."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    add_words(parser)
    add_switch(parser, "json", "print the checks as JSON")
    text = (
        "also write what a report of a problem needs: texts of the tools, versions, side-cars, reports, logs (FILE.zip)"
    )
    parser.add_argument("--bundle", type=Path, metavar="FILE.zip", help=text)


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    settings = parse_words(arguments.words)
    from yolact_ascend.analysis import bundle, doctor

    if arguments.bundle is not None:
        bundle.require_bundle_path(arguments.bundle)
    checks = doctor.examine(settings)
    print(doctor.render_json(checks) if arguments.json else doctor.render_text(checks), flush=True)
    if arguments.bundle is not None:
        from yolact_ascend.cli.orchestration import plan_stages

        files = bundle.gather(settings, checks, plan_stages(arguments.words))
        print(bundle.describe_bundle(arguments.bundle, files), file=sys.stderr, flush=True)
        bundle.write_bundle(arguments.bundle, files)
        print(f"{arguments.bundle} written.", file=sys.stderr, flush=True)
    failed = doctor.failed(checks)
    if failed:
        raise ToolError(f"{len(failed)} of {len(checks)} checks failed: {', '.join(failed)}.")
