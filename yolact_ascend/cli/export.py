"""`export`: weights to ONNX; also as pth2onnx.py."""

from __future__ import annotations

import argparse

from yolact_ascend import flags
from yolact_ascend.cli.flags import add_cut, add_flags, add_model, chosen_config, chosen_cut

HELP = "Export weights to ONNX (pth2onnx.py)."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    add_model(parser)
    add_flags(parser, flags.ONNX_OUTPUT)
    add_cut(parser)
    add_flags(parser, flags.UPSTREAM)


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    # A bad argument is refused before PyTorch is imported, which takes seconds.
    config = chosen_config(arguments)
    cut = chosen_cut(arguments, config)
    from yolact_ascend.models.export import export_onnx, largest_by_output

    differences = export_onnx(arguments.trained_model, config, arguments.output, arguments.upstream, cut)
    for worst in largest_by_output(differences):
        print(
            f"{worst.output}: largest difference from PyTorch {worst.max_abs:.2e}, relative {worst.relative:.2e} "
            f"(batch {worst.batch_size})"
        )
    print(f"{arguments.output} written")
