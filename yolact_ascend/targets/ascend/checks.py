"""What doctor looks at on this target: the tools' environment, card, atc, ais_bench."""

from __future__ import annotations

from yolact_ascend.checks import OK, WARN, Check, run_check
from yolact_ascend.errors import ToolError
from yolact_ascend.targets.ascend.ais_bench import ask_flags
from yolact_ascend.targets.ascend.cards import find_card
from yolact_ascend.targets.ascend.host_needs import access_troubles, compiler_troubles, precision_trouble
from yolact_ascend.targets.ascend.installation import CARD_GUIDE, UNKNOWN, read_cann_version, release_of, which
from yolact_ascend.targets.ascend.tools import (
    CPU_EMULATION,
    NPU,
    Shell,
    explain_no_atc,
    find_shell,
    play_chip,
    require_ais_bench,
    require_one_kind,
)
from yolact_ascend.targets.target import ALL_WORK, COMPILE, RUN, DeviceRequest

_LEAST_CANN = (6, 0)  # of ais_bench, by its own documents
NOT_NEEDED = "not needed for these stages"


def check_tools(request: DeviceRequest) -> list[Check]:
    """Make the checks of this target; a failed one does not keep the next from being made."""
    shell, environment = _check_environment(request)
    if shell is None:
        return [environment]
    kind = environment.facts.get("kind")
    if kind is not None:
        shell = play_chip(shell, kind, request.soc)
    card = run_check("card", lambda: check_card(shell, kind, request))
    soc_version = card.facts.get("soc_version", request.soc or UNKNOWN)
    return [
        environment,
        card,
        run_check("atc", lambda: check_atc(shell, kind, request, soc_version)),
        run_check("ais_bench", lambda: check_ais_bench(shell, kind, request)),
    ]


def check_card(shell: Shell, kind: str | None, request: DeviceRequest) -> Check:
    """The cards that npu-smi shows, the soc_version that atc is given for them, and whether this user may use them."""
    is_emulated = kind == CPU_EMULATION  # the stand-ins always have a card to ask
    card = find_card(shell.env, not is_emulated, request.soc, request.npus, ALL_WORK if is_emulated else request.work)
    names = [chip.name for chip in card.chips]
    facts = {
        "chips": names,
        "soc_version": card.soc_version,
        "npu_smi": card.npu_smi,
        "npu_smi_path": which("npu-smi", shell.env),
    }
    source = ", from soc=" if request.soc else ""
    if card.chosen is None:
        needed = f"soc_version {card.soc_version}{source}" if request.work else NOT_NEEDED
        sentences = [f"{needed}; no card is needed" if request.work == {COMPILE} else needed]
    else:
        text = f"{', '.join(names)} (npu-smi {card.npu_smi}, {facts['npu_smi_path']})"
        sentences = [f"{text}; soc_version {card.soc_version}{source}"]
        if len(set(names)) > 1:
            sentences.append(
                f"The cards differ; this run uses device {card.chosen.device_id}, a {card.chosen.name} (npus= selects)"
            )
    troubles = [card.doubt] if card.doubt else []
    if kind == NPU and RUN in request.work:
        troubles += access_troubles()
    remarks = [card.remark.rstrip(".")] if card.remark else []
    return Check("card", WARN if troubles else OK, ". ".join([*sentences, *remarks, *troubles]), facts)


def check_atc(shell: Shell, kind: str | None, request: DeviceRequest, soc_version: str) -> Check:
    """Where atc is, of which CANN, whether the host has what it needs, and the chip what the model needs."""
    if COMPILE not in request.work:
        return Check("atc", OK, NOT_NEEDED, {"path": which("atc", shell.env), "cann": None})
    path = which("atc", shell.env)
    if path is None:
        raise ToolError(explain_no_atc(shell))
    precision = precision_trouble(soc_version, request.precision)
    troubles = [precision] if precision else []
    if kind == CPU_EMULATION:
        text, version = f"stand-in, {path}", None
    else:
        version = read_cann_version(shell.env)
        text = f"CANN {version}, {path}"
        troubles += compiler_troubles(shell.env, version, soc_version)
    facts = {"path": path, "cann": version}
    return Check("atc", WARN if troubles else OK, ". ".join([text, *troubles]), facts)


def check_ais_bench(shell: Shell, kind: str | None, request: DeviceRequest) -> Check:
    """The Python of ais_bench, and where ais_bench and aclruntime lie in it."""
    if RUN not in request.work:
        return Check("ais_bench", OK, NOT_NEEDED)
    facts = require_ais_bench(shell, kind)
    if kind == NPU:  # the stand-in's flags are known
        ask_flags(shell.python, shell.env)  # raises ToolError for a command line that a run could not use
    tools = "; ".join(f"{name} {facts[f'{name}_version']}, {facts[name]}" for name in ("ais_bench", "aclruntime"))
    text = f"{tools}; Python {facts['python_version']}, {facts['python']}"
    version = read_cann_version(shell.env)
    if kind == NPU and (release_of(version) or _LEAST_CANN) < _LEAST_CANN:
        text += (
            f". This is CANN {version}, and ais_bench asks for 6.0.RC1 or newer: compile here, and run the model on a "
            f"host with a newer CANN ({CARD_GUIDE})."
        )
        return Check("ais_bench", WARN, text, facts)
    return Check("ais_bench", OK, text, facts)


def _check_environment(request: DeviceRequest) -> tuple[Shell | None, Check]:
    """Find the tools' shell and its kind; a shell is returned even if its tools are mixed or incomplete."""
    shells: list[Shell] = []

    def look() -> Check:
        shells.append(find_shell(request.device, request.work))
        shell = shells[0]
        kind = require_one_kind(shell, request.device, request.work)
        name = "CANN and its NPU" if kind == NPU else "CPU emulation"
        sourced = f", by sourcing {shell.set_env}" if shell.set_env else ""
        if shell.set_env and str(shell.set_env) in shell.reason:
            sourced = ", and was sourced"
        added = f", with {', '.join(shell.libraries)} on LD_LIBRARY_PATH" if shell.libraries else ""
        facts = {
            "kind": kind,
            "reason": shell.reason,
            "set_env": shell.set_env and str(shell.set_env),
            "libraries": list(shell.libraries),
        }
        return Check("environment", OK, f"{name}: {shell.reason}{sourced}{added}", facts)

    check = run_check("environment", look)
    return (shells[0] if shells else None), check
