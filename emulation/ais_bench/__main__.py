"""`python3 -m ais_bench`."""

import sys

from ais_bench.infer.options import parse_options

if __name__ == "__main__":
    options = parse_options(sys.argv[1:])
    from ais_bench.infer.benchmark import run_benchmark  # after parsing: --help needs no numpy and no runtime

    run_benchmark(options, sys.argv)
