"""scripts/setup.sh, run_all.sh and test.sh: on any host they make .venv whole once, and run this checkout's code."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from factories import CHECKOUT
from fake_python import (
    FAILING,
    JOURNAL,
    NO_ENSUREPIP,
    OFFLINE,
    PIP_CONFIG,
    PIP_VERSION,
    SLOW,
    add_package,
    make_python,
)

SCRIPTS = ("setup.sh", "run_all.sh", "test.sh")
INSTALLS = "Setting up"
EXTRAS = {  # and a package of each
    **{"build": "setuptools", "onnxruntime": "onnxruntime", "export": "torch", "train": "matplotlib"},
    **{"openvino": "openvino", "track": "scipy", "track-alone": "trackers", "cluster": "pyarrow", "dev": "pytest"},
}


class Host:
    """A checkout and the Python on PATH of a machine, both pretended, and its shell."""

    def __init__(self, folder: Path, name: str = "checkout") -> None:
        self.folder = folder
        self.python = make_python(f"{folder}/python")
        self.checkout = folder / name
        (self.checkout / "scripts").mkdir(parents=True)
        for script in SCRIPTS:
            shutil.copy(CHECKOUT / "scripts" / script, self.checkout / "scripts")
        (self.checkout / "pyproject.toml").touch()
        (self.checkout / "requirements.txt").write_text("numpy\n")
        for extra, package in EXTRAS.items():
            (self.checkout / f"requirements-{extra}.txt").write_text(f"{package}\n")
        self.path = f"{folder}/python/bin:/usr/bin:/bin"

    @property
    def venv(self) -> Path:
        return self.checkout / ".venv"

    @property
    def packages(self) -> Path:
        return self.venv / "lib" / "python3.11" / "site-packages"

    def pip_says(self, name: str, text: str) -> None:
        (self.folder / "python" / name).write_text(text)

    def flaw(self, name: str, is_there: bool = True) -> None:
        path = self.folder / "python" / name
        path.touch() if is_there else path.unlink()

    def start(self, *words: str, script: str | Path = "setup.sh", cwd: Path | None = None, **variables: str):
        env = {"PATH": self.path, "HOME": str(self.folder), **variables}
        command = ["bash", self.checkout / "scripts" / script, *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=env, cwd=cwd or self.folder, **pipes)

    def run(self, *words: str, **options) -> subprocess.CompletedProcess:
        process = self.start(*words, **options)
        out, err = process.communicate(timeout=600)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def set_up(self, *words: str, **options) -> str:
        """Set up, which works; return what was said."""
        done = self.run(*words, **options)
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
        return done.stderr

    def calls(self, *words: str) -> list[dict]:
        """What its Python and environments of it were asked to do, in commands that begin with these words."""
        journal = self.folder / "python" / JOURNAL
        entries = [ast.literal_eval(line) for line in journal.read_text().splitlines()] if journal.exists() else []
        return [entry for entry in entries if entry["words"][: len(words)] == list(words)]

    def is_whole(self) -> bool:
        names = ("numpy", "yolact_ascend", "pip")
        return all((self.packages / f"{name}-1.dist-info" / "RECORD").exists() for name in names)


@pytest.fixture
def host(tmp_path) -> Host:
    return Host(tmp_path)


def test_the_first_time_everything_is_installed_and_then_nothing(host):
    assert INSTALLS in host.set_up() and host.is_whole()
    before = host.calls()
    assert host.set_up() == ""
    assert host.calls() == before


def test_the_set_up_of_the_tests_is_one_for_runs_too(host):
    host.set_up("dev")
    assert host.set_up() == ""
    (host.checkout / "requirements-dev.txt").write_text("pytest\nruff\n")
    assert host.set_up() == ""
    assert INSTALLS in host.set_up("dev")
    assert (host.packages / "ruff-1.dist-info").exists()


def test_the_runtime_is_set_up_without_pytorch_and_completed_later(host):
    said = host.set_up("runtime")
    assert "without PyTorch" in said and host.is_whole()
    assert (host.packages / "onnxruntime-1.dist-info").exists()
    assert not (host.packages / "torch-1.dist-info").exists()
    assert host.set_up("runtime") == ""
    assert INSTALLS in host.set_up()
    assert (host.packages / "torch-1.dist-info").exists()
    assert host.set_up() == host.set_up("runtime") == ""  # which it contains


def test_openvino_is_added_when_it_is_asked_for(host):
    host.set_up()
    assert not (host.packages / "openvino-1.dist-info").exists()
    said = host.set_up("openvino")
    assert "target=openvino: adding OpenVINO to" in said and INSTALLS not in said
    assert (host.packages / "openvino-1.dist-info").exists()
    assert host.set_up("openvino") == host.set_up() == ""
    assert INSTALLS in host.set_up("dev")  # which contains it
    assert host.set_up("openvino") == ""


@pytest.mark.parametrize(("version", "is_renewed"), [("9.0.3", True), ("21.2.4", True), ("21.3", False)])
def test_a_pip_that_is_too_old_is_renewed_first(host, version, is_renewed):
    """21.2.4 refuses the editable install, 20.2.3 knows no manylinux_2_xx (first_contact.md, Hosts)."""
    host.pip_says(PIP_VERSION, version)
    assert ("is too old: upgrading" in host.set_up()) == is_renewed
    first = host.calls("-m", "pip", "install")[0]["words"]
    assert ("pip>=21.3" in first) == is_renewed
    assert host.is_whole() and host.set_up() == ""


def test_a_pip_that_cannot_be_renewed_ends_the_set_up(host):
    host.pip_says(PIP_VERSION, "20.2.3")
    host.flaw(OFFLINE)
    failed = host.run()
    assert failed.returncode == 1 and "pip could not install the packages" in failed.stderr


TORCH = 'torch==2.13.0; python_version >= "3.11"\ntorch>=2.1,<2.14; python_version < "3.11"\nnumpy\n'
CPU_TORCH = "https://download.pytorch.org/whl/cpu"
without_gpu = pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="this host has an NVIDIA GPU")


def torch_indices(host) -> list[str]:
    """The indices that torch was asked for, alone."""
    calls = [call["words"] for call in host.calls("-m", "pip", "install") if "--index-url" in call["words"]]
    for words in calls:
        assert words[-2:] == TORCH.splitlines()[:2] and "--no-deps" in words
    return [words[words.index("--index-url") + 1] for words in calls]


@without_gpu
@pytest.mark.parametrize(
    ("variables", "config", "indices"),
    [
        ({}, "", [CPU_TORCH]),
        ({"TORCH_INDEX_URL": "https://mirror.example/cpu"}, "", ["https://mirror.example/cpu"]),
        ({}, "global.index-url='https://mirror.example/simple'", []),
        ({}, ":env:.no-index='1'\n:env:.find-links='/wheels'", []),
    ],
    ids=["nothing set", "another index", "pip has an index", "offline"],
)
def test_torch_is_the_cpu_build_where_there_is_no_gpu(host, variables, config, indices):
    """torch 2.13.0's wheels on PyPI require CUDA 13, on aarch64, too: gigabytes (first_contact.md, Hosts)."""
    (host.checkout / "requirements-export.txt").write_text(TORCH)
    host.pip_says(PIP_CONFIG, config)
    host.set_up(**variables)
    assert torch_indices(host) == indices
    assert host.is_whole() and host.set_up(**variables) == ""


