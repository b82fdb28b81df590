"""`infer`: a folder of inputs through a compiled model, for target=onnxruntime."""

from __future__ import annotations

import argparse

from yolact_ascend import flags
from yolact_ascend.cli.flags import add_flags

HELP = "Run a folder of inputs through a compiled ONNX, for target=onnxruntime (on Ascend, ais_bench does this)."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    add_flags(parser, flags.MODEL, flags.BIN_FOLDER, flags.OUTPUT_FOLDER)


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    from yolact_ascend.host.infer import infer_folder
    from yolact_ascend.targets.onnxruntime.engine import OnnxEngine

    with OnnxEngine(arguments.model) as engine:
        count = infer_folder(engine, arguments.input, arguments.output)
    print(f"outputs of {count} images in {arguments.output}")
