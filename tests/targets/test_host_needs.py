"""What CANN needs of a host: each trouble is made here, and doctor's sentence on it is read."""

import re
import sys
from pathlib import Path

import pytest

from yolact_ascend.errors import ToolError
from yolact_ascend.targets.ascend import cards, host_needs, installation
from yolact_ascend.targets.ascend.host_needs import (
    access_troubles,
    compiler_troubles,
    family_of_chip,
    precision_trouble,
)

LIBRARY = "libpython3.9.so.1.0"


class Host:
    """A host whose python3 has all modules and its library; tests take things away."""

    def __init__(self, folder):
        self.folder, self.root, self.home = folder, folder / "root", folder / "cann"
        self.bin = folder / "bin"
        for path in (self.bin, self.root / "dev", self.home):
            path.mkdir(parents=True)
        self.python()
        self.env = {"PATH": f"{self.bin}:/usr/bin:/bin", "ASCEND_HOME_PATH": str(self.home)}

    def program(self, name, lines):
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{lines}\n")
        path.chmod(0o700)

    def python(self, *missing):
        self.program("python3", f'echo "$3" >{self.folder}/numpy; echo {" ".join(missing)}')

    def write(self, path, text=""):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def troubles(self, version="8.0.0", soc_version="Ascend310P3"):
        return compiler_troubles(self.env, version, soc_version)


@pytest.fixture
def host(tmp_path, monkeypatch):
    host = Host(tmp_path)
    monkeypatch.setattr(installation, "ROOT", host.root)
    return host


def kernels(host, family="310p"):
    """As CANN 8.0 to 8.3 install Ascend-cann-kernels-<chip>."""
    (host.home / "opp" / "built-in" / "op_impl" / "ai_core" / "tbe" / "kernel" / f"ascend{family}").mkdir(parents=True)


def test_a_host_with_everything_has_no_trouble(host):
    kernels(host)
    assert host.troubles() == []


def test_a_host_without_python3_is_told_what_atc_needs(host):
    host.env["PATH"] = str(host.bin)
    (host.bin / "python3").unlink()
    with pytest.raises(ToolError, match="Cannot start python3: .*E40001: put one on PATH .*card.md"):
        host.troubles()


def test_the_library_of_python_is_looked_for_as_atc_does(host):
    """hicann/ge, py_decouple.cc: below python3-config --prefix, else by the loader; failure is E40001."""
    kernels(host)
    host.python(LIBRARY)
    host.program("python3-config", "exit 127")
    (trouble,) = host.troubles()
    assert re.search(rf"{LIBRARY} is neither in the folder of python3-config, .*E40001.*python3-dev", trouble)
    host.program("python3-config", f"echo {host.folder}/prefix")
    (trouble,) = host.troubles()
    assert f"neither in {host.folder}/prefix/lib (python3-config --prefix) nor" in trouble
    host.write(host.folder / "prefix" / "lib" / LIBRARY)
    assert host.troubles() == []


@pytest.mark.parametrize(("version", "asked"), [("8.5.0", "1"), ("unknown", "1"), ("9.0.0", "any"), ("10.0.0", "any")])
def test_numpy_2_is_taken_from_cann_9_on(host, version, asked):
    """CANN's images pin numpy below 2 up to 8.x, and name plain numpy from 9.0.0 on."""
    host.python("sympy")
    trouble = next(trouble for trouble in host.troubles(version) if "E40000" in trouble)
    assert "is missing sympy" in trouble and ("'numpy<2'" in trouble) == (asked == "1")
    assert "pip install numpy decorator" in trouble or asked == "1"
    assert (host.folder / "numpy").read_text().strip() == asked


@pytest.mark.parametrize(
    ("words", "numpy", "printed"), [("1", "2.1.0", "numpy<2"), ("any", "2.1.0", ""), ("1", "1.26", "")]
)
def test_what_the_probe_prints(tmp_path, words, numpy, printed):
    (tmp_path / "numpy.py").write_text(f"__version__ = '{numpy}'\n")
    env = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": str(tmp_path)}
    result = host_needs.capture(["python3", "-c", host_needs._COMPILER_PROBE, words, "json", "no_such_module"], env)
    *missing, last = result.stdout.split()
    if re.fullmatch(r"libpython3\.\d+\.so\.1\.0", last):  # where this Python has none
        *missing, last = missing
    assert ([*missing, last], result.stderr) == ([*filter(None, [printed]), "no_such_module"], "")


