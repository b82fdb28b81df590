"""`infer`: a folder of inputs through a compiled model."""

from __future__ import annotations

import argparse
from pathlib import Path

from yolact_ascend import flags
from yolact_ascend.cli.flags import add_engine, add_flags, opened
from yolact_ascend.errors import ArtifactError

HELP = "Run a folder of inputs through a compiled model (in a run on Ascend, ais_bench does this)."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    add_engine(parser)
    add_flags(parser, flags.BIN_FOLDER, flags.OUTPUT_FOLDER)


def require_inputs_of(model: Path, bin_folder: Path) -> None:
    """Raise ArtifactError when inputs were made for a model that pads or resizes in another way."""
    from yolact_ascend.targets.compiled import require_made_for
    from yolact_ascend.targets.described import read_description

    try:
        preprocessing = read_description(model).config.preprocessing
    except ArtifactError:  # opening the model says it, if it matters
        return
    require_made_for(bin_folder.parent, preprocessing, str(model), "Make them for it: preprocess --model=FILE.")


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    from yolact_ascend.host.infer import infer_folder

    require_inputs_of(arguments.model, arguments.input)
    with opened(arguments) as engine:
        count = infer_folder(engine, arguments.input, arguments.output)
    print(f"outputs of {count} images in {arguments.output}")
