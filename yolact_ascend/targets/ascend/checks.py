"""What doctor looks at on this target: the tools' environment, card, atc, ais_bench."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from yolact_ascend.checks import OK, WARN, Check, run_check
from yolact_ascend.errors import ToolError
from yolact_ascend.process import capture
from yolact_ascend.targets.ascend.cards import choose_chips, read_chips, soc_version_of
from yolact_ascend.targets.ascend.errors import COMPILER_MODULES, COMPILER_PIP
from yolact_ascend.targets.ascend.tools import (
    CPU_EMULATION,
    NPU,
    Shell,
    find_shell,
    read_cann_version,
    require_ais_bench,
    require_one_kind,
    which,
)
from yolact_ascend.targets.target import DeviceRequest

# Names, of the modules that it gets and numpy<2, those that the Python that runs it does not have.
_COMPILER_PROBE = """
import importlib, sys
try:
    import numpy
    has_numpy = int(numpy.__version__.split(".")[0]) < 2
except Exception:
    has_numpy = False
if not has_numpy:
    print("numpy<2")
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception:
        print(name)
"""


def check_tools(request: DeviceRequest) -> list[Check]:
    """Make the checks of this target; a failed one does not keep the next from being made."""
    shell, environment = _check_environment(request)
    if shell is None:
        return [environment]
    kind = environment.facts.get("kind")
    return [
        environment,
        run_check("card", lambda: check_card(shell, request.soc, request.npus)),
        run_check("atc", lambda: check_atc(shell, kind)),
        run_check("ais_bench", lambda: check_ais_bench(shell, kind)),
    ]


def check_card(shell: Shell, soc: str | None, npus: Sequence[int]) -> Check:
    """The cards that npu-smi shows, and the soc_version that atc is given for them."""
    path = which("npu-smi", shell.env)
    if path is None:
        raise ToolError(
            "There is no npu-smi on PATH. Install the driver, or use device=emulation for the CPU emulation."
        )
    found, version = read_chips(shell.env)
    chips = [chip.name for chip in found]
    chosen = choose_chips(found, npus)[0]
    soc_version = soc or soc_version_of(chosen.name)
    text = f"{', '.join(chips)} (npu-smi {version}, {path}); soc_version {soc_version}{', from soc=' if soc else ''}"
    facts = {"chips": chips, "soc_version": soc_version, "npu_smi": version, "npu_smi_path": path}
    if len(set(chips)) > 1:
        text += f". The cards differ; this run uses device {chosen.device_id}, a {chosen.name} (npus= selects)"
    return Check("card", OK, text, facts)


def check_atc(shell: Shell, kind: str | None) -> Check:
    """Where atc is, of which CANN, and whether the Python that it compiles operators in has what it imports."""
    path = which("atc", shell.env)
    if path is None:
        raise ToolError(
            "There is no atc on PATH. Source CANN's set_env.sh, or use device=emulation for the CPU emulation."
        )
    if kind == CPU_EMULATION:
        return Check("atc", OK, f"stand-in, {path}", {"path": path, "cann": None})
    version = read_cann_version(shell.env)
    text, facts = f"CANN {version}, {path}", {"path": path, "cann": version}
    trouble = _compiler_trouble(shell.env)
    if trouble:
        return Check(
            "atc",
            WARN,
            f"{text}. Its compiler's Python ({which('python3', shell.env)}) {trouble}: {COMPILER_PIP}",
            facts,
        )
    return Check("atc", OK, text, facts)


def check_ais_bench(shell: Shell, kind: str | None) -> Check:
    """The Python of ais_bench, and where ais_bench and aclruntime lie in it."""
    facts = require_ais_bench(shell, kind)
    tools = "; ".join(f"{name} {facts[f'{name}_version']}, {facts[name]}" for name in ("ais_bench", "aclruntime"))
    return Check("ais_bench", OK, f"{tools}; Python {facts['python_version']}, {facts['python']}", facts)


def _check_environment(request: DeviceRequest) -> tuple[Shell | None, Check]:
    """Find the tools' shell and its kind; a shell is returned even if its tools are mixed or incomplete."""
    shells: list[Shell] = []

    def look() -> Check:
        shells.append(find_shell(request.device))
        kind = require_one_kind(shells[0], request.device)
        name = "CANN and its NPU" if kind == NPU else "CPU emulation"
        sourced = f", by sourcing {shells[0].set_env}" if shells[0].set_env else ""
        facts = {"kind": kind, "reason": shells[0].reason, "set_env": shells[0].set_env and str(shells[0].set_env)}
        return Check("environment", OK, f"{name}: {shells[0].reason}{sourced}", facts)

    check = run_check("environment", look)
    return (shells[0] if shells else None), check


def _compiler_trouble(env: Mapping[str, str]) -> str:
    """Return what is missing in atc's Python, from known causes of E40000; "" when nothing is."""
    result = capture(["python3", "-c", _COMPILER_PROBE, *COMPILER_MODULES], env)
    lacking = result.stdout.split()
    return f"is missing {', '.join(lacking)}; atc may then fail with E40000" if lacking else ""
