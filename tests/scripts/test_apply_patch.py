"""scripts/apply_patch.sh: it pins, patches once, and refuses everything else without a trace.

The tests marked `upstream` need a real checkout of upstream, named by YOLACT_EDGE_DIR; they work on copies of it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "apply_patch.sh"
PATCH = ROOT / "patches" / "yolact_edge.patch"
PIN = "a9a00281b33b3ac90253a4939773308a8f95e21d"
PATCHED_FILES = {
    "eval.py",
    "yolact_edge/data/coco.py",
    "yolact_edge/data/flying_chairs.py",
    "yolact_edge/data/youtube_vis.py",
    "yolact_edge/utils/augmentations.py",
    "yolact_edge/utils/cython_nms.pyx",
    "yolact_edge/yolact.py",
}

upstream = pytest.mark.upstream
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
needs_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="upstream compiles cython_nms with gcc")
pytestmark = needs_git


@pytest.fixture
def env(tmp_path):
    """An environment of its own: no global git config, a home for pyximport's builds, no network."""
    home = tmp_path / "home"
    home.mkdir()
    ours = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    ours.update(
        HOME=str(home),
        GIT_CONFIG_GLOBAL=os.devnull,
        GIT_CONFIG_NOSYSTEM="1",
        GIT_AUTHOR_NAME="test",
        GIT_AUTHOR_EMAIL="test@example.invalid",
        GIT_COMMITTER_NAME="test",
        GIT_COMMITTER_EMAIL="test@example.invalid",
        GIT_ALLOW_PROTOCOL="file",
        YOLACT_EDGE_URL="file:///nonexistent",
    )
    return ours


@pytest.fixture
def git(env):
    def run(folder, *arguments):
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout

    return run


@pytest.fixture
def apply_patch(env, tmp_path):
    def run(*arguments, **variables):
        command = [shutil.which("bash"), str(SCRIPT), *map(str, arguments)]
        environment = {**env, **variables}
        return subprocess.run(command, check=False, env=environment, cwd=tmp_path, capture_output=True, text=True)

    return run


@pytest.fixture
def tiny(tmp_path, git):
    """A git checkout that is not upstream: one file, one commit."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "eval.py").write_text("print(1)\n")
    git(folder, "add", "eval.py")
    git(folder, "commit", "--quiet", "--message", "one")
    return folder


@pytest.fixture
def checkout(tmp_path, git):
    """A clean copy of upstream at the pinned commit; files that the given checkout skips stay skipped."""
    given = os.environ.get("YOLACT_EDGE_DIR")
    if not given:
        pytest.skip("YOLACT_EDGE_DIR names no checkout of upstream YolactEdge")
    folder = tmp_path / "upstream"
    shutil.copytree(given, folder, symlinks=True)
    git(folder, "checkout", "--quiet", "--force", "--detach", PIN)
    git(folder, "clean", "--quiet", "-xd", "--force")
    assert git(folder, "status", "--porcelain") == ""
    return folder


def snapshot(folder):
    """Every file outside .git with its bytes."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if ".git" not in path.relative_to(folder).parts
    }


def changed_files(git, folder):
    return set(git(folder, "diff", "--name-only", "HEAD").split())


def assert_refused(result, *words):
    assert result.returncode == 2, result.stdout + result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("apply_patch.sh: ")
    assert result.stderr.count("\n") == 1, result.stderr
    for word in words:
        assert word in result.stderr


# ---- the patch file


def test_patch_quotes_no_more_than_one_line_around_a_change():
    hunks = PATCH.read_text().split("\n@@ ")[1:]
    assert hunks
    for hunk in hunks:
        signs = "".join(line[:1] for line in hunk.split("\ndiff ")[0].splitlines()[1:])
        assert len(signs) - len(signs.lstrip(" ")) <= 1, hunk
        assert len(signs) - len(signs.rstrip(" ")) <= 1, hunk
        assert "   " not in signs, hunk  # between two changes: one line for each


def test_readme_names_every_patched_file():
    readme = (ROOT / "patches" / "README.md").read_text()
    for name in sorted(PATCHED_FILES):
        assert name in readme
    assert PIN in readme
    assert PIN in SCRIPT.read_text()


# ---- without upstream


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_names_the_default_folder_and_the_mirror_variable(apply_patch, option):
    result = apply_patch(option)
    assert result.returncode == 0
    assert result.stderr == ""
    for word in ("third_party/yolact_edge", "YOLACT_EDGE_URL", PIN):
        assert word in result.stdout


