"""`doctor`: checks what is missing for a run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from yolact_ascend.cli.flags import add_switch
from yolact_ascend.cli.run import add_words
from yolact_ascend.errors import ToolError, UsageError
from yolact_ascend.pipeline.settings import parse_words
from yolact_ascend.pipeline.ways import ALL_STAGES, STAGES_OF_WAY

HELP = "Check what is missing for a run with these settings (stage=NAME: for one stage), and how to fix it."
STAGE = "stage="  # of doctor alone, beside a run's settings


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
    words = expand_stage(arguments.words)
    settings = parse_words(words)
    from yolact_ascend.analysis import bundle, doctor

    if arguments.bundle is not None:
        bundle.require_bundle_path(arguments.bundle)
    checks = doctor.examine(settings)
    print(doctor.render_json(checks) if arguments.json else doctor.render_text(checks), flush=True)
    if arguments.bundle is not None:
        from yolact_ascend.cli.orchestration import plan_stages

        files = bundle.gather(settings, checks, plan_stages(words))
        print(bundle.describe_bundle(arguments.bundle, files), file=sys.stderr, flush=True)
        bundle.write_bundle(arguments.bundle, files)
        print(f"{arguments.bundle} written.", file=sys.stderr, flush=True)
    failed = doctor.failed(checks)
    if failed:
        raise ToolError(f"{len(failed)} of {len(checks)} checks failed: {', '.join(failed)}.")


def expand_stage(words: Sequence[str]) -> list[str]:
    """Return a run's words in place of `stage=NAME`: the range of that stage alone, of the way that has it.

    Raises UsageError for a name that is no stage, and beside from= and to=.
    """
    names = [word[len(STAGE) :] for word in words if word.startswith(STAGE)]
    others = [word for word in words if not word.startswith(STAGE)]
    if not names:
        return others
    name = names[0]
    if len(names) > 1 or any(word.startswith(("from=", "to=")) for word in others):
        raise UsageError(f"{STAGE}{name} is a range of one stage: leave out from=, to= and another {STAGE}NAME.")
    if name not in ALL_STAGES:
        raise UsageError(f"{STAGE}{name}: expected one of {', '.join(ALL_STAGES)}.")
    ways = [way for way, stages in STAGES_OF_WAY.items() if name in stages]
    chosen = [] if ways[0] == next(iter(STAGES_OF_WAY)) or ways[0] in others else [ways[0]]
    return [*others, *chosen, f"from={name}", f"to={name}"]