def test_torch_is_the_plain_one_beside_an_nvidia_gpu(host):
    (host.checkout / "requirements-export.txt").write_text(TORCH)
    program = host.folder / "python" / "bin" / "nvidia-smi"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    host.set_up()
    assert torch_indices(host) == []


def test_an_index_of_torch_that_is_out_of_reach_is_said(host):
    """The other packages may come from a folder or a mirror."""
    (host.checkout / "requirements-export.txt").write_text(TORCH)
    add = host.set_up
    host.flaw(OFFLINE)
    said = host.run(TORCH_INDEX_URL="https://nowhere.example").stderr
    assert "note: torch is not from https://nowhere.example" in said and "TORCH_INDEX_URL= names another" in said
    host.flaw(OFFLINE, is_there=False)
    add(TORCH_INDEX_URL="")
    assert host.is_whole()


def test_the_lists_of_a_kind_are_printed(host):
    runtime = ["requirements.txt", "requirements-build.txt", "requirements-onnxruntime.txt"]
    run = [*runtime, "requirements-export.txt", "requirements-train.txt"]
    assert host.run("--lists", "runtime").stdout.split() == runtime
    assert host.run("--lists", "run").stdout.split() == run
    assert host.run("--lists", "openvino").stdout.split() == [*run, "requirements-openvino.txt"]
    track = ["requirements-track.txt", "requirements-track-alone.txt"]
    assert host.run("--lists", "track").stdout.split() == [*run, *track]
    assert host.run("--lists", "cluster").stdout.split() == [*runtime, "requirements-cluster.txt"]
    dev = [*run, "requirements-openvino.txt", *track, "requirements-cluster.txt", "requirements-dev.txt"]
    assert host.run("--lists", "dev").stdout.split() == dev
    assert host.run("--lists", "other").returncode == 2
    assert not host.venv.exists()


