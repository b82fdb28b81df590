# Each gate is one word. `make check` is what CI runs.
.PHONY: setup check test pythons wheels parity behaviours lint format

setup:
	bash scripts/setup.sh dev

check:
	bash scripts/test.sh

test: setup
	.venv/bin/python -m pytest

# The tests that need no PyTorch, on each Python from 3.9 on that is here.
pythons: setup
	bash scripts/pythons.sh

# Asks pip's index whether aarch64 has a wheel of all that a card's host needs.
wheels: setup
	.venv/bin/python -m pytest -m index tests/scripts/test_wheels.py

# Writes docs/parity.md: runs the referees whose variables are set: CONTRIBUTING.md.
parity: setup
	.venv/bin/python scripts/parity.py

# Writes docs/ais_bench_behaviours.md: needs AIS_BENCH_DIR with all four releases.
behaviours: setup
	.venv/bin/python scripts/behaviours.py

lint: setup
	.venv/bin/python -m ruff check . && .venv/bin/python -m ruff format --check . && .venv/bin/python -m mypy

format: setup
	.venv/bin/python -m ruff check --fix . && .venv/bin/python -m ruff format .
