"""`pip install .`, the wheel and the sdist: an installed package runs the demo in any folder, without the checkout."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from emulation.installation import PIP, PURE, make_environment
from factories import CHECKOUT

SHARE = "yolact_ascend/share/"
SHARED = (
    *("emulation/bin/atc", "emulation/set_env.sh", "emulation/ascend_emulation/onnx_parsers.json"),
    *("golden/golden.json", "golden/golden.npz", "golden/annotations.json", "golden/images/00.png"),
    *("patches/yolact.patch", "patches/yolact_edge.patch", "scripts/apply_patch.sh", "weights/yolact_edge_demo.pth"),
)


def build(source: Path, folder: Path) -> Path:
    """Build the wheel of a source tree by this Python's setuptools."""
    command = [*PIP, "wheel", *PURE, "--no-build-isolation", "-w", folder, source]
    subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    [wheel] = folder.glob("*.whl")
    return wheel


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def files_in(folder: Path, *, with_hidden: bool = False) -> set[str]:
    """Relative paths of all files, those of Python's own caches left out, and of this checkout's tools."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {
        str(path)
        for path in found
        if "__pycache__" not in path.parts and (with_hidden or not path.parts[0].startswith("."))
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    before = files_in(CHECKOUT / "yolact_ascend"), set(CHECKOUT.iterdir())
    built = build(CHECKOUT, tmp_path_factory.mktemp("wheel"))
    assert (files_in(CHECKOUT / "yolact_ascend"), set(CHECKOUT.iterdir())) == before, "the build left files here"
    return built


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory) -> Path:
    """An environment with the wheel alone, which finds the libraries of this one."""
    return make_environment(tmp_path_factory.mktemp("environment"), wheel)


@pytest.fixture
def installed(environment, tmp_path):
    """Runs the installed command in an empty folder, as a user's shell without any CANN does."""

    def run(*words: str, **variables: str) -> subprocess.CompletedProcess:
        env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", **variables}
        command = [environment / "bin" / "yolact-ascend", *words]
        return subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)

    return run


def test_the_wheel_has_the_package_and_what_a_run_needs_beside_it(wheel):
    names = {name for name in names_in(wheel) if ".dist-info/" not in name.removeprefix(SHARE)}
    shared = {name.removeprefix(SHARE) for name in names if name.startswith(SHARE)}
    assert names - {SHARE + name for name in shared} == {
        f"yolact_ascend/{name}"
        for name in files_in(CHECKOUT / "yolact_ascend")
        if name.endswith((".py", ".schema.json", ".yaml", ".jinja", ".c", ".so", "py.typed"))
    }
    assert shared >= set(SHARED)
    assert all((CHECKOUT / name).is_file() for name in shared)
    with zipfile.ZipFile(wheel) as archive:
        assert archive.getinfo(f"{SHARE}emulation/bin/atc").external_attr >> 16 & 0o111 == 0o111


def test_the_extras_are_those_of_the_lists(wheel):
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if re.fullmatch(r"yolact_ascend-[^/]*info/METADATA", name)]
        lines = archive.read(name).decode().splitlines()
    assert {line.split()[1] for line in lines if line.startswith("Provides-Extra:")} == {
        *("export", "train", "onnxruntime", "openvino", "track", "cluster", "dev"),
    }
    required = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist:")]
    core = {re.match(r"[\w-]+", line).group() for line in required if "extra ==" not in line}
    assert not core & {"torch", "onnx", "onnxruntime", "matplotlib", "openvino", "setuptools"}
    assert core >= {"numpy", "opencv-python-headless", "pycocotools"}


def test_the_sdist_makes_the_same_wheel(wheel, tmp_path):
    code = "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"
    tree = tmp_path / "tree"  # built there: egg-info stays in the source tree of an sdist
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", CHECKOUT, tree], check=True)
    changed = subprocess.check_output(["git", "ls-files", "-mo", "--exclude-standard"], cwd=CHECKOUT, text=True)
    for name in changed.splitlines():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        if (CHECKOUT / name).is_file():
            (tree / name).write_bytes((CHECKOUT / name).read_bytes())
    done = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    archive = tmp_path / done.stdout.splitlines()[-1]
    with tarfile.open(archive) as file:
        assert not [name for name in file.getnames() if "/tests" in name or "/.venv" in name]
        file.extractall(tmp_path / "unpacked", **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    [source] = (tmp_path / "unpacked").iterdir()
    assert names_in(build(source, tmp_path / "again")) == names_in(wheel)


def test_an_installed_package_runs_the_demo_from_any_folder(environment, installed, tmp_path):
    [package] = environment.glob("lib/python3*/site-packages/yolact_ascend")
    demo = package / "pipeline" / "demo.py"
    as_shipped = "\nIMAGES = 100 "
    assert as_shipped in demo.read_text()
    demo.write_text(demo.read_text().replace(as_shipped, "\nIMAGES = 4 "))  # to draw all takes half of the test's time
    before = files_in(package, with_hidden=True)
    done = installed("run", "bs=1", "limit=4", "device=emulation")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "results" / "report.json").read_text())
    assert (report["command"], report["device"]["kind"]) == (
        "yolact-ascend run bs=1 limit=4 device=emulation",
        "cpu-emulation",
    )
    [result] = report["results"]
    assert result["images"] == 4 and result["box"]["all"] > 30 and result["mask"]["all"] > 30
    # What is printed runs this package: neither the checkout nor its .venv is named.
    assert str(package) in done.stderr and str(CHECKOUT) not in done.stderr
    assert files_in(package, with_hidden=True) == before, "files were written into the installed package"

    doctor = installed("doctor", "device=emulation", "--json")
    assert doctor.returncode == 0 and json.loads(doctor.stdout)["is_ready"], doctor.stdout


def test_an_installed_package_names_its_own_commands(environment, wheel, tmp_path):
    [package] = environment.glob("lib/python3*/site-packages/yolact_ascend")
    code = (
        "from yolact_ascend import extras, files; print(extras.how_to_install('export')); print(files.shipped('x')); "
        "print(files.how_to_restore('golden'))"
    )
    lines = subprocess.check_output([environment / "bin" / "python", "-I", "-c", code], text=True).splitlines()
    restore = f"pip install --force-reinstall --no-deps {wheel.name}"
    assert lines == ['Run pip install "yolact-ascend[export]".', f"{package}/share/x", restore]
    without = "import sys; sys.modules['torch'] = None; from yolact_ascend.cli.main import main; sys.exit(main())"
    words = ["export", f"--weights={package}/share/weights/yolact_edge_demo.pth", "--config=yolact_edge_demo_config"]
    done = subprocess.run(
        [environment / "bin" / "python", "-I", "-c", without, *words],
        **{"cwd": tmp_path, "capture_output": True, "text": True},
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        f'error: torch is not installed for {environment}/bin/python. Run pip install "yolact-ascend[export]".\n'
    )


def test_an_installed_script_makes_checkouts_in_the_current_folder(environment, tmp_path):
    """Nothing is written into the installed package."""
    [script] = environment.glob(f"lib/python3*/site-packages/{SHARE}scripts/apply_patch.sh")
    (tmp_path / "third_party" / "yolact").mkdir(parents=True)
    done = subprocess.run(
        ["bash", script, "--upstream=yolact"],
        **{"cwd": tmp_path, "env": {"PATH": "/usr/bin:/bin"}, "capture_output": True, "text": True},
        check=False,
    )
    assert done.returncode == 2 and "third_party/yolact is no git checkout" in done.stderr