def test_a_run_on_openvino_sets_it_up(host):
    host.set_up()
    assert host.run("bs=2", "target=openvino", script="run_all.sh").returncode == 0
    assert (host.packages / "openvino-1.dist-info").exists()


def test_what_comes_alone_is_installed_without_what_it_requires(host):
    """PyAV's wheels hold GPL code, and opencv-python would take the place of our OpenCV."""
    assert "predict --track: adding trackers" in host.set_up("track")
    installs = [entry["words"] for entry in host.calls("-m", "pip", "install")]
    alone = [words for words in installs if any(word.endswith("-alone.txt") for word in words)]
    assert len(alone) == 1 and "--no-deps" in alone[0] and alone[0].count("-r") == 1
    assert (host.packages / "trackers-1.dist-info").exists() and (host.packages / "scipy-1.dist-info").exists()
    assert host.set_up("track") == host.set_up() == ""


def test_a_kind_of_set_up_that_there_is_not_is_refused(host):
    done = host.run("gpu")
    assert (
        done.returncode == 2
        and "setup.sh takes nothing, 'runtime', 'openvino', 'track', 'cluster' or 'dev', not 'gpu'." in done.stderr
    )


def test_a_changed_list_of_packages_is_installed(host):
    host.set_up()
    host.flaw(OFFLINE)
    (host.checkout / "requirements.txt").write_text("numpy\nopencv\n")
    assert host.run().returncode == 1
    # Back again: what was installed of the other list is replaced, and so it is not taken for a set-up.
    (host.checkout / "requirements.txt").write_text("numpy\n")
    assert INSTALLS in host.set_up()


def without_pip(host):
    """Killed while `python -m venv` put pip into it."""
    shutil.rmtree(host.packages / "pip-1.dist-info")
    (host.venv / "bin" / "activate").unlink()


def with_half_a_pip(host):
    (host.packages / "pip-1.dist-info" / "RECORD").unlink()


def without_its_file(host):
    """Killed before pyvenv.cfg was written: its Python is the base, where pip would install."""
    (host.venv / "pyvenv.cfg").unlink()


def without_its_python(host):
    """The Python that it was made from is gone."""
    (host.venv / "bin" / "python").unlink()
    (host.venv / "bin" / "python").symlink_to("/no/python3")


def with_half_a_package(host):
    """Killed while pip wrote numpy: it writes RECORD last, and takes what has none for installed."""
    (host.packages / "numpy-1.dist-info" / "RECORD").unlink()


def as_an_empty_folder(host):
    shutil.rmtree(host.venv)
    host.venv.mkdir()


@pytest.mark.parametrize(
    "damage",
    [without_pip, with_half_a_pip, without_its_file, without_its_python, with_half_a_package, as_an_empty_folder],
    ids=lambda damage: damage.__name__,
)
def test_a_half_made_venv_is_made_whole(host, damage):
    host.set_up()
    (host.venv / ".setup-run").unlink()  # a set-up that was killed has none
    damage(host)
    assert INSTALLS in host.set_up()
    assert host.is_whole()
    assert (host.venv / "bin" / "activate").exists() and (host.venv / "pyvenv.cfg").exists()
    assert not (host.folder / "python" / "lib").exists()  # nothing was installed into the base


def test_a_venv_that_others_made_without_pip_keeps_its_packages(host):
    host.set_up()
    (host.venv / ".setup-run").unlink()
    (host.venv / "pyvenv.cfg").write_text("include-system-site-packages = true\n")
    shutil.rmtree(host.packages / "pip-1.dist-info")
    add_package(str(host.packages), "torch_npu")
    host.set_up()
    assert host.is_whole() and (host.packages / "torch_npu-1.dist-info").exists()
    assert "= true" in (host.venv / "pyvenv.cfg").read_text()


