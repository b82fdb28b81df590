"""The chips of a machine, as `npu-smi info` shows them, their names for atc and their numbers for ais_bench."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from subprocess import CompletedProcess

from yolact_ascend.errors import ToolError, ToolTimeout, UsageError, YolactAscendError
from yolact_ascend.process import capture
from yolact_ascend.targets.ascend.installation import (
    CARD_GUIDE,
    UNKNOWN,
    device_files,
    driver_folder,
    read_cann_version,
    release_of,
    which,
)
from yolact_ascend.targets.target import COMPILE, RUN

NPU_SMI_LIMIT_S = 60.0  # it answers in seconds, and in some pods never (HAMi)
VISIBLE_DEVICES = "ASCEND_RT_VISIBLE_DEVICES"
# A chip has two rows in `npu-smi info`: "| 0  310P3  | OK  | 15.8 …", and below it "| 0  0  | 0000:82:00.0 |" or NA.
# Names have letters and hyphens (910B4-1, Ascend950PR, 310Pvir02), or are a number alone (310).
_NAME_ROW = re.compile(r"^\|\s*(\d+)\s+((?:Ascend)?\d{3}[\w-]*)\s*\|\s*([A-Za-z][A-Za-z ]*?)\s*\|")
_CHIP_ROW = re.compile(r"^\|\s*(\d+)(?:\s+(\d+|NA))?\s*\|\s*(?:NA|[0-9A-Fa-f:.]+)\s*\|")
_CAPTION = re.compile(r"^\|\s*(?:npu-smi\b|NPU\s+Name\b|Chip\b)")
_DEVICE_COLUMN = re.compile(r"^\|\s*Chip\s+Device\b", re.MULTILINE)
_PROCESS_TABLE = re.compile(r"^\|\s*NPU\s+Chip\b")
_NPU_SMI_VERSION = re.compile(r"^\|\s*npu-smi\s+(.*?)\s*\|", re.MULTILINE)

# Names of a series, which atc refuses, and what it takes (with products, as Ultralytics' guide to Ascend names them).
_SERIES = {
    "Ascend310P": (
        "Ascend310P3 (Atlas 300I Pro, 300V Pro, 300I Duo), Ascend310P1 (Atlas 300I), Ascend310P5 or Ascend310P7"
    ),
    "Ascend310B": (
        "Ascend310B4 (OrangePi AIPro 20T, Atlas 200I A2), Ascend310B1 (OrangePi AIPro 8T), Ascend310B2 or Ascend310B3"
    ),
}
_FIRST_910B = "Ascend910B"
_VIRTUAL = re.compile(r"vir\d+", re.IGNORECASE)
_NOT_ON_SHARES_SINCE = (8, 0)  # models of these releases of CANN do not load on a virtual 310P (HAMi#1846)
_CHIP_WORD = re.compile(r"(?:ascend)?(\d{3}[\w-]*)", re.IGNORECASE)  # as npu-smi and users write it

# What npu-smi prints when it fails, and what helps; the sources are in the tests.
_HINTS = (
    (
        re.compile(r"error while loading shared libraries"),
        "Its libraries are the driver's: add {driver}/lib64, {driver}/lib64/common and {driver}/lib64/driver to "
        "LD_LIBRARY_PATH. In a container, mount {driver}.",
    ),
    (
        re.compile(r"-80(?:05|20)\b"),
        "Another container or process holds the device, or this container was not given it: stop the other one, or "
        "start this one with the devices and folders of {guide} (or --privileged).",
    ),
    (re.compile(r"[Pp]ermission denied"), "{group}"),
    (re.compile(r"no chip that the stand-ins imitate"), "Pass another soc=, or compile and run on the card itself."),
)
_NO_HINT = "Is the driver loaded and the card healthy? See {guide}. Without a card, use device=emulation."


@dataclass(frozen=True)
class Chip:
    """One chip; a card has one, two or four."""

    device_id: int  # its number for ACL, and so for `ais_bench --device`
    card: int  # npu-smi's number of the card, which need not begin at 0
    name: str  # as npu-smi prints it: "310P3", "910B3", "Ascend910"
    index: int = 0  # its number on its card


@dataclass(frozen=True)
class Card:
    """The card of a run, as far as its stages need to know it."""

    chips: Sequence[Chip] = ()  # all that a process can use
    chosen: Chip | None = None  # the first of the run's
    soc_version: str = UNKNOWN
    npu_smi: str = UNKNOWN  # its version line
    remark: str = ""  # for the user
    doubt: str = ""  # why the run may fail


def find_card(
    env: Mapping[str, str], is_real: bool, soc: str | None, npus: Sequence[int], work: frozenset[str]
) -> Card:
    """Find the devices of a run and their soc_version, as far as `work` needs them.

    Compiling for a `soc` needs no card; running needs no soc_version, and no npu-smi where the devices' files are
    there. Raises ToolError when something is missing, UsageError when a device of `npus` is not there.
    """
    card = _find_card(env, is_real, soc, npus, work)
    return replace(card, doubt=_join(card.doubt, _doubt_of_share(card.soc_version, env))) if COMPILE in work else card


def _find_card(
    env: Mapping[str, str], is_real: bool, soc: str | None, npus: Sequence[int], work: frozenset[str]
) -> Card:
    if soc is not None:
        require_chip(soc, f"soc={soc}")
    if RUN not in work and (COMPILE not in work or soc is not None):
        return Card(soc_version=soc or UNKNOWN, remark=describe_generation(soc))
    if which("npu-smi", env) is None:
        return _without_npu_smi(soc, work)
    chips, version = read_chips(env)
    remark = ""
    if is_real:  # the stand-ins number their cards without it
        chips, remark = visible_chips(chips, env)
    chosen = choose_chips(chips, npus, remark)[0]
    if soc is None:
        soc = soc_version_of(chosen, env) if COMPILE in work else _soc_version_if_known(chosen, env)
        return Card(chips, chosen, soc, version, _join(remark, describe_generation(soc)))
    shown = _soc_version_if_known(chosen, env)
    doubt = f"soc={soc}, but npu-smi shows {shown}, on which such a model may not load." if shown != soc else ""
    return Card(chips, chosen, soc, version, _join(remark, describe_generation(soc)), doubt if shown != UNKNOWN else "")


def _without_npu_smi(soc: str | None, work: frozenset[str]) -> Card:
    if COMPILE in work and soc is None:
        raise ToolError(
            "There is no npu-smi on PATH, which shows what chip to compile for. Pass it as soc= (such as "
            f"soc=Ascend310P3), or install the driver ({CARD_GUIDE}), or use device=emulation for the CPU emulation."
        )
    if not device_files():
        raise ToolError(
            "There is no npu-smi on PATH and no /dev/davinci0: this host or container has no NPU. Install the driver, "
            f"or start the container with its devices ({CARD_GUIDE}), or use device=emulation for the CPU emulation."
        )
    remark = "There is no npu-smi on PATH: the devices were not checked."
    return Card(soc_version=soc or UNKNOWN, remark=_join(remark, describe_generation(soc)))


def _soc_version_if_known(chip: Chip, env: Mapping[str, str]) -> str:
    """Return a chip's soc_version for records and reports; a run of a compiled model does not need it."""
    try:
        return soc_version_of(chip, env)
    except YolactAscendError:
        return UNKNOWN


