"""scripts/apply_patch.sh: it pins, patches once, and refuses everything else without a trace.

Tests with a `checkout` need a real one of each upstream, named by YOLACT_EDGE_DIR and YOLACT_DIR; they use copies.
"""

import os
import shutil

import pytest
from projects import PROJECTS, ROOT, SCRIPT, YOLACT_EDGE

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
each_project = pytest.mark.parametrize("known", PROJECTS, ids=lambda project: project.name)
PIN = YOLACT_EDGE.pin  # the default
TITLES = {"yolact_edge": "YolactEdge", "yolact": "YOLACT"}


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


def write_network(folder, project):
    """Put the file there by which the script knows a project, untracked."""
    path = folder / project.network_file
    path.parent.mkdir(exist_ok=True)
    path.write_text("")


def assert_refused(result, *words):
    assert result.returncode == 2, result.stdout + result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("apply_patch.sh: ")
    assert result.stderr.count("\n") == 1, result.stderr
    for word in words:
        assert word in result.stderr


# ---- the patch file


@each_project
def test_patch_quotes_no_more_than_one_line_around_a_change(known):
    hunks = known.patch.read_text().split("\n@@ ")[1:]
    assert hunks
    for hunk in hunks:
        signs = "".join(line[:1] for line in hunk.split("\ndiff ")[0].splitlines()[1:])
        assert len(signs) - len(signs.lstrip(" ")) <= 1, hunk
        assert len(signs) - len(signs.rstrip(" ")) <= 1, hunk
        assert "   " not in signs, hunk  # between two changes: one line for each


@each_project
def test_readme_names_every_patched_file(known):
    readme = (ROOT / "patches" / "README.md").read_text()
    _, _, part = readme.partition(f"\n## {TITLES[known.name]}\n")
    part, _, _ = part.partition("\n## ")
    for name in sorted(known.patched_files):
        assert f"`{name}`" in part
    assert known.pin in readme
    assert known.pin in SCRIPT.read_text()


# ---- without upstream


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_names_the_default_folder_and_the_mirror_variable(apply_patch, option):
    result = apply_patch(option)
    assert result.returncode == 0
    assert result.stderr == ""
    for project in PROJECTS:
        places = (f"third_party/{project.name}\n", f"patches/{project.name}.patch\n")
        for word in (*places, project.url_variable, project.pin):
            assert word in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--force"], "unknown option --force, "),
        (["one", "two"], "found 2 folders, "),
        (["--upstream"], "--upstream has no value, expected one of: yolact_edge yolact."),
        (["--upstream=yolact_plus", "one"], "unknown upstream 'yolact_plus', expected one of: yolact_edge yolact."),
        (["--upstream", "", "one"], "unknown upstream '', "),
    ],
    ids=["unknown option", "two folders", "no upstream", "unknown upstream", "empty upstream"],
)
def test_wrong_arguments_are_refused(apply_patch, tmp_path, arguments, said):
    before = sorted(tmp_path.iterdir())
    assert_refused(apply_patch(*arguments), said)
    assert sorted(tmp_path.iterdir()) == before


def test_another_commit_is_refused(apply_patch, git, tiny):
    before = snapshot(tiny)
    assert_refused(apply_patch(tiny), git(tiny, "rev-parse", "HEAD").strip(), PIN, "git -C")
    assert snapshot(tiny) == before


@each_project
def test_another_commit_of_a_project_is_measured_by_its_own_pin(apply_patch, tiny, known):
    write_network(tiny, known)
    said = f"expected {known.pin}: run 'git -C {tiny} checkout --detach {known.pin}'"
    assert_refused(apply_patch(tiny), said)
    assert_refused(apply_patch(known.option, tiny), said)