def test_debian_without_venv_says_so_and_heals_when_it_is_installed(host):
    host.flaw(NO_ENSUREPIP)
    for _ in range(2):
        failed = host.run()
        assert failed.returncode == 1 and failed.stdout == ""
        assert "ensurepip is not available" in failed.stderr
        assert failed.stderr.endswith("On Debian, is python3-venv installed?\n")
    host.flaw(NO_ENSUREPIP, False)
    host.set_up()
    assert host.is_whole()


def test_two_shells_at_once_set_up_once(host):
    host.flaw(SLOW)
    shells = [host.start(), host.start()]
    said = [shell.communicate(timeout=600)[1] for shell in shells]
    assert [shell.returncode for shell in shells] == [0, 0], said
    assert sum(INSTALLS in text for text in said) == 1
    assert len(host.calls("-m", "venv")) == 1 and len(host.calls("-m", "pip", "install")) == 2


@pytest.mark.parametrize("code", [1, 71], ids=["as busybox", "as util-linux"])
def test_where_nothing_can_be_locked_it_is_said_and_done(host, code):
    programs = host.folder / "programs"
    programs.mkdir()
    (programs / "flock").write_text(f"#!/bin/sh\necho 'flock: 9: No locks available' >&2; exit {code}\n")
    (programs / "flock").chmod(0o755)
    host.path = f"{programs}:{host.path}"
    said = host.set_up()
    assert f"note: {host.checkout}/.setup.lock cannot be locked here." in said
    assert host.is_whole()


@pytest.mark.parametrize(
    "variables",
    [
        {"CDPATH": "{folder}:/usr"},
        {"PYTHONHOME": "/nowhere"},
        {"PYTHONPATH": "{folder}"},
        {"PYTHONINSPECT": "1", "PYTHONOPTIMIZE": "2", "PYTHONWARNINGS": "error"},
        {"PIP_DRY_RUN": "1", "PIP_NO_DEPS": "1", "PIP_PYTHON": "/usr/bin/python3"},
        {"BASH_ENV": "/dev/null", "POSIXLY_CORRECT": "1"},
    ],
    ids=lambda variables: next(iter(variables)),
)
def test_what_the_users_shell_has_for_other_work_does_not_matter(host, variables):
    given = {name: value.format(folder=host.folder) for name, value in variables.items()}
    shutil.copytree(host.checkout / "scripts", host.folder / "scripts")  # where CDPATH leads
    done = subprocess.run(
        ["bash", "scripts/run_all.sh", "bs=2"],
        **{"cwd": host.checkout, "env": {"PATH": host.path, **given}, "capture_output": True, "text": True},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert host.is_whole()
    for entry in host.calls("-m"):
        assert not set(entry["variables"]) & set(given), entry["words"]
    assert host.calls(f"{host.checkout}/yolact_ascend")[0]["words"][1:] == ["run", "bs=2"]


def test_pip_installs_into_the_venv_and_from_where_the_user_says(host):
    """`--target=` and the like outdo variables and pip.conf; pip 20.2 (Python 3.9's first) and 26 take them."""
    sources = {"PIP_INDEX_URL": "https://mirror/simple", "PIP_CONFIG_FILE": "/etc/my.conf", "PIP_NO_INDEX": "0"}
    host.set_up(PIP_USER="1", PIP_TARGET="/t", PIP_PREFIX="/p", PIP_REQUIRE_VIRTUALENV="1", **sources)
    installs = host.calls("-m", "pip", "install")
    assert len(installs) == 2
    for entry in installs:
        assert {"--no-user", "--target="} <= set(entry["words"])
        assert "PIP_PREFIX" not in entry["variables"]
        assert sources.items() <= entry["variables"].items()
        assert entry["cwd"] == str(host.folder)  # relative names of the user's pip settings


def test_python_names_another_python_and_then_the_venv_is_made_again(host):
    other = make_python(f"{host.folder}/other", "3.12")
    host.set_up()
    assert host.set_up(PYTHON=host.python) == ""
    assert INSTALLS in host.set_up(PYTHON=other)
    assert (host.venv / "bin" / "python").resolve() == Path(other)
    assert host.set_up(PYTHON=other) == ""
    assert host.set_up() == ""  # python3 is another one, but nobody asked for it
    assert host.set_up(PYTHON=str(host.venv / "bin" / "python")) == ""


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (
            "echo 'pyenv: python3: command not found' >&2; exit 127",
            "pyenv: python3: command not found\nerror: {python} ",
        ),
        ('exec {old} "$@"', "error: python3 is Python 3.8; Python 3.9 or newer is needed"),
        ('exec {two} "$@"', "error: python3 is Python 2.7; Python 3.9 or newer is needed"),
    ],
    ids=["a failing shim of pyenv", "3.8", "2.7"],
)
def test_a_python_that_does_not_do_is_told_as_it_is(host, body, says):
    pythons = {"old": make_python(f"{host.folder}/old", "3.8"), "two": make_python(f"{host.folder}/two", "2.7")}
    shims = host.folder / "shims"
    shims.mkdir()
    (shims / "python3").write_text(f"#!/bin/sh\n{body.format(**pythons)}\n")
    (shims / "python3").chmod(0o755)
    usual, host.path = host.path, f"{shims}:{host.path}"
    for words in ((), ("--help",)):
        failed = host.run(*words, script="run_all.sh")
        assert failed.returncode == 1
        assert says.format(python=shims / "python3") in failed.stderr
        assert failed.stderr.endswith(": PYTHON=/path/to/python3\n")
    host.path = usual
    host.set_up()
    host.path = f"{shims}:{host.path}"
    assert host.set_up() == ""  # .venv has its Python, whatever python3 is now
    assert host.run("--help", script="run_all.sh").returncode == 0


