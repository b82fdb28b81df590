#!/usr/bin/env bash
# Bring a checkout of upstream, YolactEdge or YOLACT, to its pinned commit plus our patch, or leave it as it was.
set -euo pipefail
export LC_ALL=C # git's messages are quoted in ours

# The upstreams by name, which also names the patch and the default folder; the first is the default.
readonly NAMES=(yolact_edge yolact)
declare -rA PINS=(
    [yolact_edge]=a9a00281b33b3ac90253a4939773308a8f95e21d
    [yolact]=57b8f2d95e62e2e649b382f516ab41f949b57239
)
declare -rA URLS=(
    [yolact_edge]=https://github.com/haotian-liu/yolact_edge.git
    [yolact]=https://github.com/dbolya/yolact.git
)
# Where else the pinned commit is, for when the first cannot be cloned: the repository's new owner.
declare -rA OTHER_URLS=(
    [yolact_edge]=https://github.com/WisconsinAIVision/yolact_edge.git
    [yolact]=
)
declare -rA URL_VARIABLES=([yolact_edge]=YOLACT_EDGE_URL [yolact]=YOLACT_URL)
declare -rA NETWORKS=([yolact_edge]=yolact_edge/yolact.py [yolact]=yolact.py) # a file that only this upstream has

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Beside the checkout's own files, or, where this script came with an installed package, in the current folder.
THIRD_PARTY=third_party
if [[ -f $ROOT/pyproject.toml ]]; then THIRD_PARTY=$ROOT/third_party; fi
readonly ROOT THIRD_PARTY

NAME=             # the upstream of this call, and its facts: see choose()
PIN=
urls=()
PATCH=

scratch=          # temporary indexes and logs
partial=          # a clone that is not complete yet
half_patched=     # a checkout that git apply is writing to
touched=()        # the files that the patch changes