def _join(*sentences: str) -> str:
    return " ".join(filter(None, sentences))


def read_chips(env: Mapping[str, str]) -> tuple[list[Chip], str]:
    """Ask `npu-smi info`; return (the chips, version line).

    Raises ToolError when it shows none, does not answer, or has a row that is not understood.
    """
    result = _ask_npu_smi(["npu-smi", "info"], env)
    chips = parse_npu_smi(result.stdout)
    if result.returncode != 0 or not chips:
        text = (result.stdout + result.stderr).strip()
        words = [line for line in text.splitlines() if re.search("[A-Za-z]", line)]  # and not the frame of a table
        raise ToolError(
            f"npu-smi info {'failed' if chips else 'shows no card'} (exit code {result.returncode}): "
            f"{words[-1].strip() if words else 'no output'}. {_hint(text)}"
        )
    version = _NPU_SMI_VERSION.search(result.stdout)
    return chips, re.sub(r"\s+", " ", version.group(1)) if version else "unknown"


def _ask_npu_smi(command: Sequence[str], env: Mapping[str, str]) -> CompletedProcess[str]:
    """Run npu-smi; raises ToolError where it does not answer."""
    try:
        return capture(command, env, NPU_SMI_LIMIT_S)
    except ToolTimeout as error:
        raise ToolError(
            f"{error} Some driver locks are left behind by killed processes and, in pods, by HAMi's library: try "
            "npu-smi in a new shell or on the host, and restart the container or the machine."
        ) from error


