"""CANN's tools (Huawei's toolkit for Ascend NPUs): where they are, and whether they are real or the CPU stand-ins.

The stand-ins of `emulation/` have the real tools' commands; only what `find_tools` calls knows which of them run.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path

from yolact_ascend.environment import environment_of_our_python, shell_environment
from yolact_ascend.errors import ToolError
from yolact_ascend.files import digest_files, how_to_restore, shipped
from yolact_ascend.process import capture
from yolact_ascend.targets.ascend.ais_bench import AisBenchFlags, ask_flags
from yolact_ascend.targets.ascend.cards import find_card
from yolact_ascend.targets.ascend.explain import explain_no_ais_bench
from yolact_ascend.targets.ascend.installation import (
    CARD_GUIDE,
    UNKNOWN,
    describe_search,
    find_set_env,
    homes,
    missing_libraries,
    read_cann_version,
    sign_of_card,
    which,
    with_libraries,
)
from yolact_ascend.targets.ascend.stand_ins import is_installed_stand_in, is_stand_in
from yolact_ascend.targets.target import ALL_WORK, COMPILE, RUN

EMULATION = shipped("emulation")
PLAYED_CANN = "EMULATED_CANN"  # the release that the emulated atc plays
PLAYED_CHIP = "EMULATED_SOC"  # the chip of the emulated cards
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
    known_flags: AisBenchFlags | None = None  # of ais_bench, where they need not be asked
    remark: str = ""  # on the card, for the user
    libraries: tuple[str, ...] = ()  # folders that were added to LD_LIBRARY_PATH

    @property
    def is_emulated(self) -> bool:
        return self.kind == CPU_EMULATION

    @cached_property
    def ais_bench_flags(self) -> AisBenchFlags:
        """How this ais_bench spells its flags: it is asked once, and only where a command needs them."""
        return self.known_flags or ask_flags(self.python, self.env)

    def identity(self, work: str = RUN) -> dict[str, str]:
        """What a compiled model (COMPILE) or its outputs (RUN) depend on."""
        versions = {"cann": self.cann_version()}
        if work == RUN:  # a model may be compiled on a host without a card
            versions["npu_smi"] = self.npu_smi
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

    @property
    def played_chip(self) -> str | None:
        """The chip of the emulated cards, where the user's own shell would have another one."""
        chip = self.env.get(PLAYED_CHIP) if self.is_emulated else None
        return chip if chip != self.own_env.get(PLAYED_CHIP) else None

    def cann_version(self) -> str:
        """The toolkit's release, "unknown" where nothing states it."""
        return read_cann_version(self.env)


@dataclass(frozen=True)
class Shell:
    """The environment in which the tools are called by name, and how it was found."""

    env: Mapping[str, str]
    reason: str  # why these tools were chosen, for the user
    set_env: Path | None  # the script that was sourced to get here, if any
    python: str  # the Python in which ais_bench should be installed
    libraries: tuple[str, ...] = ()  # folders that were added to LD_LIBRARY_PATH


def find_tools(
    device: str, soc: str | None = None, npus: tuple[int, ...] = (0,), work: frozenset[str] = ALL_WORK
) -> Tools:
    """Choose the tools for `device` ("auto", "npu", "emulation") and read their cards; `soc` overrides soc_version.

    Raises ToolError when tools that `work` needs are missing, mixed or show no card, and UsageError when a device of
    `npus` is not there.
    """
    shell = find_shell(device, work)
    kind = require_one_kind(shell, device, work)
    shell = play_chip(shell, kind, soc)
    if RUN in work:
        require_ais_bench(shell, kind)
    is_real = kind == NPU  # the stand-ins always have a card to ask
    card = find_card(shell.env, is_real, soc, npus, work if is_real else ALL_WORK)
    return Tools(
        kind=kind,
        reason=shell.reason,
        env=shell.env,
        own_env=shell_environment(),
        python=shell.python,
        set_env=shell.set_env,
        chip=card.chosen.name if card.chosen else UNKNOWN,
        soc_version=card.soc_version,
        npu_smi=card.npu_smi,
        npus=npus,
        remark=" ".join(filter(None, [card.remark, card.doubt])),
        libraries=shell.libraries,
        known_flags=_flags_known_without_asking(kind, work),
    )


