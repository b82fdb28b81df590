"""CANN's tools (Huawei's toolkit for Ascend NPUs): where they are, and whether they are real or the CPU stand-ins.

The stand-ins of `emulation/` have the real tools' commands; only what `find_tools` calls knows which of them run.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from yolact_ascend.environment import environment_of_our_python, shell_environment
from yolact_ascend.errors import ToolError
from yolact_ascend.files import (
    CHECKOUT,
    digest_files,
)
from yolact_ascend.process import capture
from yolact_ascend.targets.ascend.cards import choose_chips, read_chips, soc_version_of
from yolact_ascend.targets.ascend.devices import DIVIDE_FLAG

EMULATION = CHECKOUT / "emulation"
CANN_SET_ENV = Path("/usr/local/Ascend/ascend-toolkit/set_env.sh")
STAND_INS = "ascend_emulation"  # the package of atc and npu-smi in emulation/, which no CANN has
PLAYED_CANN = "EMULATED_CANN"  # the release that the emulated atc plays
NPU, CPU_EMULATION = "npu", "cpu-emulation"  # report.json's device.kind
AUTO, ON_NPU, ON_EMULATION = "auto", "npu", "emulation"  # values of device=


@dataclass(frozen=True)
class Tools:
    """The tools of a run, real or stand-ins, and the card that they show."""

    kind: str  # NPU or CPU_EMULATION
    reason: str  # why these tools were chosen, for the user
    env: Mapping[str, str]  # of the tools
    own_env: Mapping[str, str]  # of our own stages: as the user's shell has it, whatever was sourced for the tools
    python: str  # the Python in which ais_bench is installed
    set_env: Path | None  # the script that was sourced to get here, if any
    chip: str  # as npu-smi names it: "310P3"
    soc_version: str  # as `atc --soc_version` wants it: "Ascend310P3"
    npu_smi: str  # its version line
    npus: tuple[int, ...] = (0,)  # the devices of the run
    has_divide_flag: bool = True  # of ais_bench; asked only when there are several devices

    @property
    def is_emulated(self) -> bool:
        return self.kind == CPU_EMULATION

    def identity(self) -> dict[str, str]:
        """What a compiled model and its outputs depend on."""
        versions = {"npu_smi": self.npu_smi, "cann": self.cann_version()}
        if self.is_emulated:
            sources = sorted([*EMULATION.rglob("*.py"), *(EMULATION / "bin").iterdir()])
            versions = {"emulation": digest_files(sources), "onnxruntime": metadata.version("onnxruntime")}
            versions["played"] = self.env.get(PLAYED_CANN, "")
        return {"kind": self.kind, "soc_version": self.soc_version, **versions}

    @property
    def cann(self) -> str:
        """The toolkit as reports and side-cars name it."""
        if not self.is_emulated:
            return self.cann_version()
        played = self.env.get(PLAYED_CANN)
        return f"none, CPU emulation of CANN {played}" if played else "none, CPU emulation"

    def cann_version(self) -> str:
        """The toolkit's version as its `version.cfg` or install info states it, else "unknown"."""
        return read_cann_version(self.env)


@dataclass(frozen=True)
class Shell:
    """The environment in which the tools are called by name, and how it was found."""

    env: Mapping[str, str]
    reason: str  # why these tools were chosen, for the user
    set_env: Path | None  # the script that was sourced to get here, if any
    python: str  # the Python in which ais_bench should be installed


def find_tools(device: str, soc: str | None = None, npus: tuple[int, ...] = (0,)) -> Tools:
    """Choose the tools for `device` ("auto", "npu", "emulation") and read their cards; `soc` overrides soc_version.

    Raises ToolError when tools are missing, mixed or show no card, and UsageError when a device of `npus` is not there.
    """
    shell = find_shell(device)
    kind = require_one_kind(shell, device)
    require_ais_bench(shell, kind)
    chips, version = read_chips(shell.env)
    chip = choose_chips(chips, npus)[0].name
    return Tools(
        kind=kind,
        reason=shell.reason,
        env=shell.env,
        own_env=shell_environment(),
        python=shell.python,
        set_env=shell.set_env,
        chip=chip,
        soc_version=soc or soc_version_of(chip),
        npu_smi=version,
        npus=npus,
        has_divide_flag=len(npus) == 1 or _has_divide_flag(shell),
    )


def _has_divide_flag(shell: Shell) -> bool:
    """Whether this ais_bench divides inputs only with a flag; releases cannot be told apart by their version."""
    command = [shell.python, "-m", "ais_bench", "--help"]
    result = capture(command, shell.env)
    if result.returncode != 0:
        last = (result.stdout + result.stderr).strip().splitlines()[-1:]
        raise ToolError(f"{' '.join(command)} failed with exit code {result.returncode}: {''.join(last)}")
    return DIVIDE_FLAG in result.stdout


