#!/usr/bin/env bash
# Create or complete .venv and install what is missing; quick when nothing changed.
#
#   bash scripts/setup.sh             what the pipeline needs
#   bash scripts/setup.sh runtime     only what runs compiled models, scores and reports: no PyTorch (docs/card.md)
#   bash scripts/setup.sh openvino    what the pipeline and target=openvino need
#   bash scripts/setup.sh track       what the pipeline and predict --track need
#   bash scripts/setup.sh cluster     runtime, and what scale needs
#   bash scripts/setup.sh dev         and what the tests need, openvino, track and cluster included
#
#   bash scripts/setup.sh --lists KIND   print that kind's lists of packages, and do nothing
#
# PYTHON names the interpreter of .venv (default: the one that it has, or python3). pip's own configuration decides where
# packages come from. Where pip has none and there is no NVIDIA GPU, torch is PyTorch's CPU build, without CUDA's
# gigabytes; TORCH_INDEX_URL names another index for torch, or, empty, none. Without internet: docs/offline.md.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # sh scripts/…
set -euo pipefail

asked=${PYTHON:-}
unset CDPATH        # with it, cd prints, and may go elsewhere
unset "${!PYTHON@}" # PYTHONHOME, PYTHONPATH, …: for another Python, or for other work
unset PIP_PREFIX PIP_ROOT PIP_PYTHON PIP_DRY_RUN PIP_NO_DEPS PIP_REQUIREMENT PIP_EDITABLE

checkout=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P) # one name, whatever link leads here
readonly asked checkout venv=$checkout/.venv lock=$checkout/.setup.lock kind=${1:-run}
# The extras that each kind installs (requirements-EXTRA.txt) beside the core (requirements.txt), and the kinds that it
# contains.
readonly runtime_extras='build onnxruntime'
readonly run_extras="$runtime_extras export train"
declare -rA extras=([runtime]="$runtime_extras" [run]="$run_extras" [openvino]="$run_extras openvino"
    [track]="$run_extras track" [cluster]="$runtime_extras cluster" [dev]="$run_extras openvino track cluster dev")
declare -rA contained=([runtime]=runtime [run]='runtime run' [openvino]='runtime run openvino' [track]='runtime run track'
    [cluster]='runtime cluster' [dev]='runtime run openvino track cluster dev')
