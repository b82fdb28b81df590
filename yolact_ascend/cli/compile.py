"""`compile`: an exported ONNX for one batch size, for targets that run in this Python."""

from __future__ import annotations

import argparse

from yolact_ascend import flags
from yolact_ascend.cli.flags import add_flag, add_flags
from yolact_ascend.models.families import require_batch_sizes
from yolact_ascend.targets.registry import read_embed, read_flag, read_precision, target_of_model

HELP = "Compile an exported ONNX, for target=openvino, onnxruntime or torch (on Ascend, atc does this: run to=compile)."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    add_flag(parser, flags.MODEL, help="exported ONNX file")
    text = "compiled model to write: .xml for openvino, with a .bin beside it, .onnx for onnxruntime, "
    text += ".torch for torch"
    add_flag(parser, flags.COMPILED_OUTPUT, required=True, help=text)
    add_flags(parser, flags.BATCH_SIZE)
    add_flag(parser, flags.PRECISION, default="", help="openvino: fp32 (default), bf16, fp16; onnxruntime, torch: fp32")
    add_flags(parser, flags.EMBED)
    weights = "for torch: the weights that the ONNX was exported from"
    add_flag(parser, flags.TRAINED_MODEL, default=None, help=weights)


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    target = target_of_model(arguments.output)
    precision = read_flag(flags.PRECISION, arguments.precision, target, read_precision)
    embed = read_flag(flags.EMBED, arguments.embed, target, read_embed)
    from yolact_ascend.models.inputs import DTYPE_OF_EMBED, input_tensors
    from yolact_ascend.targets.described import config_of_onnx
    from yolact_ascend.targets.target import CompileJob

    config = config_of_onnx(arguments.model)
    require_batch_sizes(config, [arguments.batch_size])
    job = CompileJob(
        onnx=arguments.model,
        model=arguments.output,
        batch_size=arguments.batch_size,
        precision=precision,
        network_inputs=input_tensors(config),
        inputs=input_tensors(config, DTYPE_OF_EMBED[embed]),
        preprocessing=config.preprocessing,
        weights=arguments.trained_model,
    )
    target.compile_here(job)
    print(f"{arguments.output} written: batch {arguments.batch_size}, {precision}, {job.picture.dtype} input")