def find_shell(device: str) -> Shell:
    """Find the environment of the tools for `device` ("auto", "npu", "emulation"); does not check whether they work.

    auto chooses CANN's tools where they are on PATH or in their default location, otherwise the stand-ins; it never
    falls back from tools that exist but do not work. Raises ToolError when device=npu finds none of them.
    """
    env = shell_environment()
    set_env: Path | None = None
    if device == ON_EMULATION:
        reason, set_env = "device=emulation was requested", EMULATION / "set_env.sh"
    elif which("atc", env):
        reason, set_env = "its tools are on PATH", _set_env_of_our_own(env)
    elif CANN_SET_ENV.is_file():
        # The driver alone puts npu-smi on PATH; the toolkit comes with its script.
        reason, set_env = f"{CANN_SET_ENV} is there", CANN_SET_ENV
    elif which("npu-smi", env):
        reason = "npu-smi is on PATH"
    elif device == AUTO:
        reason, set_env = f"no npu-smi or atc on PATH and no {CANN_SET_ENV}", EMULATION / "set_env.sh"
    else:
        raise ToolError(
            f"device=npu, but there is no npu-smi or atc on PATH and no {CANN_SET_ENV}. "
            "Source CANN's set_env.sh first, or use device=emulation for the emulation."
        )
    if set_env is not None:
        env = source_set_env(set_env, env)
    python = env.get("ASCEND_PYTHON", "python3")
    if set(_kinds(env).values()) == {CPU_EMULATION}:
        # The stand-ins compute in the Python that runs now, which has ONNX Runtime, not in whichever is python3.
        env = environment_of_our_python(env, packages=EMULATION)
        env["PATH"] = os.pathsep.join([str(EMULATION / "bin"), env["PATH"]])
        python = "python3"
    return Shell(env, reason, set_env, python)


def require_one_kind(shell: Shell, device: str) -> str:
    """Return the kind of the tools by their location; raises ToolError when missing, mixed or not as requested."""
    kinds = _kinds(shell.env)
    for program, kind in kinds.items():
        if kind is None:
            raise ToolError(
                f"There is no {program} on PATH. Source CANN's set_env.sh (and install the driver), "
                "or use device=emulation for the emulation."
            )
    if len(set(kinds.values())) > 1:
        raise ToolError(
            f"PATH mixes the stand-ins with CANN's tools ({kinds}). Open a new shell and source one set_env.sh only."
        )
    if device == ON_NPU and kinds["atc"] != NPU:
        raise ToolError(
            f"device=npu, but {which('atc', shell.env)} is the stand-in. "
            "Open a shell without emulation/set_env.sh, and without an environment in which ascend-emulation is "
            "installed; then source CANN's own."
        )
    return kinds["atc"] or NPU


def which(program: str, env: Mapping[str, str]) -> str | None:
    """Return the path of a program as a shell with `env` would find it."""
    return shutil.which(program, path=env.get("PATH"))


def read_cann_version(env: Mapping[str, str]) -> str:
    """Return the toolkit's version as its `version.cfg` or install info states it, else "unknown"."""
    home = Path(env.get("ASCEND_TOOLKIT_HOME", ""))
    for path in (home / "version.cfg", *sorted(home.glob("*-linux/ascend_toolkit_install.info"))):
        if path.is_file():
            found = re.search(r"(?:version|running_version)\s*=\s*\[?([^\]\s]+)", path.read_text(errors="replace"))
            if found:
                return found.group(1)
    return "unknown"


