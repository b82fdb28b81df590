# Each gate is one word. `make check` is what CI runs.
.PHONY: setup check test parity behaviours lint format

setup:
	bash scripts/setup.sh dev

check:
	bash scripts/test.sh

test: setup
	.venv/bin/python -m pytest

# Against upstream and the real ais_bench: needs YOLACT_EDGE_DIR and AIS_BENCH_DIR, see CONTRIBUTING.md.
parity: setup
	.venv/bin/python -m pytest -m "upstream or ais_bench" -s

# Writes docs/ais_bench_behaviours.md: needs AIS_BENCH_DIR with all three releases.
behaviours: setup
	.venv/bin/python scripts/behaviours.py

lint: setup
	.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy

format: setup
	.venv/bin/ruff check --fix . && .venv/bin/ruff format .
