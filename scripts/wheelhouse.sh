#!/usr/bin/env bash
# Fill a folder with all wheels that scripts/setup.sh installs, for a machine without internet: docs/offline.md.
#
#   bash scripts/wheelhouse.sh DIR                                    for this machine's Python and processor
#   bash scripts/wheelhouse.sh DIR --python=3.9 --arch=aarch64        for another machine's
#
# --kind=runtime, openvino, track, cluster or dev is for these kinds of set-up; --glibc=2.28 is the oldest C library of the target.
# PYTHON names a Python 3.9 or newer that has pip (default: .venv's, or python3). TORCH_INDEX_URL as for setup.sh.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # sh scripts/…
set -euo pipefail

unset CDPATH
checkout=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
python=${PYTHON:-$checkout/.venv/bin/python}
if [[ ! -x $python ]] && ! command -v "$python" >/dev/null; then python=python3; fi
exec "$python" "$checkout/scripts/wheelhouse.py" "$@"