readonly least_pip=21.3 # older ones cannot install the checkout, or know no wheels of manylinux_2_28
readonly cpu_torch=https://download.pytorch.org/whl/cpu

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Set version, prefix (its folder) and base (the folder of the Python that its environment was made from); Python 2 can
# do this, too. Fails with the message of a Python that does not run.
identify() {
    local lines
    version='' prefix='' base=''
    lines=$("$1" -c 'if True:
        import os, sys
        print("%d.%d" % sys.version_info[:2])
        print(os.path.realpath(sys.prefix))
        print(os.path.realpath(getattr(sys, "base_prefix", sys.prefix)))' | tail -n 3) || return # other lines: a .pth
    { read -r version && read -r prefix && read -r base; } <<<"$lines"
}

is_new_enough() {
    local major=${version%%.*} minor=${version#*.}
    [[ $version == +([0-9]).+([0-9]) ]] && ((major > 3 || (major == 3 && minor >= 9)))
}

# Set python to the one that PYTHON names, or python3, and wanted_base to what it is.
choose_python() {
    python=${asked:-python3}
    command -v "$python" >/dev/null ||
        die "there is no $python. Install Python 3.9 or newer, or name one: PYTHON=/path/to/python3"
    identify "$python" ||
        die "$(command -v "$python") does not run (its message is above). Repair it, or name another: PYTHON=/path/to/python3"
    is_new_enough ||
        die "$python is Python $version; Python 3.9 or newer is needed. Name one: PYTHON=/path/to/python3"
    wanted_base="$version $base"
}

# Whether .venv is an environment whose Python runs, and is the one that PYTHON names. Sets version.
fits() {
    # Without its pyvenv.cfg, .venv's Python is the one that it was made from, and pip would install there.
    identify "$venv/bin/python" 2>/dev/null && [[ $prefix == "$(cd -- "$venv" && pwd -P)" ]] && is_new_enough &&
        [[ -z $asked || "$version $base" == "$wanted_base" ]]
}

# The lists of packages of a kind of set-up, one a line. Those that end in -alone.txt are installed without what their
# packages require.
lists_of() {
    local extra
    echo requirements.txt
    for extra in ${extras[$1]}; do
        echo "requirements-$extra.txt"
        if [[ $extra == track ]]; then echo requirements-track-alone.txt; fi
    done
}

# What a kind of set-up is made from.
ingredients() {
    local files
    mapfile -t files < <(printf '%s\n' pyproject.toml && lists_of "$1")
    echo "$version $(cat -- "${files[@]/#/$checkout/}" | sha256sum | cut -d ' ' -f 1)"
}

# Whether a file in .venv has the expected content.
says() {
    [[ -f $venv/$1 && $(<"$venv/$1") == "$2" ]]
}

has_packages() {
    fits && says ".setup-$kind" "$(ingredients "$kind")"
}

# Whether `python -m yolact_ascend` and `yolact-ascend` of .venv are this checkout's. A run starts the package by its
# path, so a checkout that is used where it cannot be written needs neither.
is_placed() {
    says .setup-place "$checkout" || [[ ! -w $venv ]]
}

take_lock() {
    local code=0
    { : >>"$lock"; } 2>/dev/null ||
        die "cannot set up $venv: $checkout cannot be written. Have its owner run scripts/setup.sh, or copy the checkout."
    exec 9>>"$lock"
    flock -n 9 2>/dev/null || code=$?
    if ((code == 1)); then
        echo "Waiting for another set-up of $venv ..." >&2
        code=0
        flock 9 2>/dev/null || code=$?
    fi
    if ((code != 0)); then
        echo "note: $lock cannot be locked here. Do not start a second set-up before this one has ended." >&2
    fi
}

has_pip() {
    "$venv/bin/python" -I -m pip --version >/dev/null 2>&1
}

# A pip that was killed leaves packages without RECORD, and then takes them for installed.
forget_half_installed() {
    local info
    for info in "$venv"/lib/python*/site-packages/*.dist-info; do
        if [[ -d $info && ! -e $info/RECORD ]]; then rm -rf -- "$info"; fi
    done
}

# Write what venv writes, pip included, beside the packages that .venv has.
renew_venv() {
    local options=("$@")
    if grep -q '^include-system-site-packages = true' "$venv/pyvenv.cfg"; then options+=(--system-site-packages); fi
    "$venv/bin/python" -I -m venv ${options[@]+"${options[@]}"} "$venv" >&2
}

make_venv() {
    local cannot="cannot make $venv (its message is above). Is there room on the disk? On Debian, is python3-venv installed?"
    if fits; then
        forget_half_installed
        has_pip && return
        # Killed while it was made, or made where Debian's python3-venv was missing; packages that it has are kept.
        renew_venv || die "$venv/bin/python $cannot"
        has_pip && return
    fi
    if [[ -n $base ]]; then echo "It has Python $version of $base; it is made again." >&2; fi
    choose_python
    "$python" -I -m venv --clear "$venv" >&2 || die "$python $cannot"
    fits || die "$python made $venv, but its Python does not run. Name another: PYTHON=/path/to/python3"
}

# Into .venv and nowhere else, whatever pip's variables and files say of other installations.
pip_install() {
    "$venv/bin/python" -I -m pip install --disable-pip-version-check --quiet --no-warn-conflicts --no-user --target= "$@"
}

# Bring a pip that is too old, as Pythons up to 3.9.10 and 3.10.2 bundle, up to date; "pip 21.2.4 from …" is its version.
renew_pip() {
    local found lowest
    found=$("$venv/bin/python" -I -m pip --version 2>/dev/null)
    found=${found#pip }
    found=${found%% *}
    [[ $found == +([0-9]).* ]] || return 0
    lowest=$(printf '%s\n' "$found" "$least_pip" | sort -V | head -n 1)
    if [[ $lowest == "$found" && $found != "$least_pip" ]]; then
        echo "pip $found is too old: upgrading it in $venv." >&2
        pip_install --upgrade "pip>=$least_pip"
    fi
}

# Print where torch is from, if not from pip's own index.
torch_index() {
    if [[ -n ${TORCH_INDEX_URL+set} ]]; then
        echo "$TORCH_INDEX_URL"
    elif [[ ! -e /dev/nvidiactl ]] && ! command -v nvidia-smi >/dev/null &&
        ! "$venv/bin/python" -I -m pip config list 2>/dev/null | grep -qE '(index-url|no-index|find-links)='; then
        echo "$cpu_torch"
    fi
}

# Install torch alone from its own index; what it needs comes with the other packages.
install_torch() {
    local index lists wanted
    index=$(torch_index)
    mapfile -t lists < <(lists_of "$kind")
    mapfile -t wanted < <(cd -- "$checkout" && cat -- "${lists[@]}" | grep -E '^torch[<=>]')
    [[ -n $index && ${#wanted[@]} -gt 0 ]] || return 0
    pip_install --no-deps --retries 1 --index-url "$index" "${wanted[@]}" || echo "note: torch is not from $index (the" \
        "message is above), but from pip's own index; on Linux that brings gigabytes of CUDA. TORCH_INDEX_URL= names another." >&2
}

install_packages() {
    local list arguments=() alone=()
    while read -r list; do
        if [[ $list == *-alone.txt ]]; then alone+=(-r "$checkout/$list"); else arguments+=(-r "$checkout/$list"); fi
    done < <(lists_of "$kind")
    pip_install "${arguments[@]}" || return
    if ((${#alone[@]})); then pip_install --no-deps "${alone[@]}"; fi
}

# Install this checkout, by the setuptools in .venv: without a network, too.
place() {
    if [[ -f $venv/.setup-place ]] && ! says .setup-place "$checkout"; then
        renew_venv --without-pip # moved or copied: its scripts name the old folder
    fi
    pip_install --no-deps --no-build-isolation --editable "$checkout"
}

set_up() {
    local each failed="pip could not install the packages (its message is above). Run the same command again."
    if [[ $kind == openvino ]]; then
        echo "target=openvino: adding OpenVINO to $venv (once; needs network, 60 MB) ..." >&2
    elif [[ $kind == track ]]; then
        echo "predict --track: adding trackers to $venv (once; needs network, 40 MB) ..." >&2
    elif [[ $kind == cluster ]]; then
        echo "scale: adding pyarrow and Ray to $venv (once; needs network, 150 MB) ..." >&2
    elif [[ $kind == runtime ]]; then
        echo "Setting up $venv without PyTorch (once; needs network, 110 MB) ..." >&2
    else
        echo "Setting up $venv (once; needs network, some minutes) ..." >&2
    fi
    make_venv
    renew_pip || die "$failed"
    if ! has_packages; then
        for each in ${contained[dev]}; do rm -f -- "$venv/.setup-$each"; done # true again at the end, even if lists change back
        install_torch
        install_packages || die "$failed"
    fi
    place || die "$failed"
    echo "$checkout" >"$venv/.setup-place"
    for each in ${contained[$kind]}; do ingredients "$each" >"$venv/.setup-$each"; done
    echo "Set-up done." >&2
}

if [[ $kind == --lists && -n ${contained[${2-}]-} ]]; then
    lists_of "$2"
    exit
fi
if [[ -z ${contained[$kind]-} ]]; then
    echo "error: setup.sh takes nothing, 'runtime', 'openvino', 'track', 'cluster' or 'dev', not '$kind'." >&2
    exit 2
fi
if [[ -n $asked ]]; then choose_python; fi
if has_packages && is_placed; then exit 0; fi
take_lock
if has_packages && is_placed; then exit 0; fi # done by the other, meanwhile
set_up