def test_a_python_that_prints_when_it_starts_is_taken(host):
    """As a .pth file or a sitecustomize does."""
    program = Path(host.python)
    program.write_text(program.read_text().replace("import fake_python;", "import fake_python; print('hello');"))
    assert host.run().returncode == 0 and host.is_whole()
    assert host.set_up() == ""


def test_sh_is_as_good_as_bash(host):
    (host.folder / "sh").symlink_to("/bin/dash" if Path("/bin/dash").exists() else "/bin/sh")
    for script in SCRIPTS:
        command = [host.folder / "sh", host.checkout / "scripts" / script]
        done = subprocess.run(command, env={"PATH": host.path}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert [call["words"] for call in host.calls("-m", "pytest")], "test.sh under sh reaches the tests"


def test_no_python_at_all_is_told(host):
    failed = host.run(PYTHON="no-python")
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: there is no no-python. Install Python 3.9 or newer, or name one: PYTHON=")


def test_a_link_to_the_checkout_is_the_same_checkout(host):
    host.set_up()
    host.flaw(OFFLINE)
    link = host.folder / "link"
    link.symlink_to(host.checkout)
    done = host.run("bs=1", script=link / "scripts" / "run_all.sh")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "by", [shutil.move, lambda a, b: shutil.copytree(a, b, symlinks=True)], ids=["moved", "copied"]
)
def test_a_checkout_in_another_place_needs_no_network(host, by):
    host.set_up()
    host.flaw(OFFLINE)
    (host.packages / "yolact_ascend-1.dist-info" / "RECORD").unlink()
    old, host.checkout = host.checkout, host.folder / "elsewhere"
    by(old, host.checkout)
    host.set_up()
    assert host.calls("-m", "pip", "install")[-1]["words"][-2:] == ["--editable", str(host.checkout)]
    assert (host.venv / "bin" / "activate").read_text() == f"VIRTUAL_ENV={host.venv}\n"
    assert host.set_up() == ""


@pytest.mark.parametrize("name", ["my checkout", "prüf-ø", "a'b$c", "-x"])
def test_a_checkout_may_have_any_name(tmp_path, name):
    host = Host(tmp_path, name)
    host.set_up()
    done = host.run("bs=2", "out=my results", script="run_all.sh")
    assert (done.returncode, done.stderr) == (0, "")
    assert host.calls()[-1]["words"] == [f"{host.checkout}/yolact_ascend", "run", "bs=2", "out=my results"]


def test_the_scripts_of_a_checkout_run_that_checkout(host):
    """Started from another checkout."""
    other = Host(host.folder / "B")
    done = host.run("bs=2", script="run_all.sh", cwd=other.checkout)
    assert done.returncode == 0, done.stderr
    assert host.calls(f"{host.checkout}/yolact_ascend") and not other.calls()


def test_the_tests_run_in_the_venv_without_the_users_variables(host):
    variables = {"PYTHONPATH": "/foreign", "PYTHONOPTIMIZE": "2", "CDPATH": "/usr"}
    done = host.run("-k", "boxes", script="test.sh", **variables)
    assert done.returncode == 0, done.stderr
    runs = host.calls("-m")[-4:]
    assert [entry["words"][1] for entry in runs[:2]] == ["ruff", "ruff"]
    beside = {entry["words"][1]: entry["words"][2:] for entry in runs[2:]}  # in any order
    assert beside["mypy"] == [] and beside["pytest"][-2:] == ["-k", "boxes"]
    for entry in runs:
        assert (entry["prefix"], entry["cwd"]) == (str(host.venv), str(host.checkout))
        assert not set(entry["variables"]) & set(variables)


