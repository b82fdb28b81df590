"""`pip install ./emulation`: the stand-ins without the checkout."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import onnx
import pytest

from .conftest import ATC_COMMON, EMULATION, Run, small_model, write_samples
from .installation import build_wheel, make_environment, run_installed

ATC = ["atc", "--model", "small.onnx", "--output", "small", "--input_shape", "image:4,3,4,4", *ATC_COMMON]
INFO = "ascend_emulation-0.1.0.dist-info"
NOT_INSTALLED = {"setup.py", "ais_bench/ruff.toml"}


def files_in(folder: Path) -> set[str]:
    """Relative paths of all files, those of Python's own caches left out."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in found if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    before = files_in(EMULATION)
    built = build_wheel(tmp_path_factory.mktemp("wheel"))
    assert files_in(EMULATION) == before, "the build left files in the checkout"
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("environment"), wheel)


def test_the_wheel_has_every_file_of_the_packages_and_a_license(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if "-info/" not in name}
        metadata, license_text = (archive.read(f"{INFO}/{name}").decode() for name in ("METADATA", "licenses/LICENSE"))
    packages = {name for name in files_in(EMULATION) if name.split("/")[0] not in ("bin", "aclruntime-0.0.2.dist-info")}
    assert names == {name for name in packages if "/" in name} - NOT_INSTALLED
    assert license_text.lstrip().startswith("Apache License")
    assert "Name: ascend-emulation\n" in metadata and "\n## Install" in metadata


def test_the_tools_run_and_compile_the_same_bytes_as_in_the_checkout(
    environment: Path, run: Run, tmp_path: Path
) -> None:
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir(mode=0o750)
        onnx.save(small_model(), tmp_path / name / "small.onnx")
    installed = run_installed(environment, tmp_path / "ours")
    results = [installed(*ATC), run(*ATC, cwd=tmp_path / "theirs")]
    assert [(result.code, result.stdout) for result in results] == [(0, results[1].stdout)] * 2
    assert (tmp_path / "ours" / "small.om").read_bytes() == (tmp_path / "theirs" / "small.om").read_bytes()
    assert "emulated" in installed("npu-smi", "info").stdout

    write_samples(tmp_path / "ours" / "in", [f"{index}.bin" for index in range(4)])
    words = ["-m", "ais_bench", "--model", "small.om", "--input", "in", "--output", ".", "--output_dirname", "out"]
    result = installed("python3", *words)
    assert result.code == 0, result.stdout + result.stderr
    summary = json.loads((tmp_path / "ours" / "out_summary.json").read_text())
    assert len(summary["filesinfo"]) == 4 and len(list((tmp_path / "ours" / "out").iterdir())) == 8


def test_the_version_of_aclruntime_is_found_as_ais_bench_asks_for_it(environment: Path, tmp_path: Path) -> None:
    """2023's ais_bench/infer/miscellaneous.py asks get_distribution, 2024's ais_bench/__install__.py working_set."""
    lines = (
        "import importlib.metadata as m, warnings, aclruntime; print(m.version('aclruntime'), aclruntime.__file__)",
        "warnings.simplefilter('ignore')",
        "try: import pkg_resources as p",
        "except ImportError: print('0.0.2 True')  # setuptools 82 and later have none",
        "else: print(p.get_distribution('aclruntime').version, 'aclruntime' in [d.key for d in p.working_set])",
    )
    result = run_installed(environment, tmp_path)("python3", "-c", "\n".join(lines))
    assert result.code == 0, result.stderr
    [packages] = environment.glob("lib/python3*/site-packages")
    assert result.stdout.splitlines() == [f"0.0.2 {packages}/aclruntime/__init__.py", "0.0.2 True"]


@pytest.fixture
def real_tools(tmp_path: Path) -> Path:
    """A folder with programs called as CANN's are."""
    folder = tmp_path / "cann"
    folder.mkdir()
    for name in ("atc", "npu-smi"):
        (folder / name).write_text("#!/bin/bash\necho the real one\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.mark.parametrize(("name", "code"), [("atc", 255), ("npu-smi", 1)])
def test_an_installed_tool_does_not_hide_a_real_one(
    environment: Path, real_tools: Path, tmp_path: Path, name: str, code: int
) -> None:
    path = f"{environment}/bin:{EMULATION}/bin:{real_tools}:/usr/bin:/bin"
    result = run_installed(environment, tmp_path, PATH=path, ASCEND_EMULATION="")(name, "--help")
    assert (result.code, result.stdout) == (code, "")
    assert result.stderr == (
        f"ERROR: this {name} is the CPU emulation ({environment}/bin/{name}, from the Python package "
        f"ascend-emulation), but this machine has {real_tools}/{name}. Leave the emulation's environment, or set "
        "ASCEND_EMULATION=1 to use it anyway.\n"
    )
    assert run_installed(environment, tmp_path, PATH=path)(name, "--help").code == 0


@pytest.mark.parametrize(
    ("node", "hidden"),
    [("davinci0", "an NPU ({0}/davinci0)"), ("davinci_manager", None), ("null", None)],
)
def test_an_installed_tool_does_not_take_the_place_of_a_card(
    run: Run, tmp_path: Path, node: str, hidden: str | None
) -> None:
    """Nodes: /dev/davinci0 and up are cards, davinci_manager comes with the driver (Ascend's container guides)."""
    (tmp_path / node).touch()
    line = "import sys, pathlib as p; from ascend_emulation import installed as i; "
    result = run("python3", "-c", f"{line}print(i.what_it_hides('atc', {{}}, p.Path(sys.argv[1])))", tmp_path)
    assert result.stdout == f"{hidden and hidden.format(tmp_path)}\n", result.stderr


def test_the_checkouts_own_tools_are_asked_for_and_hide_real_ones(run: Run, real_tools: Path, emulated_env) -> None:
    env = {"PATH": f"{emulated_env['PATH']}:{real_tools}"}
    assert "emulated" in run("npu-smi", "info", env=env).stdout
