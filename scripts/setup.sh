#!/usr/bin/env bash
# Create .venv and install what is missing; quick when nothing changed.
#
#   bash scripts/setup.sh        what the pipeline needs
#   bash scripts/setup.sh dev    and what the tests need
#
# PYTHON names the interpreter to use (default: python3). pip's own configuration decides where packages come from.
set -euo pipefail

checkout=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
venv=$checkout/.venv
extra=${1:-}
python=${PYTHON:-python3}

if [[ -n $extra && $extra != dev ]]; then
    echo "error: setup.sh takes nothing or 'dev', not '$extra'." >&2
    exit 2
fi
if ! command -v "$python" >/dev/null; then
    echo "error: there is no $python. Install Python 3.9 or newer, or name one: PYTHON=/path/to/python3" >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))'; then
    echo "error: $python is $("$python" --version 2>&1); Python 3.9 or newer is needed. Name one: PYTHON=/path/to/python3" >&2
    exit 1
fi

# One stamp for each kind of set-up, with what it was made from: the lists of packages and this checkout's place.
requirements=("$checkout/requirements.txt")
if [[ $extra == dev ]]; then requirements+=("$checkout/requirements-dev.txt"); fi
wanted=$(cat "${requirements[@]}" "$checkout/pyproject.toml" <(echo "$checkout") | sha256sum | cut -d' ' -f1)
stamp=$venv/.setup-${extra:-run}
if [[ -x $venv/bin/python && -f $stamp && $(<"$stamp") == "$wanted" ]]; then
    exit 0
fi

echo "Setting up $venv (once; needs network, some minutes) …" >&2
# Not --clear: what is installed and still fits is kept.
if ! "$venv/bin/python" -c '' 2>/dev/null && ! "$python" -m venv --clear "$venv"; then
    echo "error: $python cannot make $venv (its message is above). Is the checkout writable? On Debian, is python3-venv installed?" >&2
    exit 1
fi
arguments=()
for file in "${requirements[@]}"; do arguments+=(-r "$file"); done
if ! "$venv/bin/python" -m pip install --disable-pip-version-check --quiet "${arguments[@]}" ||
    ! "$venv/bin/python" -m pip install --disable-pip-version-check --quiet --no-deps --editable "$checkout"; then
    echo "error: pip could not install the packages (its message is above). Run the same command again." >&2
    exit 1
fi
echo "$wanted" >"$stamp"
echo "Set-up done." >&2