def _hint(text: str) -> str:
    """Return what helps where npu-smi fails with this output."""
    hints = [hint for pattern, hint in _HINTS if pattern.search(text)]
    if barred_devices() and "{group}" not in hints:
        hints.append("{group}")
    text = " ".join(hints or [_NO_HINT])
    return text.format(group=describe_group(), guide=CARD_GUIDE, driver=driver_folder())


def barred_devices() -> list[str]:
    """Return the files of devices that this user may not read and write."""
    return [str(path) for path in device_files() if not os.access(path, os.R_OK | os.W_OK)]


def describe_group() -> str:
    """Return what to do where this user may not use the card."""
    return f"This user may not use the card: add it to the group HwHiAiUser (see {CARD_GUIDE}), and log in again."


def parse_npu_smi(text: str) -> list[Chip]:
    """Return the chips in the output of `npu-smi info`, in its order; raises ToolError for a row of another form.

    ACL counts the chips that a process sees from 0. The layout without HBM prints that number ("Chip  Device"); others
    print none, or a physical one ("Chip  Phy-ID") that is larger where a container has only some of the chips.
    """
    has_device_ids = _DEVICE_COLUMN.search(text)
    chips: list[Chip] = []
    is_second = False  # whether the second row of a chip may come
    for line in text.splitlines():
        if _PROCESS_TABLE.match(line):
            break
        if not line.startswith("|") or _CAPTION.match(line):
            continue
        name_row, chip_row = _NAME_ROW.match(line), _CHIP_ROW.match(line)
        if name_row and not (chip_row and is_second):
            chips.append(Chip(len(chips), int(name_row.group(1)), name_row.group(2)))
            is_second = True
        elif chip_row and is_second:
            number = chip_row.group(2) or ""
            device_id = int(number) if has_device_ids and number.isdigit() else chips[-1].device_id
            chips[-1] = replace(chips[-1], device_id=device_id, index=int(chip_row.group(1)))
            is_second = False
        else:
            raise ToolError(
                f"npu-smi info has a row that is not understood: '{line.strip()}'. Without it, devices could be "
                "counted wrongly. Please report it with the whole output of npu-smi info."
            )
    return chips


def visible_chips(chips: Sequence[Chip], env: Mapping[str, str]) -> tuple[list[Chip], str]:
    """Return the chips that ACL shows under ASCEND_RT_VISIBLE_DEVICES, by its numbers, and a remark on that.

    ACL numbers them from 0 again, which npu-smi does not. Numbers of no chip are dropped silently; a list that does
    not ascend hides all chips. Raises ToolError where ACL would show none.
    """
    word = env.get(VISIBLE_DEVICES)
    if word is None:
        return list(chips), ""
    by_id = {chip.device_id: chip for chip in chips}
    there = f"npu-smi info shows {', '.join(map(str, by_id))}"
    try:
        numbers = [int(part) for part in word.split(",")]
    except ValueError:
        raise ToolError(
            f"{VISIBLE_DEVICES}='{word}': expected device numbers, separated by commas, such as 0,1. {there}. "
            "Fix it, or unset it to use all devices."
        ) from None
    if any(second <= first for first, second in zip(numbers, numbers[1:])):
        ordered = ",".join(map(str, sorted(set(numbers))))
        raise ToolError(
            f"{VISIBLE_DEVICES}={word}: CANN takes ascending numbers only, and otherwise shows no device at all. "
            f"Set {VISIBLE_DEVICES}={ordered}; npus= chooses among them and their order."
        )
    seen = [by_id[number] for number in numbers if number in by_id]
    if not seen:
        raise ToolError(f"{VISIBLE_DEVICES}={word} names no device that is there: {there}. Fix it, or unset it.")
    mapping = ", ".join(f"{index} is npu-smi's {chip.device_id}" for index, chip in enumerate(seen))
    dropped = [str(number) for number in numbers if number not in by_id]
    ignored = f"; CANN ignores {', '.join(dropped)} ({there})" if dropped else ""
    return [replace(chip, device_id=index) for index, chip in enumerate(seen)], (
        f"{VISIBLE_DEVICES}={word}: device {mapping}{ignored}."
    )


