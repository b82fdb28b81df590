#!/usr/bin/env bash
# Run the tests that need no PyTorch on each Python from 3.9 on that is here: `make pythons`.
#
#   bash scripts/pythons.sh                         those of pyenv, and python3.9, python3.10, … on PATH
#   bash scripts/pythons.sh /path/to/python3 …      these
#
# Each gets an environment of its own with the core, ONNX Runtime, and what the tests and the stand-ins need. .venv, which
# has PyTorch, first exports the models of the tests. All is in build/pythons/, where FOLDER/tests.log has the output.
# PYTEST_ARGUMENTS: others than "tests" without those of the scripts and benchmarks.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # sh scripts/…
set -euo pipefail

unset CDPATH
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
unset "${!PYTHON@}" # PYTHONPATH, PYTHONHOME, …
readonly place=$PWD/build/pythons
readonly arguments=${PYTEST_ARGUMENTS:-tests --ignore=tests/scripts --ignore=tests/benchmarks}

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Print "3.9 /path/to/python", once for each version from 3.9 on; the first of several is taken.
find_pythons() {
    local candidates=("$@") python version
    if (($# == 0)); then
        candidates=("${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python3)
        for python in python3.{9..19}; do candidates+=("$(command -v "$python" || true)"); done
    fi
    for python in "${candidates[@]}"; do
        version=$("$python" -I -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
        if [[ $version == 3.9 || $version == 3.[1-9][0-9] ]]; then echo "$version $python"; fi
    done | sort -V -s -u -k 1,1
}

# The lists of packages: the core, ONNX Runtime, and of the others what the stand-ins and the tests import.
write_requirements() {
    cat requirements.txt requirements-onnxruntime.txt requirements-build.txt
    grep -E '^(onnx|pytest|jsonschema|fastapi|httpx|uvicorn)[<=>]' requirements-export.txt requirements-dev.txt --no-filename
}

# Make the environment of a Python, or bring it up to date.
set_up() {
    local python=$1 folder=$2
    "$folder/bin/python" -I -m pip --version >/dev/null 2>&1 || "$python" -I -m venv --clear "$folder"
    "$folder/bin/python" -I -m pip install --disable-pip-version-check --quiet -r "$place/requirements.txt"
    "$folder/bin/python" -I -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
}

mkdir -p "$place"
write_requirements >"$place/requirements.txt"
mapfile -t pythons < <(find_pythons "$@")
((${#pythons[@]})) || die "found no Python from 3.9 on. Name one: bash scripts/pythons.sh /path/to/python3"
.venv/bin/python -I -c 'import torch' 2>/dev/null ||
    die ".venv has no PyTorch, which exports the models of the tests. Run bash scripts/setup.sh"
rm -rf -- "$place/models"
.venv/bin/python tests/factories.py "$place/models" 2>"$place/models.log" ||
    die "the models of the tests cannot be made, see $place/models.log"
export EXPORTED_MODELS_DIR=$place/models OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
failed=()
for line in "${pythons[@]}"; do
    read -r version python <<<"$line"
    folder=$place/$version
    if ! set_up "$python" "$folder" >"$folder.log" 2>&1; then
        failed+=("$version") && echo "$version: no set-up, see $folder.log" >&2
        continue
    fi
    # shellcheck disable=SC2086  # several words
    "$folder/bin/python" -m pytest -q -p no:cacheprovider $arguments >"$folder/tests.log" 2>&1 || failed+=("$version")
    echo "$version: $(tail -n 1 "$folder/tests.log") ($python)"
done
((${#failed[@]} == 0)) || die "failed on ${failed[*]}; the output is in $place/VERSION/tests.log"
