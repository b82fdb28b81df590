"""`infer`: a folder of inputs through a compiled model."""

from __future__ import annotations

import argparse

from yolact_ascend import flags
from yolact_ascend.cli.flags import add_engine, add_flags, opened

HELP = "Run a folder of inputs through a compiled model (in a run on Ascend, ais_bench does this)."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    add_engine(parser)
    add_flags(parser, flags.BIN_FOLDER, flags.OUTPUT_FOLDER)


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    from yolact_ascend.host.infer import infer_folder

    with opened(arguments) as engine:
        count = infer_folder(engine, arguments.input, arguments.output)
    print(f"outputs of {count} images in {arguments.output}")
