"""`benchmark`: one batch again and again through a compiled model."""

from __future__ import annotations

import argparse

from yolact_ascend import flags
from yolact_ascend.cli.flags import add_engine, add_flags, opened

HELP = "Measure a compiled model's throughput (a run has ais_bench or benchmark_app do this, where there is one)."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's flags."""
    add_engine(parser)
    add_flags(parser, flags.BATCH_FILE, flags.PERF_OUTPUT, flags.LOOP)


def run(arguments: argparse.Namespace) -> None:
    """Do the work of the verb."""
    from yolact_ascend.host.infer import benchmark

    with opened(arguments) as engine:
        images_per_s = benchmark(engine, arguments.output, arguments.loop, arguments.input)
    print(f"throughput: {images_per_s:.2f} images/s")
