#!/usr/bin/env bash
# From weights to mAP in one command: sets up what it needs, then runs the stages. `run_all.sh --help` lists the settings.
#
#   bash scripts/run_all.sh bs=8
#   bash scripts/run_all.sh mode=perf bs=1,4,8 loop=100
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # sh scripts/…
set -euo pipefail

unset CDPATH # with it, cd prints, and may go elsewhere
checkout=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
python=$checkout/.venv/bin/python
for word in "$@"; do
    if [[ $word == -h || $word == --help ]]; then # needs no set-up
        "$python" -I -c '' 2>/dev/null || python=${PYTHON:-python3}
        "$python" -I -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null ||
            exec bash "$checkout/scripts/setup.sh" # reports what is wrong with this Python
        exec "$python" -I "$checkout/yolact_ascend" run --help
    fi
done
kind=run
for word in "$@"; do
    if [[ $word == target=openvino ]]; then kind=openvino; fi
done
bash "$checkout/scripts/setup.sh" "$kind"
# By its path, and alone (-I): whatever Python files the current folder has, and PYTHONPATH.
exec "$python" -I "$checkout/yolact_ascend" run "$@"