usage() {
    local name
    cat <<EOF
Usage: scripts/apply_patch.sh [--upstream=NAME] [DIR]

Patches upstream YolactEdge or YOLACT so that it runs on a CPU and can be cut at the FPN.
DIR is its checkout (default: third_party/NAME in this project's checkout, a folder that git ignores).
  - no DIR yet: clones upstream there at the pinned commit, then patches it
  - DIR is a clean checkout at the pinned commit (works offline): patches it
  - DIR is already patched: says so
  - anything else is refused with exit code 2, and DIR stays as it is
Untracked files are left alone and do not matter.

NAME is one of these (default: the one that DIR is a checkout of, else ${NAMES[0]}).
patches/README.md explains the patches.
EOF
    for name in "${NAMES[@]}"; do
        cat <<EOF

$name
  Pinned commit:  ${PINS[$name]}
  Patch:          patches/$name.patch
  Default DIR:    third_party/$name
  Environment:    ${URL_VARIABLES[$name]}  where to clone from, for a mirror
                  (default: ${URLS[$name]}${OTHER_URLS[$name]:+, or else
                  ${OTHER_URLS[$name]}})
EOF
    done
}

die() {
    printf 'apply_patch.sh: %s\n' "$*" >&2
    exit 2
}

# Set the upstream of this call and its facts.
choose() {
    NAME=$1
    [[ -n $NAME && -v PINS[$NAME] ]] || die "unknown upstream '$NAME', expected one of: ${NAMES[*]}."
    local variable=${URL_VARIABLES[$NAME]}
    PIN=${PINS[$NAME]}
    urls=("${!variable:-${URLS[$NAME]}}")
    if [[ -z ${!variable-} && -n ${OTHER_URLS[$NAME]} ]]; then urls+=("${OTHER_URLS[$NAME]}"); fi
    PATCH=$ROOT/patches/$NAME.patch
}

# Print which upstream DIR is a checkout of, by its commit or else by its files; nothing when it is none.
upstream_of() {
    local dir=$1 name head
    head=$(git -C "$dir" rev-parse --verify --quiet HEAD 2>/dev/null) || head=
    for name in "${NAMES[@]}"; do
        if [[ $head == "${PINS[$name]}" ]]; then echo "$name" && return; fi
    done
    for name in "${NAMES[@]}"; do
        if [[ -f $dir/${NETWORKS[$name]} ]]; then echo "$name" && return; fi
    done
}

# The line of a git log that says why.
reason() {
    grep -a -m 1 -E '^(fatal|error):' "$1" || tail -n 1 "$1"
}

# git in DIR on one of the indexes in $scratch.
on_index() {
    local index=$1 dir=$2
    shift 2
    GIT_INDEX_FILE=$scratch/$index git -C "$dir" "$@"
}

cleanup() {
    if [[ -n $half_patched ]]; then
        on_index clean "$half_patched" checkout-index --force -- "${touched[@]}"
    fi
    rm -rf -- ${scratch:+"$scratch"} ${partial:+"$partial"}
}

# Tracked files that the checkout's own index skips (skip-worktree, sparse checkout) and that are absent.
absent_by_choice() {
    local dir=$1 entry
    while IFS= read -r -d '' entry; do
        if [[ $entry == [Ss]' '* && ! -e $dir/${entry:2} ]]; then
            printf '%s\0' "${entry:2}"
        fi
    done < <(git -C "$dir" ls-files -v -z)
}

# Write two indexes of DIR, its HEAD ("clean") and its HEAD plus the patch ("patched"); its own index stays as it is.
write_indexes() {
    local dir=$1
    {
        on_index clean "$dir" read-tree HEAD &&
            absent_by_choice "$dir" | on_index clean "$dir" update-index -z --skip-worktree --stdin &&
            cp "$scratch/clean" "$scratch/patched" &&
            on_index patched "$dir" apply --cached --whitespace=nowarn "$PATCH"
    } 2>"$scratch/git.log" ||
        die "git cannot read all of $PIN in $dir ($(reason "$scratch/git.log")): clone upstream again."
}

# The tracked files of DIR that differ from one of these indexes; none means that its files are exactly that index.
differing_files() {
    local index=$1 dir=$2
    on_index "$index" "$dir" update-index -q --refresh >/dev/null || true
    on_index "$index" "$dir" diff-files --name-only
}

require_pinned_checkout() {
    local dir=$1 top head found
    [[ -d $dir ]] || die "$dir is a file, expected a git checkout of upstream at $PIN: name another folder."
    top=$(git -C "$dir" rev-parse --show-toplevel 2>"$scratch/git.log") ||
        die "$dir is no git checkout ($(reason "$scratch/git.log")), expected upstream at $PIN:" \
            "name its clone, or a folder that does not exist yet to have it cloned."
    [[ $top == "$(cd "$dir" && pwd -P)" ]] ||
        die "$dir is no git checkout of its own but a folder inside $top, expected upstream at $PIN:" \
            "name its clone, or a folder that does not exist yet to have it cloned."
    head=$(git -C "$dir" rev-parse --verify --quiet HEAD) || head="no commit"
    found=$(upstream_of "$dir")
    [[ ${found:-$NAME} == "$NAME" ]] ||
        die "$dir is a checkout of $found at $head, expected $NAME at $PIN:" \
            "name a folder of $NAME, or pass --upstream=$found."
    [[ $head == "$PIN" ]] ||
        die "$dir is at $head, expected $PIN: run 'git -C $dir checkout --detach $PIN', then this script again."
}

# Ends the script unless DIR has no change to a tracked file, staged or not.
require_clean() {
    local dir=$1 changed
    changed=$(
        differing_files clean "$dir" &&
            git -C "$dir" diff-index --cached --name-only HEAD
    )
    [[ -z $changed ]] ||
        die "$dir has changes to tracked files (first: ${changed%%$'\n'*}), expected upstream as committed or as" \
            "patched by this script: put them aside with 'git -C $dir stash', then run this script again."
}

# Patch a clean DIR; cleanup() puts its files back when this does not come to its end.
patch_checkout() {
    local dir=$1
    mapfile -t touched < <(git -C "$dir" apply --numstat "$PATCH" | cut -f 3)
    half_patched=$dir
    git -C "$dir" apply --whitespace=nowarn "$PATCH" 2>"$scratch/git.log" ||
        die "could not patch $dir ($(reason "$scratch/git.log")), its files are as before:" \
            "check that the folder is writable and the disk has room, then run this script again."
    half_patched=
}

# Clone URL at the pinned commit into $partial/checkout, without the example videos: nothing here reads them.
clone_pinned() {
    local url=$1 checkout=$partial/checkout
    rm -rf -- "$checkout"
    GIT_TERMINAL_PROMPT=0 git clone --no-checkout --filter=blob:none "$url" "$checkout" &&
        git -C "$checkout" config core.sparseCheckout true &&
        mkdir -p "$checkout/.git/info" &&
        printf '/*\n!/data/*.gif\n' >"$checkout/.git/info/sparse-checkout" &&
        git -C "$checkout" checkout --quiet --detach "$PIN"
}

clone_and_patch() {
    local dir=$1 base=$1 url failed= is_cloned=
    until [[ -d $base ]]; do base=$(dirname -- "$base"); done # missing parents are made when the clone is complete
    partial=$(mktemp -d "$base/.$NAME.XXXXXX" 2>"$scratch/git.log") ||
        die "cannot write to $base, where $dir belongs: name another folder."
    for url in "${urls[@]}"; do
        clone_pinned "$url" >"$scratch/git.log" 2>&1 && is_cloned=1 && break
        failed+="${failed:+, nor }$url at $PIN ($(reason "$scratch/git.log"))"
    done
    [[ -n $is_cloned ]] ||
        die "could not clone $failed: set ${URL_VARIABLES[$NAME]} to a mirror," \
            "or offline copy a checkout of upstream to this machine and name its folder."
    write_indexes "$partial/checkout"
    patch_checkout "$partial/checkout"
    if ! { mkdir -p -- "$(dirname -- "$dir")" && mv -- "$partial/checkout" "$dir"; } 2>"$scratch/git.log"; then
        die "cannot create $dir ($(reason "$scratch/git.log")): name another folder."
    fi
}

main() {
    local dir='' name='' folders=() variable differing
    while (($#)); do
        case $1 in
            -h | --help) usage && return ;;
            --upstream=*) name=${1#*=} && choose "$name" ;;
            --upstream)
                (($# > 1)) || die "--upstream has no value, expected one of: ${NAMES[*]}."
                name=$2 && choose "$name" && shift
                ;;
            -*) die "unknown option $1, expected --upstream=NAME and one folder, or neither: see --help." ;;
            *) folders+=("$1") ;;
        esac
        shift
    done
    ((${#folders[@]} <= 1)) || die "found ${#folders[@]} folders, expected one or none: see --help."
    command -v git >/dev/null || die "found no git on PATH, which pins and patches upstream: install it."
    # A git hook or alias exports GIT_DIR and others, which would point every command below at the wrong repository.
    while read -r variable; do unset "$variable"; done < <(git rev-parse --local-env-vars)
    dir=${folders[0]-}
    if [[ -z $name ]]; then
        if [[ -n $dir ]]; then name=$(upstream_of "$dir"); fi
        choose "${name:-${NAMES[0]}}"
    fi
    dir=${dir:-$THIRD_PARTY/$NAME}
    dir=${dir%/}
    scratch=$(mktemp -d)
    trap cleanup EXIT

    if [[ ! -e $dir && ! -L $dir ]]; then
        clone_and_patch "$dir"
        echo "Cloned and patched: $dir (upstream $PIN plus patches/$NAME.patch)."
        return
    fi
    require_pinned_checkout "$dir"
    write_indexes "$dir"
    differing=$(differing_files patched "$dir")
    if [[ -z $differing ]]; then
        echo "Already patched: $dir (upstream $PIN plus patches/$NAME.patch)."
        return
    fi
    require_clean "$dir"
    patch_checkout "$dir"
    echo "Patched: $dir (upstream $PIN plus patches/$NAME.patch)."
}

main "$@"
