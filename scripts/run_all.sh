#!/usr/bin/env bash
# From weights to mAP in one command: sets up what it needs, then runs the stages. `run_all.sh --help` lists the settings.
#
#   bash scripts/run_all.sh bs=8
#   bash scripts/run_all.sh mode=perf bs=1,4,8 loop=100
set -euo pipefail

scripts=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
for word in "$@"; do
    if [[ $word == -h || $word == --help ]]; then # needs no set-up
        PYTHONPATH=$scripts/.. exec "${PYTHON:-python3}" -m yolact_ascend run --help
    fi
done
bash "$scripts/setup.sh"
exec "$scripts/../.venv/bin/python" -m yolact_ascend run "$@"