@pytest.mark.parametrize("arguments", [["--force"], ["one", "two"]], ids=["unknown option", "two folders"])
def test_wrong_arguments_are_refused(apply_patch, tmp_path, arguments):
    before = sorted(tmp_path.iterdir())
    assert_refused(apply_patch(*arguments), "--help")
    assert sorted(tmp_path.iterdir()) == before


def test_another_commit_is_refused(apply_patch, git, tiny):
    before = snapshot(tiny)
    assert_refused(apply_patch(tiny), git(tiny, "rev-parse", "HEAD").strip(), PIN, "git -C")
    assert snapshot(tiny) == before


def test_a_repository_without_a_commit_is_refused(apply_patch, git, tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    git(folder, "init", "--quiet")
    assert_refused(apply_patch(folder), "no commit", PIN)


def test_a_folder_that_is_no_checkout_is_refused(apply_patch, tmp_path):
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "eval.py").write_text("print(1)\n")
    assert_refused(apply_patch(folder), str(folder), "no git checkout", PIN)
    assert snapshot(folder) == {"eval.py": b"print(1)\n"}


def test_a_folder_inside_another_checkout_is_refused(apply_patch, tiny):
    folder = tiny / "inside"
    folder.mkdir()
    assert_refused(apply_patch(folder), "a folder inside", str(tiny), PIN)


@pytest.mark.parametrize("make", [lambda path: path.write_text("x"), lambda path: path.symlink_to("nowhere")])
def test_a_file_is_refused(apply_patch, tmp_path, make):
    path = tmp_path / "file"
    make(path)
    assert_refused(apply_patch(path), "is a file", PIN)
    assert os.path.lexists(path)


def test_a_failing_clone_leaves_nothing_and_says_what_to_do_offline(apply_patch, tmp_path):
    before = sorted(tmp_path.iterdir())
    result = apply_patch("new/deep/yolact_edge", YOLACT_EDGE_URL="file:///nonexistent")
    assert_refused(result, "file:///nonexistent", "offline", "YOLACT_EDGE_URL")
    assert sorted(tmp_path.iterdir()) == before


def test_a_mirror_without_the_pinned_commit_leaves_nothing(apply_patch, tmp_path, tiny):
    before = sorted(tmp_path.iterdir())
    assert_refused(apply_patch("new/yolact_edge", YOLACT_EDGE_URL=tiny.as_uri()), "could not clone", PIN)
    assert sorted(tmp_path.iterdir()) == before


def test_missing_git_is_named(apply_patch, tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "cat", "cp", "cut", "dirname", "grep", "head", "mkdir", "mktemp", "mv", "rm", "tail"):
        (programs / name).symlink_to(shutil.which(name))
    assert_refused(apply_patch(tmp_path / "new", PATH=str(programs)), "git", "install")
    assert not (tmp_path / "new").exists()


# ---- with upstream


@upstream
def test_applies_once_and_says_so_the_second_time(apply_patch, git, checkout):
    first = apply_patch(checkout)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.startswith("Patched: ")
    assert changed_files(git, checkout) == PATCHED_FILES
    assert git(checkout, "rev-parse", "HEAD").strip() == PIN

    before = snapshot(checkout)
    second = apply_patch(checkout)
    assert (second.returncode, second.stderr) == (0, "")
    assert second.stdout.startswith("Already patched: ")
    assert snapshot(checkout) == before


@upstream
def test_a_staged_patch_is_recognised_too(apply_patch, git, checkout):
    assert apply_patch(checkout).returncode == 0
    git(checkout, "add", "--all")
    assert apply_patch(checkout).stdout.startswith("Already patched: ")


@upstream
def test_the_patch_applies_by_hand_and_backwards(git, checkout):
    clean = snapshot(checkout)
    git(checkout, "apply", str(PATCH))
    assert snapshot(checkout) != clean
    git(checkout, "apply", "--reverse", str(PATCH))
    assert snapshot(checkout) == clean


@upstream
@pytest.mark.parametrize(
    "change",
    [
        lambda git, folder: (folder / "eval.py").write_text("print(1)\n"),
        lambda git, folder: (folder / "eval.py").unlink(),
        lambda git, folder: git(folder, "rm", "--quiet", "--cached", "README.md"),
        lambda git, folder: ((folder / "new.py").write_text(""), git(folder, "add", "new.py")),
        lambda git, folder: git(folder, "apply", "--include=eval.py", str(PATCH)),
        lambda git, folder: (git(folder, "update-index", "--assume-unchanged", "setup.py"),
                             (folder / "setup.py").write_text("")),
    ],
    ids=["edited", "deleted", "removed from the index", "added to the index", "half patched", "edited in hiding"],
)  # fmt: skip
def test_changes_to_tracked_files_are_refused(apply_patch, git, checkout, change):
    change(git, checkout)
    before = snapshot(checkout)
    assert_refused(apply_patch(checkout), "changes to tracked files", "stash")
    assert snapshot(checkout) == before


