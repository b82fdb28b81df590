# Puts the stand-ins of atc, npu-smi and ais_bench in front of PATH and PYTHONPATH.
#
#     source emulation/set_env.sh
#
# For bash. Takes the place of CANN's own set_env.sh on a machine without an NPU; may be sourced again and again.
# shellcheck shell=bash

# _ascend_emulation_prepend VARIABLE FOLDER: FOLDER first, and only once.
_ascend_emulation_prepend() {
    local entries=":${!1:-}:" folder=$2
    while [[ $entries == *":$folder:"* ]]; do
        entries=${entries/":$folder:"/:}
    done
    entries=${entries#:}
    entries=${entries%:}
    export "$1=$folder${entries:+:$entries}"
}

_ascend_emulation_home=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)

if [[ -z ${VIRTUAL_ENV:-} && -x ${_ascend_emulation_home%/*}/.venv/bin/python3 ]]; then
    _ascend_emulation_prepend PATH "${_ascend_emulation_home%/*}/.venv/bin"
fi
_ascend_emulation_prepend PATH "$_ascend_emulation_home/bin"
_ascend_emulation_prepend PYTHONPATH "$_ascend_emulation_home"
export ASCEND_TOOLKIT_HOME=$_ascend_emulation_home

unset -f _ascend_emulation_prepend
unset _ascend_emulation_home
