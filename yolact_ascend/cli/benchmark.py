"""`benchmark`: one batch again and again through a compiled model, for target=onnxruntime."""

from __future__ import annotations

import argparse

from yolact_ascend import flags
from yolact_ascend.cli.flags import add_flags

HELP = "Measure a compiled ONNX's throughput, for target=onnxruntime (on Ascend, ais_bench does this)."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    add_flags(parser, flags.MODEL, flags.BATCH_FILE, flags.PERF_OUTPUT, flags.LOOP)


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    from yolact_ascend.host.infer import benchmark
    from yolact_ascend.targets.onnxruntime.engine import OnnxEngine

    with OnnxEngine(arguments.model) as engine:
        images_per_s = benchmark(engine, arguments.output, arguments.loop, arguments.input)
    print(f"throughput: {images_per_s:.2f} images/s")
