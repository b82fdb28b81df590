"""scripts/wheelhouse.sh: the wheels of another machine, as its Python and processor need them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from factories import CHECKOUT


@pytest.fixture(scope="module")
def wheelhouse():
    spec = importlib.util.spec_from_file_location("wheelhouse", CHECKOUT / "scripts" / "wheelhouse.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_wheel(folder: Path, name: str, version: str = "1", requires: tuple[str, ...] = (), tag: str = "py3-none-any"):
    folder.mkdir(exist_ok=True)
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Requires-Dist: {r}" for r in requires),
    ]
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-{tag}.whl", "w") as archive:
        archive.writestr(f"{info}/METADATA", "\n".join(lines) + "\n")
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{info}/RECORD", "")


@pytest.mark.parametrize(
    ("python", "arch", "has_onnxsim", "torch"),
    [
        ("3.9", "aarch64", False, "torch<2.14,>=2.1"),
        ("3.9", "x86_64", True, "torch<2.14,>=2.1"),
        ("3.10", "aarch64", True, "torch<2.14,>=2.1"),
        ("3.11", "aarch64", True, "torch==2.13.0"),
    ],
)
def test_our_lists_are_read_for_the_target(wheelhouse, python, arch, has_onnxsim, torch):
    """PyPI has onnxsim for cp39 on x86_64 only (first_contact.md, Hosts; pip download, November 2026)."""
    found = wheelhouse.our_requirements("run", wheelhouse.Target(python, arch, "2.28"))
    names = [requirement.name for requirement in found]
    assert ("onnxsim" in names) == has_onnxsim and len(names) == len(set(names))
    assert [wheelhouse._without_marker(one) for one in found if one.name == "torch"] == [torch]
    assert {"numpy", "pip", "setuptools", "wheel"} <= set(names) and "pytest" not in names


def test_the_kinds_are_those_of_the_set_up(wheelhouse):
    target = wheelhouse.Target("3.11", "x86_64", "2.28")
    kinds = {
        kind: {one.name for one in wheelhouse.our_requirements(kind, target)}
        for kind in ("runtime", "run", "openvino", "track", "cluster", "dev")
    }
    assert "torch" not in kinds["runtime"]
    assert kinds["runtime"] < kinds["run"] < kinds["openvino"] < kinds["dev"] and "openvino" in kinds["openvino"]
    assert kinds["run"] < kinds["track"] < kinds["dev"] and "scipy" in kinds["track"] and "trackers" not in kinds["dev"]
    assert kinds["runtime"] < kinds["cluster"] < kinds["dev"] and "ray" in kinds["cluster"]
    alone = {one.name for one in wheelhouse.our_requirements("dev", target, alone=True)}
    assert alone == {"trackers", "supervision"} and not wheelhouse.our_requirements("run", target, alone=True)


def test_what_wheels_require_on_the_target_is_missing_until_it_is_there(wheelhouse, tmp_path):
    """matplotlib needs importlib-resources before Python 3.10, and torch CUDA on x86_64 only."""
    target = wheelhouse.Target("3.9", "aarch64", "2.28")
    requires = (
        'importlib-resources>=3.2; python_version < "3.10"',
        'nvidia-cublas; platform_machine == "x86_64"',
        'pytest; extra == "test"',
        "Left_Pad>=2",
    )
    make_wheel(tmp_path, "matplotlib", requires=requires)
    make_wheel(tmp_path, "left_pad", "1")
    missing = [str(one) for one in wheelhouse.missing_requirements(tmp_path, target)]
    assert missing == ['importlib-resources>=3.2; python_version < "3.10"', "Left_Pad>=2"]
    make_wheel(tmp_path, "importlib_resources", "6.5")
    make_wheel(tmp_path, "left_pad", "2.1")
    assert wheelhouse.missing_requirements(tmp_path, target) == []


def test_what_is_installed_alone_asks_for_nothing(wheelhouse, tmp_path):
    """supervision requires PyAV, whose wheels hold GPL code."""
    target = wheelhouse.Target("3.11", "x86_64", "2.28")
    make_wheel(tmp_path, "supervision", requires=("av>=14.2",))
    assert [str(one) for one in wheelhouse.missing_requirements(tmp_path, target)] == ["av>=14.2"]
    assert wheelhouse.missing_requirements(tmp_path, target, frozenset({"supervision"})) == []


def test_a_requirement_that_cannot_be_read_is_said(wheelhouse, tmp_path, capsys):
    make_wheel(tmp_path, "odd", requires=("numpy", "this is ; no requirement"))
    assert [one.name for one in wheelhouse.requirements_of(tmp_path / "odd-1-py3-none-any.whl")] == ["numpy"]
    assert "odd-1-py3-none-any.whl requires 'this is ; no requirement', which cannot be read" in capsys.readouterr().err


def test_a_real_pip_fills_the_folder_for_another_machine(wheelhouse, tmp_path, monkeypatch, capsys):
    """From a folder in place of an index: the wheel of the target's tag, and what only the target needs."""
    index = tmp_path / "index"
    make_wheel(index, "outer", requires=('inner; python_version < "3.10"',))
    make_wheel(index, "inner", tag="cp39-cp39-manylinux_2_17_aarch64")
    make_wheel(index, "inner", tag="cp311-cp311-manylinux_2_17_x86_64")
    make_wheel(index, "torch", "2.8")
    wanted = [wheelhouse.Requirement("torch>=2"), wheelhouse.Requirement("outer")]
    monkeypatch.setattr(wheelhouse, "our_requirements", lambda kind, target, alone: [] if alone else wanted)
    monkeypatch.setattr(sys, "argv", ["wheelhouse.sh", str(tmp_path / "out"), "--python=3.9", "--arch=aarch64"])
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index), "PIP_CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(name, value)
    wheelhouse.main()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "inner-1-cp39-cp39-manylinux_2_17_aarch64.whl",
        "outer-1-py3-none-any.whl",
        "torch-2.8-py3-none-any.whl",
    ]
    assert "3 wheels, 0 MB, for Python 3.9 on aarch64" in capsys.readouterr().out
    target = wheelhouse.Target("3.9", "aarch64", "2.28")
    with pytest.raises(SystemExit, match="found no wheels for Python 3.9 on aarch64 .* Check --python, --arch"):
        wheelhouse.download([wheelhouse.Requirement("absent")], tmp_path / "out", target)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "DIR"),
        (["d", "--python=2.7"], "expected a Python from 3.9 on"),
        (["d", "--glibc=3"], "expected a version of glibc"),
        (["d", "--arch=arm"], "invalid choice"),
    ],
)
def test_bad_words_are_refused(words, said):
    done = subprocess.run(
        ["bash", CHECKOUT / "scripts" / "wheelhouse.sh", *words],
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and said in done.stderr
