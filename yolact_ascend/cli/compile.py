"""`compile`: an exported ONNX for one batch size, for targets that run in this Python."""

from __future__ import annotations

import argparse
from pathlib import Path

from yolact_ascend import flags
from yolact_ascend.cli.flags import add_flag, add_flags
from yolact_ascend.errors import UsageError
from yolact_ascend.models.families import require_batch_sizes
from yolact_ascend.models.onnx_metadata import is_quantized
from yolact_ascend.targets.registry import read_embed, read_flag, read_precision, target_of_model
from yolact_ascend.targets.target import INT8, Target

HELP = "Compile an exported ONNX, for target=openvino, onnxruntime or torch (on Ascend, atc does this: run to=compile)."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    add_flag(parser, flags.MODEL, help="exported ONNX file")
    text = "compiled model to write: .xml for openvino, with a .bin beside it, .onnx for onnxruntime, "
    text += ".torch for torch"
    add_flag(parser, flags.COMPILED_OUTPUT, required=True, help=text)
    add_flags(parser, flags.BATCH_SIZE)
    add_flag(
        parser,
        flags.PRECISION,
        default="",
        help="openvino: fp32 (default), bf16, fp16; onnxruntime, torch: fp32; int8 for a model that is",
    )
    add_flags(parser, flags.EMBED)
    weights = "for torch: the weights that the ONNX was exported from"
    add_flag(parser, flags.TRAINED_MODEL, default=None, help=weights)


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    target = target_of_model(arguments.output)
    embed = read_flag(flags.EMBED, arguments.embed, target, read_embed)
    from yolact_ascend.models.inputs import DTYPE_OF_EMBED, input_tensors
    from yolact_ascend.targets.described import config_of_onnx
    from yolact_ascend.targets.target import CompileJob

    precision = choose_precision(arguments.model, arguments.precision, target)
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


def choose_precision(model: Path, word: str, target: type[Target]) -> str:
    """Return the precision that is asked for, "": int8 for an INT8 model, else the target's default.

    Raises UsageError when a float model is to be int8, or the other way round.
    """
    is_int8 = is_quantized(model)
    precision = read_flag(flags.PRECISION, word or (INT8 if is_int8 else ""), target, read_precision)
    if is_int8 and precision != INT8:
        raise UsageError(f"{model} is INT8, expected --precision={INT8}, found {precision}. Or pass the float32 ONNX.")
    if precision == INT8 and not is_int8:
        raise UsageError(
            f"{model} is not INT8, which --precision={INT8} compiles. Make one with `quantize`, and pass the file "
            "*_int8_qdq.onnx that it writes."
        )
    return precision