@pytest.mark.parametrize("module", ["ruff", "mypy", "pytest"])
def test_each_check_can_fail_the_tests(host, module):
    (host.folder / "python" / FAILING).write_text(module)
    done = host.run(script="test.sh")
    assert done.returncode == 1 and f"{module} failed\n" in done.stdout
    started = {entry["words"][1] for entry in host.calls("-m")}
    assert ({"mypy", "pytest"} <= started) == (module != "ruff")


def run_in_namespace(host: Host, *lines: str) -> subprocess.CompletedProcess:
    """Run lines of a shell where mounts are ours alone; skip where that is not allowed."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("mount namespaces need root")
    env = {"PATH": host.path, "C": str(host.checkout)}
    return subprocess.run(
        ["unshare", "-m", "bash", "-ec", "\n".join(lines)], env=env, capture_output=True, text=True, check=False
    )


def read_only(path: str) -> str:
    return f"mount --bind {path} {path} && mount -o remount,ro,bind {path}"


def test_a_checkout_that_cannot_be_written_runs_when_it_is_set_up(host):
    host.set_up()
    done = run_in_namespace(host, read_only('"$C"'), 'bash "$C/scripts/run_all.sh" bs=2')
    assert (done.returncode, done.stderr) == (0, "")
    elsewhere = host.folder / "mounted"  # as a container does it: another place, nothing to be written
    elsewhere.mkdir()
    mount = f'mount --bind "$C" {elsewhere} && mount -o remount,ro,bind {elsewhere}'
    done = run_in_namespace(host, mount, f"bash {elsewhere}/scripts/run_all.sh bs=2")
    assert (done.returncode, done.stderr) == (0, "")
    assert host.calls()[-1]["words"][0] == f"{elsewhere}/yolact_ascend"


def test_a_checkout_that_cannot_be_written_cannot_be_set_up(host):
    done = run_in_namespace(host, read_only('"$C"'), 'bash "$C/scripts/setup.sh"')
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: cannot set up {host.venv}: {host.checkout} cannot be written.")


BACKEND = """
import pathlib, zipfile
def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "tiny-1-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder, name), "w") as wheel:
        wheel.writestr("tiny.pth", str(pathlib.Path.cwd()))
        wheel.writestr("tiny-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1\\n")
        wheel.writestr("tiny-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("tiny-1.dist-info/RECORD", "")
    return name
build_wheel = build_editable
"""
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "tiny"
version = "1"
"""


def test_a_real_python_and_pip_do_it_whatever_is_set(tmp_path):
    """The one real set-up of the tests: without a network, into .venv, then moved."""
    host = Host(tmp_path)
    host.path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    for path in host.checkout.glob("requirements*.txt"):
        path.write_text("")
    (host.checkout / "pyproject.toml").write_text(PROJECT)
    (host.checkout / "backend.py").write_text(BACKEND)
    (tmp_path / "pip.conf").write_text(f"[install]\nuser = true\ntarget = {tmp_path}/target\n")
    (tmp_path / "queue.py").write_text("raise SystemExit('the queue of the user')\n")
    variables = {
        **{"PYTHONHOME": "/nowhere", "PYTHONPATH": str(tmp_path), "PIP_CONFIG_FILE": f"{tmp_path}/pip.conf"},
        **{"PIP_USER": "1", "PIP_PREFIX": f"{tmp_path}/prefix", "PIP_REQUIRE_VIRTUALENV": "1", "PIP_NO_INDEX": "1"},
    }
    host.set_up(**variables)
    for place in (host.checkout, tmp_path / "moved to"):
        if place != host.checkout:
            host.checkout = host.checkout.rename(place)
            host.set_up(**variables)
        code = "import sys, tiny_marker; print(sys.prefix, tiny_marker.__file__)"
        (place / "tiny_marker.py").touch()
        done = subprocess.run(
            [host.venv / "bin" / "python", "-I", "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout == f"{host.venv} {place}/tiny_marker.py\n"
        assert host.set_up(**variables) == ""
    assert not (tmp_path / "target").exists() and not (tmp_path / "prefix").exists()
