# Each gate is one word. `make check` is what CI runs.
.PHONY: setup check test lint format

setup:
	bash scripts/setup.sh dev

check:
	bash scripts/test.sh

test: setup
	.venv/bin/python -m pytest

lint: setup
	.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy

format: setup
	.venv/bin/ruff check --fix . && .venv/bin/ruff format .