@pytest.mark.parametrize(
    ("version", "soc_version", "found", "trouble"),
    [
        (
            "8.0.0",
            "Ascend310P3",
            "",
            "no .*kernel/ascend310p: .*Install Ascend-cann-kernels-310p of CANN 8.0.0",
        ),
        ("8.0.0", "Ascend910B3", "kernels 310p", "kernel/ascend910b"),
        ("8.0.0", "Ascend310P3", "kernels 310p", None),
        # Its own name, as guides to A3 have it: Atlas-A3-cann-kernels_8.2.RC1_linux-aarch64.run
        ("8.2.RC1", "Ascend910_9392", "", "kernel/ascend910_93: .*Install Atlas-A3-cann-kernels of .*docs/card.md"),
        ("8.5.0", "Ascend310P3", "kernels 310p", "no ascend_ops_install.info.* Ascend-cann-310p-ops of CANN 8.5.0"),
        ("8.5.0", "Ascend310B4", "ops 310b", None),
        ("8.5.0", "Ascend310B4", "ops 910b", "is of Ascend-cann-910b-ops, but the chip is Ascend310B4: .*-310b-ops"),
        ("9.1.0", "Ascend910_9392", "ops A3", None),
        ("9.1.0", "Ascend910B", "ops 910", None),  # the first generation
        ("7.0.0", "Ascend310P3", "", None),  # with the toolkit
        ("unknown", "Ascend310P3", "", None),
        ("8.5.0", "unknown", "", None),
    ],
)
def test_the_chips_operators_are_a_package_of_their_own(host, version, soc_version, found, trouble):
    """Without them: "No supported Ops kernel and engine are found" (first_contact.md, Where CANN is)."""
    kind, _, family = found.partition(" ")
    if kind == "kernels":
        kernels(host, family)
    if kind == "ops":
        record = host.home / "aarch64-linux" / "ascend_ops_install.info"
        host.write(record, f"package_name=Ascend-cann-{family}-ops\nversion={version}\n")
    troubles = host.troubles(version, soc_version)
    assert len(troubles) == (trouble is not None)
    assert trouble is None or re.search(trouble, troubles[0])


@pytest.mark.parametrize(
    ("soc_version", "family"),
    [
        *(("Ascend310P3", "310p"), ("Ascend310P3Vir01", "310p"), ("Ascend310B4", "310b"), ("Ascend310", "310")),
        *(("Ascend910B4-1", "910b"), ("Ascend910B2C", "910b"), ("Ascend910B", "910"), ("Ascend910A", "910")),
        *(("Ascend910_9392", "910_93"), ("Ascend950PR_9589", ""), ("unknown", "")),
    ],
)
def test_families_of_chips(soc_version, family):
    assert family_of_chip(soc_version) == family


def test_little_memory_for_atc_is_said(host):
    """Boards of 8 GB: guides to OrangePi AIPro and ACLLite set these two variables there."""
    kernels(host)
    host.write(host.root / "proc" / "meminfo", "MemTotal:       16252928 kB\n")
    assert host.troubles() == []
    host.write(host.root / "sys" / "fs" / "cgroup" / "memory.max", "max\n")
    assert host.troubles() == []
    host.write(host.root / "sys" / "fs" / "cgroup" / "memory.max", "4294967296\n")
    (trouble,) = host.troubles()
    assert "4.3 GB" in trouble and "export TE_PARALLEL_COMPILER=1 MAX_COMPILE_CORE_NUMBER=1" in trouble
    host.write(host.root / "sys" / "fs" / "cgroup" / "memory.max", "max\n")
    host.write(host.root / "proc" / "meminfo", "MemTotal:        7767040 kB\n")
    assert "8.0 GB" in host.troubles()[0]
    host.env.update(host_needs.LESS_MEMORY)
    assert host.troubles() == []


def test_who_may_use_the_devices(host, monkeypatch):
    """The device files belong to the group HwHiAiUser; a container has those that it was started with."""
    device = host.root / "dev" / "davinci0"
    host.write(device)
    assert access_troubles() == []  # on a host npu-smi shows what else is wrong
    monkeypatch.setattr(cards.os, "access", lambda *_: False)
    (trouble,) = access_troubles()
    assert str(device) in trouble and "HwHiAiUser" in trouble
    monkeypatch.undo()
    monkeypatch.setattr(installation, "ROOT", host.root)
    host.write(host.root / ".dockerenv")
    host.write(host.root / "dev" / "davinci_manager")
    (trouble,) = access_troubles()
    assert "--device /dev/devmm_svm --device /dev/hisi_hdc and -v " in trouble and "card.md" in trouble
    device.unlink()
    assert "--device /dev/davinci0" in access_troubles()[0]
    for name in ("davinci0", "devmm_svm", "hisi_hdc"):
        host.write(host.root / "dev" / name)
    assert access_troubles() == []


@pytest.mark.parametrize(
    ("soc_version", "precision", "is_warned"),
    [
        *(("Ascend310P3", "fp32", True), ("Ascend310B4", "fp32", True), ("Ascend310P3", "fp16", False)),
        *(("Ascend910B3", "fp32", False), ("unknown", "fp32", False), ("Ascend310P3", "", False)),
    ],
)
def test_float32_on_chips_that_convolve_in_float16(soc_version, precision, is_warned):
    """Ultralytics' guide to Ascend: "accepts only DT_FLOAT16 and DT_INT8 inputs for convolutions"."""
    trouble = precision_trouble(soc_version, precision)
    assert bool(trouble) == is_warned
    assert not is_warned or (soc_version in trouble and "Use precision=fp16" in trouble)