def play_chip(shell: Shell, kind: str, soc: str | None) -> Shell:
    """Return the shell whose emulated cards are of the chip `soc`; as it is where the tools are real."""
    if soc is None or kind != CPU_EMULATION:
        return shell
    return replace(shell, env={**shell.env, PLAYED_CHIP: soc})


def _flags_known_without_asking(kind: str, work: frozenset[str]) -> AisBenchFlags | None:
    """Return the stand-in's flags, and those of no ais_bench where nothing is run; None: ask the program."""
    return AisBenchFlags() if RUN not in work or (kind == CPU_EMULATION and _has_our_ais_bench()) else None


def _has_our_ais_bench() -> bool:
    """Whether the emulation's ais_bench is the stand-in, whose flags are known: no real release has this file."""
    return (EMULATION / "ais_bench" / "infer" / "options.py").is_file()


def find_shell(device: str, work: frozenset[str] = ALL_WORK) -> Shell:
    """Find the environment of the tools for `device` ("auto", "npu", "emulation"); does not check whether they work.

    auto chooses CANN's tools where they are on PATH or installed, otherwise the stand-ins; it never falls back from
    tools that exist but do not work, nor, where `work` is to be done, on a host that has a card. Raises ToolError then,
    and when device=npu finds none of them.
    """
    env = shell_environment()
    set_env: Path | None = None
    atc, npu_smi = (_chosen(program, env) for program in ("atc", "npu-smi"))
    installed = None if device == ON_EMULATION or atc else find_set_env(env)
    if device == ON_EMULATION:
        reason, set_env = "device=emulation was requested", EMULATION / "set_env.sh"
    elif atc:
        reason, set_env = "its tools are on PATH", _set_env_of_our_own(env)
    elif installed:
        # The driver alone puts npu-smi on PATH; the toolkit comes with its script.
        reason, set_env = installed.reason, installed.set_env
    elif npu_smi:
        reason = "npu-smi is on PATH"
    elif device == AUTO and not (work and sign_of_card()):
        reason, set_env = "no npu-smi or atc on PATH, no installed CANN and no card", EMULATION / "set_env.sh"
    else:
        why = "device=npu" if device == ON_NPU else f"{sign_of_card()} shows that this host has a card"
        raise ToolError(
            f"{why}, but there is no npu-smi or atc on PATH, and no CANN was found: {describe_search(env)}. Install it "
            f"({CARD_GUIDE}), or source CANN's set_env.sh first, or use device=emulation for the emulation."
        )
    if set_env is not None:
        env = source_set_env(set_env, env)
    python = env.get("ASCEND_PYTHON", "python3")
    kinds = set(_kinds(env).values())
    if kinds == {CPU_EMULATION}:
        # The stand-ins compute in the Python that runs now, which has ONNX Runtime, not in whichever is python3.
        env = environment_of_our_python(env, packages=EMULATION)
        env["PATH"] = os.pathsep.join([str(EMULATION / "bin"), env["PATH"]])
        return Shell(env, reason, set_env, "python3")
    libraries = missing_libraries(env)
    return Shell(with_libraries(env, libraries), reason, set_env, python, tuple(libraries))


