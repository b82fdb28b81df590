"""`run`: all stages, from weights to the report; also as scripts/run_all.sh."""

from __future__ import annotations

import argparse

from yolact_ascend.pipeline.keys import describe_keys
from yolact_ascend.pipeline.ways import STAGES_OF_WAY

HELP = "Run all stages, from weights to the report; rerun only what changed."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments: KEY=VALUE."""
    add_words(parser)


def add_words(parser: argparse.ArgumentParser) -> None:
    """Add the settings of a run."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    stages = "".join(f"\n  {way}: {', '.join(stages)}" for way, stages in STAGES_OF_WAY.items())
    parser.epilog = f"settings:\n{describe_keys()}\n\nstages, in order:{stages}"
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE", help="settings, see below")


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    from yolact_ascend.cli.orchestration import run_stages

    print(run_stages(arguments.words))
