#!/usr/bin/env bash
# Set up, then run all checks: ruff, mypy, pytest. Arguments go to pytest: bash scripts/test.sh -k boxes
#
# Tests that need YOLACT_EDGE_DIR, YOLACT_DIR, AIS_BENCH_DIR or COCO_MINI_DIR (CONTRIBUTING.md) skip without it, and
# say so.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # sh scripts/…
set -euo pipefail

unset CDPATH # with it, cd prints, and may go elsewhere
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh dev
unset "${!PYTHON@}" # PYTHONPATH, PYTHONOPTIMIZE, …: the tests have .venv's packages, and assertions
.venv/bin/python -m ruff check .
.venv/bin/python -m ruff format --check .
# The types are checked beside the tests, and shown after them: without its cache mypy takes 20 s of one core.
types=$(mktemp)
.venv/bin/python -m mypy >"$types" 2>&1 &
mypy=$!
trap 'kill "$mypy" 2>/dev/null || true; rm -f -- "$types"' EXIT
# Two processes, each with a thread: more would only take turns on two cores. Trainings and whole runs come early
# (tests/conftest.py), and short files fill the end.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
status=0
.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder "$@" || status=$?
wait "$mypy" || status=$?
cat -- "$types"
exit "$status"
