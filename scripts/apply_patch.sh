#!/usr/bin/env bash
# Bring a checkout of upstream YolactEdge to the pinned commit plus patches/yolact_edge.patch, or leave it as it was.
set -euo pipefail
export LC_ALL=C # git's messages are quoted in ours

readonly PIN=a9a00281b33b3ac90253a4939773308a8f95e21d
readonly URL=${YOLACT_EDGE_URL:-https://github.com/haotian-liu/yolact_edge.git}
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT
readonly DEFAULT_DIR=$ROOT/third_party/yolact_edge
readonly PATCH=$ROOT/patches/yolact_edge.patch

scratch=          # temporary indexes and logs
partial=          # a clone that is not complete yet
half_patched=     # a checkout that git apply is writing to
touched=()        # the files that the patch changes

usage() {
    cat <<EOF
Usage: scripts/apply_patch.sh [DIR]

Patches upstream YolactEdge so that it runs on a CPU and can be cut at the FPN.
DIR is its checkout (default: third_party/yolact_edge in this project, a folder that git ignores).
  - no DIR yet: clones upstream there at the pinned commit, then patches it
  - DIR is a clean checkout at the pinned commit (works offline): patches it
  - DIR is already patched: says so
  - anything else is refused with exit code 2, and DIR stays as it is
Untracked files are left alone and do not matter.

Pinned commit:  $PIN
Patch:          patches/yolact_edge.patch, explained in patches/README.md
Environment:    YOLACT_EDGE_URL  where to clone from, for a mirror
                (default: https://github.com/haotian-liu/yolact_edge.git)
EOF
}

die() {
    printf 'apply_patch.sh: %s\n' "$*" >&2
    exit 2
}

# The line of a git log that says why.
reason() {
    grep -m 1 -E '^(fatal|error):' "$1" || tail -n 1 "$1"
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
    local dir=$1 top head
    [[ -d $dir ]] || die "$dir is a file, expected a git checkout of upstream at $PIN: name another folder."
    top=$(git -C "$dir" rev-parse --show-toplevel 2>"$scratch/git.log") ||
        die "$dir is no git checkout ($(reason "$scratch/git.log")), expected upstream at $PIN:" \
            "name its clone, or a folder that does not exist yet to have it cloned."
    [[ $top == "$(cd "$dir" && pwd -P)" ]] ||
        die "$dir is no git checkout of its own but a folder inside $top, expected upstream at $PIN:" \
            "name its clone, or a folder that does not exist yet to have it cloned."
    head=$(git -C "$dir" rev-parse --verify --quiet HEAD) || head="no commit"
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

# Clone upstream at the pinned commit into $partial/checkout, without the example videos: nothing here reads them.
clone_pinned() {
    local checkout=$partial/checkout
    GIT_TERMINAL_PROMPT=0 git clone --no-checkout --filter=blob:none "$URL" "$checkout" &&
        git -C "$checkout" config core.sparseCheckout true &&
        mkdir -p "$checkout/.git/info" &&
        printf '/*\n!/data/*.gif\n' >"$checkout/.git/info/sparse-checkout" &&
        git -C "$checkout" checkout --quiet --detach "$PIN"
}

clone_and_patch() {
    local dir=$1 base=$1
    until [[ -d $base ]]; do base=$(dirname -- "$base"); done # missing parents are made when the clone is complete
    partial=$(mktemp -d "$base/.yolact_edge.XXXXXX" 2>"$scratch/git.log") ||
        die "cannot write to $base, where $dir belongs: name another folder."
    clone_pinned >"$scratch/git.log" 2>&1 ||
        die "could not clone $URL at $PIN ($(reason "$scratch/git.log")): set YOLACT_EDGE_URL to a mirror," \
            "or offline copy a checkout of upstream to this machine and name its folder."
    write_indexes "$partial/checkout"
    patch_checkout "$partial/checkout"
    if ! { mkdir -p -- "$(dirname -- "$dir")" && mv -- "$partial/checkout" "$dir"; } 2>"$scratch/git.log"; then
        die "cannot create $dir ($(reason "$scratch/git.log")): name another folder."
    fi
}

main() {
    case ${1-} in
        -h | --help) usage && return ;;
        -*) die "unknown option $1, expected one folder or none: see --help." ;;
    esac
    (($# <= 1)) || die "found $# arguments, expected one folder or none: see --help."
    command -v git >/dev/null || die "found no git on PATH, which pins and patches upstream: install it."

    local dir=${1:-$DEFAULT_DIR} variable differing
    dir=${dir%/}
    # A git hook or alias exports GIT_DIR and others, which would point every command below at the wrong repository.
    while read -r variable; do unset "$variable"; done < <(git rev-parse --local-env-vars)
    scratch=$(mktemp -d)
    trap cleanup EXIT

    if [[ ! -e $dir && ! -L $dir ]]; then
        clone_and_patch "$dir"
        echo "Cloned and patched: $dir (upstream $PIN plus patches/yolact_edge.patch)."
        return
    fi
    require_pinned_checkout "$dir"
    write_indexes "$dir"
    differing=$(differing_files patched "$dir")
    if [[ -z $differing ]]; then
        echo "Already patched: $dir (upstream $PIN plus patches/yolact_edge.patch)."
        return
    fi
    require_clean "$dir"
    patch_checkout "$dir"
    echo "Patched: $dir (upstream $PIN plus patches/yolact_edge.patch)."
}

main "$@"