@each_project
def test_a_checkout_of_the_other_project_is_refused(apply_patch, git, tiny, known):
    (other,) = set(PROJECTS) - {known}
    write_network(tiny, other)
    head = git(tiny, "rev-parse", "HEAD").strip()
    said = f"{tiny} is a checkout of {other.name} at {head}, expected {known.name} at {known.pin}: name a folder of "
    for words in ([known.option], ["--upstream", known.name]):
        assert_refused(apply_patch(*words, tiny), said, f"or pass {other.option}.")


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


@each_project
@pytest.mark.parametrize("names_it", [True, False], ids=["named", "default"])
def test_a_failing_clone_leaves_nothing_and_says_what_to_do_offline(apply_patch, tmp_path, known, names_it):
    before = sorted(tmp_path.iterdir())
    expected = known if names_it else YOLACT_EDGE
    urls = {project.url_variable: f"file:///nonexistent/{project.name}" for project in PROJECTS}
    result = apply_patch(*[known.option][: int(names_it)], f"new/deep/{known.name}", **urls)
    assert_refused(
        result, f"could not clone file:///nonexistent/{expected.name} at", "offline", f"set {expected.url_variable} to"
    )
    assert sorted(tmp_path.iterdir()) == before


@each_project
def test_a_mirror_without_the_pinned_commit_leaves_nothing(apply_patch, tmp_path, tiny, known):
    before = sorted(tmp_path.iterdir())
    result = apply_patch("new/upstream", known.option, **{known.url_variable: tiny.as_uri()})
    assert_refused(result, "could not clone", known.pin)
    assert sorted(tmp_path.iterdir()) == before


OWNERS = tuple(f"https://github.com/{owner}/yolact_edge.git" for owner in ("haotian-liu", "WisconsinAIVision"))


def instead_of(url, folder, config):
    """Variables by which git takes a folder in place of a URL; `config` is the file that says so."""
    config.write_text(f'[url "{folder.as_uri()}"]\ninsteadOf = {url}\n')
    return {"GIT_CONFIG_GLOBAL": str(config), YOLACT_EDGE.url_variable: ""}


def test_the_new_owner_is_asked_when_the_first_cannot_be_cloned(apply_patch, tmp_path, tiny):
    """The pinned commit is also in WisconsinAIVision/yolact_edge (first_contact.md, Data and weights)."""
    variables = instead_of(OWNERS[1], tiny, tmp_path / "gitconfig")
    before = sorted(tmp_path.iterdir())
    result = apply_patch("new/upstream", **variables)
    assert_refused(result, f"could not clone {OWNERS[0]} at {PIN} (fatal: ", f"), nor {OWNERS[1]} at {PIN} (fatal: ")
    assert result.stderr.count("not allowed") == 1  # the second is read
    assert sorted(tmp_path.iterdir()) == before
    assert OWNERS[1] in apply_patch("--help").stdout


def test_missing_git_is_named(apply_patch, tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "cat", "cp", "cut", "dirname", "grep", "head", "mkdir", "mktemp", "mv", "rm", "tail"):
        (programs / name).symlink_to(shutil.which(name))
    assert_refused(apply_patch(tmp_path / "new", PATH=str(programs)), "git", "install")
    assert not (tmp_path / "new").exists()


# ---- with upstream


def test_applies_once_and_says_so_the_second_time(apply_patch, git, checkout, project):
    first = apply_patch(checkout)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == f"Patched: {checkout} (upstream {project.pin} plus patches/{project.name}.patch).\n"
    assert changed_files(git, checkout) == project.patched_files
    assert git(checkout, "rev-parse", "HEAD").strip() == project.pin

    before = snapshot(checkout)
    second = apply_patch(project.option, checkout)
    assert (second.returncode, second.stderr) == (0, "")
    assert second.stdout.startswith("Already patched: ")
    assert snapshot(checkout) == before


def test_a_staged_patch_is_recognised_too(apply_patch, git, checkout):
    assert apply_patch(checkout).returncode == 0
    git(checkout, "add", "--all")
    assert apply_patch(checkout).stdout.startswith("Already patched: ")