def require_one_kind(shell: Shell, device: str, work: frozenset[str] = ALL_WORK) -> str:
    """Return the kind of the tools by their location; raises ToolError when missing, mixed or not as requested.

    Only compiling needs atc; who needs npu-smi depends on the settings, too (`find_card`).
    """
    kinds = _kinds(shell.env)
    if kinds["atc"] is None and COMPILE in work:
        raise ToolError(f"{explain_no_atc(shell)} What is compiled already runs without atc.")
    found = {kind for kind in kinds.values() if kind}
    if len(found) > 1:
        raise ToolError(
            f"PATH mixes the stand-ins with CANN's tools ({kinds}). Open a new shell and source one set_env.sh only."
        )
    kind = found.pop() if found else NPU  # a runtime alone has neither atc nor npu-smi
    if device == ON_NPU and kind != NPU:
        raise ToolError(
            f"device=npu, but {which('atc', shell.env)} is the stand-in. "
            "Open a shell without emulation/set_env.sh, and without an environment in which ascend-emulation is "
            "installed; then source CANN's own."
        )
    return kind


def explain_no_atc(shell: Shell) -> str:
    """Return what to do where atc is missing."""
    looked = f"{shell.set_env} was sourced, but brings none" if shell.set_env else describe_search(shell.env)
    return (
        f"There is no atc on PATH: {looked}. Install CANN's toolkit (its runtime NNRT has no atc; see {CARD_GUIDE}), "
        "or source its set_env.sh, or use device=emulation for the CPU emulation."
    )


def source_set_env(script: Path, env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that a shell has after sourcing `script`; raises ToolError when there is none."""
    if not script.is_file():
        raise ToolError(
            f"There is no {script}, which comes with yolact-ascend. Restore it: {how_to_restore('emulation')}. Or use "
            "device=npu where CANN is installed."
        )
    # Its own exit code means nothing (it may end in a test that fails); the tools are checked afterwards.
    # CANN's own reads variables that are not set, which ends a shell with -u; one may come by SHELLOPTS.
    lines = 'set +eu +o pipefail; source "$1" >/dev/null; env -0'
    result = capture(["bash", "-c", lines, "bash", str(script)], env)
    if result.returncode != 0:
        raise ToolError(
            f"{script} ended the shell with exit code {result.returncode}: {result.stderr.strip() or 'no message'}. "
            f"Is it CANN's own and complete? Otherwise install CANN again ({CARD_GUIDE})."
        )
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
    try:
        result = capture([shell.python, "-c", code], shell.env)
    except ToolError as error:
        raise ToolError(
            f"{error} It should be the Python that has ais_bench: set ASCEND_PYTHON to that one ({CARD_GUIDE})."
        ) from None
    _, is_whole, line = result.stdout.rpartition("facts: ")
    if result.returncode != 0 or not is_whole:  # a module of the user may end Python with exit code 0
        raise ToolError(explain_no_ais_bench(shell.python, result.stderr, bool(homes(shell.env))))
    facts = ast.literal_eval(line.strip())
    shadows = facts.pop("shadows")
    if shadows:
        raise ToolError(
            f"{shell.python} -m ais_bench would import {shadows[0]} instead of the module that it needs, because "
            "Python searches the current folder first. Run from another folder, or rename that file."
        )
    if kind and is_stand_in(facts["aclruntime"]) != (kind == CPU_EMULATION):
        raise ToolError(
            f"aclruntime is {Path(facts['aclruntime']).resolve()}, which does not belong to the same installation as "
            "atc. Open a new shell and source one set_env.sh only."
        )
    return facts


def _kinds(env: Mapping[str, str]) -> dict[str, str | None]:
    """Return the kind of each tool by its location; None where it is missing."""
    paths = {program: which(program, env) for program in ("npu-smi", "atc")}
    return {program: path and (CPU_EMULATION if is_stand_in(path) else NPU) for program, path in paths.items()}


def _chosen(program: str, env: Mapping[str, str]) -> str | None:
    """Return the path of a program; None for an installed stand-in, which no user put on PATH for this run."""
    path = which(program, env)
    return None if path is None or is_installed_stand_in(path) else path


def _set_env_of_our_own(env: Mapping[str, str]) -> Path | None:
    """Return what to source where PATH has the stand-ins of another checkout; None where it has not."""
    atc = which("atc", env)
    if atc is None or not is_stand_in(atc) or EMULATION in Path(atc).resolve().parents:
        return None
    return EMULATION / "set_env.sh"