def source_set_env(script: Path, env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that a shell has after sourcing `script`; raises ToolError when there is none."""
    if not script.is_file():
        raise ToolError(
            f"There is no {script}. The stand-ins live in the project's checkout: run from there, "
            "or use device=npu where CANN is installed."
        )
    # Its own exit code means nothing (it may end in a test that fails); the tools are checked afterwards.
    result = capture(["bash", "-c", 'source "$1" >/dev/null; env -0', "bash", str(script)], env)
    if result.returncode != 0:
        raise ToolError(f"{script} ended the shell with exit code {result.returncode}: {result.stderr.strip()}")
    return dict(line.split("=", 1) for line in result.stdout.split("\0") if "=" in line)


# Runs in the Python of ais_bench, which may be as old as 3.7; what the imports print comes before its line. As with -m,
# the current folder is searched first: "shadows" are files in it that were imported instead of those of the same name.
_AIS_BENCH_PROBE = """
import ais_bench.infer.interface, aclruntime
import importlib.machinery, os, sys
def version(name):
    try:
        from importlib import metadata
        return metadata.version(name)
    except Exception:
        return "unknown"
def shadows(folder=os.getcwd()):
    elsewhere = [entry for entry in sys.path if os.path.abspath(entry) != folder]
    for name, module in sorted(sys.modules.items()):
        if name.split(".")[0] in ("ais_bench", "aclruntime"):
            continue
        file = os.path.abspath(getattr(module, "__file__", None) or os.sep)
        if file.startswith((os.path.join(folder, name + "."), os.path.join(folder, name, "__init__."))):
            if importlib.machinery.PathFinder.find_spec(name, elsewhere):
                yield file
facts = {"python": sys.executable, "python_version": sys.version.split()[0], "shadows": list(shadows())}
for module in (ais_bench.infer.interface, aclruntime):
    name = module.__name__.split(".")[0]
    facts[name], facts[name + "_version"] = module.__file__, version(name)
print("facts:", {**facts, "numpy_version": version("numpy")})
"""
_NOT_FROM_HERE = "import sys; sys.path[:] = filter(None, sys.path)\n"  # as the stand-in of ais_bench does it


def require_ais_bench(shell: Shell, kind: str | None) -> dict[str, str]:
    """Return where ais_bench and aclruntime lie, and versions; raises ToolError when they are missing.

    Also when aclruntime is not of `kind` (None: unknown), or the current folder has files that ais_bench would import.
    """
    code = _NOT_FROM_HERE + _AIS_BENCH_PROBE if kind == CPU_EMULATION else _AIS_BENCH_PROBE
    result = capture([shell.python, "-c", code], shell.env)
    _, is_whole, line = result.stdout.rpartition("facts: ")
    if result.returncode != 0 or not is_whole:  # a module of the user may end Python with exit code 0
        raise ToolError(_explain_no_ais_bench(shell.python, result.stderr))
    facts = ast.literal_eval(line.strip())
    shadows = facts.pop("shadows")
    if shadows:
        raise ToolError(
            f"{shell.python} -m ais_bench would import {shadows[0]} instead of the module that it needs, because "
            "Python searches the current folder first. Run from another folder, or rename that file."
        )
    if kind and _is_stand_in(facts["aclruntime"]) != (kind == CPU_EMULATION):
        raise ToolError(
            f"aclruntime is {Path(facts['aclruntime']).resolve()}, which does not belong to the same installation as "
            "atc. Open a new shell and source one set_env.sh only."
        )
    return facts


def _explain_no_ais_bench(python: str, stderr: str) -> str:
    """Return what to do where Python cannot import ais_bench, from the import's last words."""
    error = stderr.strip().splitlines()[-1:] or ["no message"]
    if "No module named 'ais_bench.infer" in error[0]:
        return (
            f"{python} has another package called ais_bench, without the inference tool (AISBench's evaluator of "
            f"language models has that name, too): {error[0]}. Uninstall it there, or name a Python that has the "
            "inference tool in ASCEND_PYTHON."
        )
    if f"{Path.cwd()}/" in stderr:
        return (
            f"{python} cannot import ais_bench and aclruntime, because Python searches the current folder "
            f"({Path.cwd()}) first: {error[0]}. Run from another folder, or rename that file."
        )
    return (
        f"{python} cannot import ais_bench and aclruntime: {error[0]}. Install the ais_bench inference tool in that "
        "Python, or name the Python that has it in ASCEND_PYTHON."
    )


def _kinds(env: Mapping[str, str]) -> dict[str, str | None]:
    """Return the kind of each tool by its location; None where it is missing."""
    paths = {program: which(program, env) for program in ("npu-smi", "atc")}
    return {program: path and (CPU_EMULATION if _is_stand_in(path) else NPU) for program, path in paths.items()}


def _is_stand_in(program: str) -> bool:
    """Whether a program or a package's file is one of the stand-ins: of this checkout, of another, or installed.

    The program of an installed stand-in is pip's script of a few lines, which imports their package.
    """
    path = Path(program).resolve()
    if (path.parent.parent / STAND_INS).is_dir():
        return True
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return False
    return head.startswith(b"#!") and STAND_INS.encode() in head


def _set_env_of_our_own(env: Mapping[str, str]) -> Path | None:
    """Return what to source where PATH has the stand-ins of another checkout; None where it has not."""
    atc = which("atc", env)
    if atc is None or not _is_stand_in(atc) or EMULATION in Path(atc).resolve().parents:
        return None
    return EMULATION / "set_env.sh"
