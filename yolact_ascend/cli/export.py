"""`export`: weights to ONNX; also as pth2onnx.py."""

from __future__ import annotations

import argparse

from yolact_ascend import flags
from yolact_ascend.cli.flags import add_canvas, add_cut, add_flag, add_flags, add_model, chosen_config, chosen_cut
from yolact_ascend.models.canvas import with_canvas
from yolact_ascend.models.families import all_operators, choose_operators
from yolact_ascend.models.family import ONNX
from yolact_ascend.models.output_type import OUTPUT_TYPES, with_output_type

HELP = "Export weights to ONNX (pth2onnx.py)."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    add_model(parser)
    add_flags(parser, flags.ONNX_OUTPUT)
    add_cut(parser)
    add_canvas(parser)
    add_flag(parser, flags.OUTPUT_TYPE, default=None, choices=tuple(OUTPUT_TYPES), metavar=None)
    add_flags(parser, flags.UPSTREAM)
    add_flag(parser, flags.OPERATORS, default=None, choices=all_operators(), metavar=None)


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    # A bad argument is refused before PyTorch is imported, which takes seconds.
    config = with_canvas(chosen_config(arguments), arguments.canvas, arguments.fit)
    config = with_output_type(config, arguments.output_type)
    cut = chosen_cut(arguments, config)
    operators = choose_operators(config, arguments.operators or ONNX, is_for_ascend=True)
    from yolact_ascend.models.export import export_onnx, largest_by_output

    differences = export_onnx(arguments.trained_model, config, arguments.output, arguments.upstream, cut, operators)
    for worst in largest_by_output(differences):
        print(
            f"{worst.output}: largest difference from PyTorch {worst.max_abs:.2e}, relative {worst.relative:.2e} "
            f"(batch {worst.batch_size})"
        )
    print(f"{arguments.output} written")
