"""`compile`: an exported ONNX for one batch size, for target=onnxruntime."""

from __future__ import annotations

import argparse

from yolact_ascend import flags
from yolact_ascend.cli.flags import add_flag, add_flags
from yolact_ascend.models.inputs import INPUT_DTYPES, input_tensor

HELP = "Fix the batch size of an exported ONNX, for target=onnxruntime (on Ascend, atc does this: run to=compile)."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    add_flag(parser, flags.MODEL, help="exported ONNX file")
    add_flag(parser, flags.COMPILED_OUTPUT, required=True)
    add_flags(parser, flags.BATCH_SIZE)
    add_flag(
        parser,
        flags.DTYPE,
        choices=INPUT_DTYPES,
        metavar=None,
        help="type of the input; uint8: pixels, which the model normalises",
    )


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    from yolact_ascend.models.exported import config_of, read_onnx
    from yolact_ascend.targets.onnxruntime.compile import compile_onnx

    config = config_of(read_onnx(arguments.model))
    compile_onnx(
        arguments.model,
        arguments.output,
        arguments.batch_size,
        input_tensor(config),
        input_tensor(config, arguments.dtype),
        config.preprocessing,
    )
    print(f"{arguments.output} written: batch {arguments.batch_size}, {arguments.dtype} input")