@upstream
def test_patched_and_then_edited_is_refused(apply_patch, checkout):
    assert apply_patch(checkout).returncode == 0
    with (checkout / "yolact_edge" / "yolact.py").open("a") as file:
        file.write("# mine\n")
    assert_refused(apply_patch(checkout), "first: ", "stash")


@upstream
def test_untracked_files_do_not_count_as_changes(apply_patch, checkout):
    (checkout / "__pycache__").mkdir()
    (checkout / "__pycache__" / "eval.pyc").write_bytes(b"x")
    (checkout / "notes.txt").write_text("mine\n")
    assert apply_patch(checkout).stdout.startswith("Patched: ")
    assert apply_patch(checkout).stdout.startswith("Already patched: ")
    assert (checkout / "notes.txt").read_text() == "mine\n"


@upstream
def test_the_repository_of_a_surrounding_git_hook_is_not_touched(apply_patch, checkout, tiny):
    result = apply_patch(checkout, GIT_DIR=str(tiny / ".git"), GIT_WORK_TREE=str(tiny))
    assert result.stdout.startswith("Patched: ")
    assert snapshot(tiny) == {"eval.py": b"print(1)\n"}


@upstream
def test_an_interrupted_patch_is_taken_back(apply_patch, checkout, tmp_path):
    """A git that dies after it wrote the first file stands for a full disk."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "git").write_text(
        "#!/usr/bin/env bash\n"
        'case "$*" in\n'
        '    *"apply --whitespace=nowarn /"*) echo half >"$2/eval.py"; echo "error: no space left" >&2; exit 1 ;;\n'
        "esac\n"
        f'exec "{shutil.which("git")}" "$@"\n'
    )
    (programs / "git").chmod(0o755)
    before = snapshot(checkout)
    assert_refused(apply_patch(checkout, PATH=f"{programs}:{os.environ['PATH']}"), "no space left")
    assert snapshot(checkout) == before
    assert apply_patch(checkout).returncode == 0


@upstream
def test_clones_and_patches_from_a_local_mirror(apply_patch, git, checkout, tmp_path):
    git(checkout, "config", "uploadpack.allowFilter", "true")
    before = set(tmp_path.iterdir())
    result = apply_patch("new/deep/yolact_edge", YOLACT_EDGE_URL=checkout.as_uri())
    assert (result.returncode, result.stderr) == (0, "")
    clone = tmp_path / "new" / "deep" / "yolact_edge"
    assert set(tmp_path.iterdir()) == before | {tmp_path / "new"}
    assert list(clone.parent.iterdir()) == [clone]
    assert git(clone, "rev-parse", "HEAD").strip() == PIN
    assert git(clone, "rev-parse", "--abbrev-ref", "HEAD").strip() == "HEAD"  # detached
    assert changed_files(git, clone) == PATCHED_FILES
    assert apply_patch(clone).stdout.startswith("Already patched: ")


FORWARD = """
import torch
from yolact_edge.data import cfg, set_cfg
from yolact_edge.yolact import Yolact
set_cfg("yolact_edge_mobilenetv2_config")
torch.manual_seed(0)
net = Yolact(training=False)
net.eval()  # returns None upstream
with torch.no_grad():
    net.prediction_layers[0].conf_layer.weight *= 300  # else no class of a random net reaches the threshold, 0.05
    x = torch.randn(1, 3, 550, 550)
    outs, proto_out = net(x)
    whole = net(x, extras={"backbone": "full", "moving_statistics": None})["pred_outs"]
    for use_fast_nms in (True, False):
        net.detect.use_fast_nms = use_fast_nms
        found = net.postprocess(outs, proto_out)
print(type(outs).__name__, [tuple(level.shape) for level in outs], tuple(proto_out.shape))
print(len(found), sorted(found[0]), all(torch.equal(found[0][key], whole[0][key]) for key in found[0]))
"""


@upstream
@needs_compiler
def test_patched_upstream_runs_on_the_cpu(apply_patch, checkout, env):
    for module in ("torch", "cv2", "Cython", "pycocotools"):
        pytest.importorskip(module)
    assert apply_patch(checkout).returncode == 0
    command = [sys.executable, "-c", FORWARD]
    result = subprocess.run(command, check=False, env=env, cwd=checkout, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    shapes, detections = result.stdout.splitlines()[-2:]
    levels = [(1, 256, size, size) for size in (69, 35, 18, 9, 5)]
    assert shapes == f"list {levels} (1, 138, 138, 32)"
    assert detections == "1 ['box', 'class', 'mask', 'proto', 'score'] True"