def test_the_patch_applies_by_hand_and_backwards(git, checkout, project):
    clean = snapshot(checkout)
    git(checkout, "apply", str(project.patch))
    assert snapshot(checkout) != clean
    git(checkout, "apply", "--reverse", str(project.patch))
    assert snapshot(checkout) == clean


@pytest.mark.parametrize(
    "change",
    [
        lambda git, folder, patch: (folder / "eval.py").write_text("print(1)\n"),
        lambda git, folder, patch: (folder / "eval.py").unlink(),
        lambda git, folder, patch: git(folder, "rm", "--quiet", "--cached", "README.md"),
        lambda git, folder, patch: ((folder / "new.py").write_text(""), git(folder, "add", "new.py")),
        lambda git, folder, patch: git(folder, "apply", "--include=eval.py", str(patch)),
        lambda git, folder, patch: (git(folder, "update-index", "--assume-unchanged", "train.py"),
                             (folder / "train.py").write_text("")),
    ],
    ids=["edited", "deleted", "removed from the index", "added to the index", "half patched", "edited in hiding"],
)  # fmt: skip
def test_changes_to_tracked_files_are_refused(apply_patch, git, checkout, project, change):
    change(git, checkout, project.patch)
    before = snapshot(checkout)
    assert_refused(apply_patch(checkout), "changes to tracked files", "stash")
    assert snapshot(checkout) == before


def test_patched_and_then_edited_is_refused(apply_patch, checkout, project):
    assert apply_patch(checkout).returncode == 0
    with (checkout / project.network_file).open("a") as file:
        file.write("# mine\n")
    assert_refused(apply_patch(checkout), "first: ", "stash")


def test_untracked_files_do_not_count_as_changes(apply_patch, checkout):
    (checkout / "__pycache__").mkdir()
    (checkout / "__pycache__" / "eval.pyc").write_bytes(b"x")
    (checkout / "notes.txt").write_text("mine\n")
    assert apply_patch(checkout).stdout.startswith("Patched: ")
    assert apply_patch(checkout).stdout.startswith("Already patched: ")
    assert (checkout / "notes.txt").read_text() == "mine\n"


def test_the_repository_of_a_surrounding_git_hook_is_not_touched(apply_patch, checkout, tiny):
    result = apply_patch(checkout, GIT_DIR=str(tiny / ".git"), GIT_WORK_TREE=str(tiny))
    assert result.stdout.startswith("Patched: ")
    assert snapshot(tiny) == {"eval.py": b"print(1)\n"}


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


def test_clones_and_patches_from_a_local_mirror(apply_patch, git, checkout, project, tmp_path):
    git(checkout, "config", "uploadpack.allowFilter", "true")
    before = set(tmp_path.iterdir())
    result = apply_patch("new/deep/clone", project.option, **{project.url_variable: checkout.as_uri()})
    assert (result.returncode, result.stderr) == (0, "")
    clone = tmp_path / "new" / "deep" / "clone"
    assert set(tmp_path.iterdir()) == before | {tmp_path / "new"}
    assert list(clone.parent.iterdir()) == [clone]
    assert git(clone, "rev-parse", "HEAD").strip() == project.pin
    assert git(clone, "rev-parse", "--abbrev-ref", "HEAD").strip() == "HEAD"  # detached
    assert changed_files(git, clone) == project.patched_files
    assert apply_patch(clone).stdout.startswith("Already patched: ")


def test_a_clone_of_the_new_owner_is_patched(apply_patch, git, checkout, project, tmp_path):
    if project is not YOLACT_EDGE:
        pytest.skip("has one owner")
    git(checkout, "config", "uploadpack.allowFilter", "true")
    result = apply_patch("clone", **instead_of(OWNERS[1], checkout, tmp_path / "gitconfig"))
    assert (result.returncode, result.stderr) == (0, "")
    assert git(tmp_path / "clone", "rev-parse", "HEAD").strip() == project.pin
