#!/usr/bin/env bash
# Set up, then run all checks: ruff, mypy, pytest. Words go to pytest: bash scripts/test.sh -k boxes
#
# Tests of upstream need YOLACT_EDGE_DIR, those of the real ais_bench AIS_BENCH_DIR; without, they skip and say so.
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh dev
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
.venv/bin/python -m pytest "$@"
