"""Which code runs: this checkout's and its .venv's, whatever the current folder and PYTHONPATH have."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from factories import CHECKOUT

from yolact_ascend import environment, process
from yolact_ascend.environment import environment_of_our_python, prefer_own_packages
from yolact_ascend.process import own_command

IS_OWN = Path(sys.prefix).resolve() == (CHECKOUT / ".venv").resolve()
USERS = "raise RuntimeError('a module of the user')\n"
# What a verb imports that reads weights and pictures, and what starts a worker process.
SHADOWS = ("queue.py", "json.py", "random.py", "socket.py", "tables.py", "numpy/__init__.py", "torch.py", "argparse.py")


@pytest.fixture
def users_folder(tmp_path, monkeypatch):
    """The current folder, full of files with names of Python's modules, libraries, and this package."""
    for name in (*SHADOWS, "yolact_ascend/__init__.py", "yolact_ascend/cli/main.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(USERS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words, **variables):
    env = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    return subprocess.run([*map(str, words)], env=env, capture_output=True, text=True, check=False)


def draw(folder):
    return ["draw", f"--save_path={folder}/drawn", "--train_images=0", "--val_images=1"]


def preprocess(folder):
    drawn = [f"--image_path={folder}/drawn/val2017", f"--json_file={folder}/drawn/annotations/instances_val2017.json"]
    return ["preprocess", *drawn, f"--save_path={folder}/inputs", "--workers=1"]


@pytest.mark.skipif(not IS_OWN, reason="the tests do not run in the checkout's .venv")
def test_our_stages_run_our_code_in_any_folder(users_folder):
    """Also their worker processes, which Python starts with -c."""
    for words in (draw(users_folder), preprocess(users_folder)):
        done = run(*own_command(*words), PYTHONPATH=users_folder, PYTHONHOME="/nowhere")
        assert done.returncode == 0, done.stderr


def test_the_package_by_its_name_finds_pythons_modules_in_any_folder(users_folder):
    """By hand: `-m` reads the package's name in the current folder first, and nothing else."""
    for name in ("yolact_ascend/__init__.py", "yolact_ascend/cli/main.py", "socket.py"):
        (users_folder / name).unlink()
    (users_folder / "yolact_ascend" / "cli").rmdir()
    (users_folder / "yolact_ascend").rmdir()
    done = run(sys.executable, "-m", "yolact_ascend", *draw(users_folder))
    assert done.returncode == 0, done.stderr


def test_a_checkout_that_is_not_installed_runs_by_its_path(users_folder):
    done = run(sys.executable, "-S", "-I", CHECKOUT / "yolact_ascend", "--version")
    assert done.stdout.startswith("yolact-ascend "), done.stderr


def test_no_module_of_the_package_has_the_name_of_one_of_pythons():
    """Started by its path, the package's folder is searched first until its first line has run."""
    if sys.version_info < (3, 10):
        pytest.skip("Python 3.9 does not list its modules")
    assert not {path.stem for path in (CHECKOUT / "yolact_ascend").iterdir()} & set(sys.stdlib_module_names)


@pytest.mark.parametrize(
    ("has_own", "version", "writes", "flags"),
    [
        (True, (3, 9), True, ["-I"]),
        (True, (3, 13), False, ["-I", "-B"]),
        (False, (3, 11), True, ["-P"]),
        (False, (3, 9), True, []),
    ],
)
def test_the_command_of_a_stage_can_be_pasted_where_the_run_was_started(monkeypatch, has_own, version, writes, flags):
    monkeypatch.setattr(process, "has_own_packages", lambda: has_own)
    monkeypatch.setattr(sys, "version_info", version)
    monkeypatch.setattr(sys, "dont_write_bytecode", not writes)
    monkeypatch.setattr(sys, "executable", f"{CHECKOUT}/.venv/bin/python")
    monkeypatch.chdir(CHECKOUT)
    assert own_command("infer") == [".venv/bin/python", *flags, "yolact_ascend", "infer"]
    monkeypatch.chdir("/")
    assert own_command() == [f"{CHECKOUT}/.venv/bin/python"[1:], *flags, f"{CHECKOUT}/yolact_ascend"[1:]]
    monkeypatch.chdir("/usr")
    assert own_command() == [f"{CHECKOUT}/.venv/bin/python", *flags, f"{CHECKOUT}/yolact_ascend"]


@pytest.mark.parametrize(
    ("has_own", "variable", "path"),
    [
        (True, "/foreign:/more", ["/own", "{cwd}", "/site", "/foreign", "/more"]),
        (True, "/foreign:", ["/own", "/more", "/site", "/foreign", "{cwd}"]),
        (True, "", ["/own", "/foreign", "/more", "{cwd}", "/site"]),
        (False, "/foreign", ["/own", "/foreign", "/more", "{cwd}", "/site"]),
    ],
)
def test_pythonpath_is_searched_last_where_the_venv_has_all(monkeypatch, tmp_path, has_own, variable, path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(environment, "has_own_packages", lambda: has_own)
    monkeypatch.setattr(sys, "path", ["/own", "/foreign", "/more", str(tmp_path), "/site"])
    monkeypatch.setenv("PYTHONPATH", variable)
    prefer_own_packages()
    expected = [name.format(cwd=tmp_path) for name in path]
    assert [name for name in sys.path if name in expected] == expected


@pytest.mark.parametrize(("has_own", "packages"), [(True, "/stand-ins"), (False, "/stand-ins:/foreign")])
def test_programs_of_our_python_find_its_packages(monkeypatch, has_own, packages):
    monkeypatch.setattr(environment, "has_own_packages", lambda: has_own)
    given = {"PATH": "/usr/bin", "PYTHONPATH": "/foreign", "PYTHONHOME": "/nowhere", "HOME": "/root"}
    found = environment_of_our_python(given, Path("/stand-ins"))
    assert found == {
        **{"PATH": f"{Path(sys.executable).parent}:/usr/bin", "HOME": "/root"},
        **{"PYTHONPATH": packages, "PYTHONSAFEPATH": "1"},
    }
    assert given["PYTHONHOME"] == "/nowhere"
