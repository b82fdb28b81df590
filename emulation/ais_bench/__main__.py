"""`python3 -m ais_bench`."""

import sys

from ais_bench.infer.options import parse_options

if __name__ == "__main__":
    options = parse_options(sys.argv[1:])
    # After parsing: --help needs no numpy and no runtime.
    if len(options.devices) > 1:
        from ais_bench.infer.devices import run_on_devices

        sys.exit(run_on_devices(options, sys.argv))
    from ais_bench.infer.benchmark import run_benchmark

    run_benchmark(options, sys.argv)