def choose_chips(chips: Sequence[Chip], npus: Sequence[int], remark: str = "") -> list[Chip]:
    """Return the chips with the device numbers of `npus=`; raises UsageError when one is missing, or kinds differ."""
    asked = f"npus={','.join(map(str, npus))}"
    by_id = {chip.device_id: chip for chip in chips}
    for npu in npus:
        if npu not in by_id:
            shown = ", ".join(f"{chip.device_id} ({chip.name})" for chip in chips)
            source = "CANN" if remark else "npu-smi info"
            raise UsageError(f"{asked}: {source} shows no device {npu}; it shows {shown}. {remark}".rstrip())
    chosen = [by_id[npu] for npu in npus]
    if len({chip.name for chip in chosen}) > 1:
        names = ", ".join(f"{chip.device_id} is {chip.name}" for chip in chosen)
        raise UsageError(f"{asked}: device {names}, but one .om is for one kind of chip. Choose devices of one kind.")
    return chosen


def soc_version_of(chip: Chip, env: Mapping[str, str]) -> str:
    """Turn npu-smi's name of a chip into atc's; raises ToolError where the name does not determine it."""
    virtual = _VIRTUAL.search(chip.name)
    if virtual:
        whole = "Ascend310P3" if chip.name.startswith("310P") else "that of the whole card, such as Ascend910B3,"
        raise ToolError(
            f"npu-smi names the chip '{chip.name}': a virtual NPU, a share of a card. Its --soc_version is {whole} "
            "with the share's name (atc knows Ascend310P3Vir01, Vir02, Vir04 and Vir08): pass it as soc=. On a virtual "
            "310P, models that CANN 8 or newer compiles do not load (HAMi#1846): use the whole card, or CANN 7."
        )
    if chip.name.startswith("Ascend"):
        return _ask_board(chip, env)
    return require_chip(f"Ascend{chip.name}", f"npu-smi names the chip '{chip.name}'")


def require_chip(soc_version: str, said: str) -> str:
    """Return a soc_version from `said`; raises UsageError for a series or a name without Ascend, which atc refuses."""
    word = _CHIP_WORD.fullmatch(soc_version)
    if word and not soc_version.startswith("Ascend"):
        name = word[1] if _VIRTUAL.search(word[1]) else word[1].upper()
        if f"Ascend{name}" not in _SERIES:
            raise UsageError(
                f"{said}: expected atc's name of the chip, which begins with Ascend. Pass soc=Ascend{name}."
            )
        soc_version = f"Ascend{name}"
    if soc_version in _SERIES:
        raise UsageError(
            f"{said}: a series, which atc does not compile for. Pass the chip as soc=: {_SERIES[soc_version]}."
        )
    return soc_version


def describe_generation(soc_version: str | None) -> str:
    """Return what must be said about a chip whose name another generation nearly has; "" for the others."""
    if soc_version != _FIRST_910B:
        return ""
    return (
        f"{_FIRST_910B} is the first generation (Atlas 300T, 800; 32 GB). Cards of the second, Atlas A2, are "
        "Ascend910B1 to Ascend910B4, and do not run its models."
    )


def _doubt_of_share(soc_version: str, env: Mapping[str, str]) -> str:
    """Return why a model of this CANN will not load on a share of a card; "" where it does, or that is not known."""
    version = read_cann_version(env)
    is_share = soc_version.startswith("Ascend310P") and _VIRTUAL.search(soc_version)
    if not is_share or (release_of(version) or (0, 0)) < _NOT_ON_SHARES_SINCE:
        return ""
    return (
        f"{soc_version} is a virtual NPU, on which models that CANN {version} compiles do not load (HAMi#1846): use "
        "the whole card, or CANN 7."
    )


def _ask_board(chip: Chip, env: Mapping[str, str]) -> str:
    """Return the soc_version of a chip whose name is a series: <Chip Name>_<NPU Name> of `npu-smi info -t board`.

    CANN's guide to ATC asks so on Atlas A3, by card and chip, and on Ascend 950 by card alone.
    """
    by_card = ["npu-smi", "info", "-t", "board", "-i", str(chip.card)]
    for command in ([*by_card, "-c", str(chip.index)], by_card):
        result = _ask_npu_smi(command, env)
        rows = dict(re.findall(r"^\s*(Chip Name|NPU Name)\s*:\s*(\S+)\s*$", result.stdout, re.MULTILINE))
        if result.returncode == 0 and len(rows) == 2:
            return f"{rows['Chip Name']}_{rows['NPU Name']}"
    last = (result.stdout + result.stderr).strip().splitlines()[-1:] or ["no output"]
    raise ToolError(
        f"npu-smi names the chip '{chip.name}', which is no --soc_version of atc, and `{' '.join(by_card)} -c "
        f"{chip.index}` states no Chip Name and NPU Name: {last[0].strip()}. "
        "Pass it as soc=<Chip Name>_<NPU Name>, such as soc=Ascend910_9392."
    )
