"""Reads why a tool failed: in atc's output, in what a card says behind ais_bench, in a failed import of aclruntime.

Two forms of a message, by release: `CODE: [PID: n] time text` (without PID and time until CANN 7), and from CANN 8.5 on
`[PID: n] time Title(CODE): text`, an internal one after `CODE: Internal error!` (Ascend/runtime, error_manager.cc).
Either may come behind `[ACL ERROR] ` or another prefix of the program that prints it.
"""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import NamedTuple

from yolact_ascend.process import signal_of
from yolact_ascend.targets.ascend.errors import (
    ACL_NUMBERS,
    ATC_ERRORS,
    BY_MESSAGE,
    COMPILE,
    FLAG,
    INNER,
    INNER_ON_DEVICE,
    NUMPY_1,
    NUMPY_WITH_ALIASES,
    PYTHON,
    PYTHON_ITSELF,
    RUNTIME_ERRORS,
    VAGUE,
    numpy_for,
    python_advice,
)
from yolact_ascend.targets.ascend.installation import CARD_GUIDE, UNKNOWN

ACCEPTED_IN_PATHS = "ais_bench accepts only letters, digits and _ . - / in paths"
MOST_QUOTED = 240  # letters of a message
_MESSAGE = re.compile(r"\b(E\d{5}|E[A-Z]\d{4})\)?:[ \t]*(?:\[PID: ?\d+\][ \t]*[-\d:.]+[ \t]*)?([^\r\n]*)")
_NO_TEXT = re.compile(r"(?i)\s*(?:inner|internal) error!?\s*")
_NUMBER = re.compile(r"(?:ret|[Cc]ode|result|failed|error)(?: is)?[ :=]{1,3}(\d{6})\b|\[(\d{6})\]\[")
# "Value NHWC for parameter --input_format is invalid"; until CANN 8.0 value and name are in brackets.
_VALUE_OF_FLAG = re.compile(r"Value \[?(?P<value>.*?)\]? (?:for|of) parameter \[?(?P<flag>[\w.-]+)\]? ")
# Of CANN's Python, with and without a code.
_PYTHON_FAILURE = re.compile(r"Failed to import Python module|'FrameLocalsProxy'")
_NUMPY = re.compile(
    r"was removed in the NumPy|module 'numpy' has no attribute|multiarray failed to import|_ARRAY_API not found"
    r"|compiled using NumPy 1|cannot import name '\w+' from 'numpy"
)
_ALIASES = re.compile(r"module 'numpy' has no attribute '(?:float|int|bool|object|str|complex|long|unicode|typeDict)'")
_REFUSED_PATH = re.compile(r"path[^\n]* contains illegal char")  # ais_bench's check (docs/ais_bench_behaviours.md)
_LIBRARY = re.compile(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object file")
_SYMBOLS_OF_SYSTEM = re.compile(r"version [`'](GLIBC(?:XX)?_[\d.]+)' not found|(GLIBC(?:XX)?_[\d.]+) not found")
_SYSTEM_LIBRARY = re.compile(r"lib(?:gomp|stdc\+\+|gcc_s|gfortran|openblas|GL|ssl|crypto|ffi|sqlite3|z)[.-]")
_OTHER_CHIP = re.compile(r"supported socVersion=(\w+), but the model socVersion=(\w+)")
_NO_MODULE = re.compile(r"No module named '([\w.]+)'")
_OWN_MODULES = ("tbe", "te", "impl", "opc_tool", "asc_op_compile_base", "op_gen")  # CANN's, which pip does not have
_OPERATOR = re.compile(r"\b(?:[Oo]p(?:name|erator)?|[Nn]ode)(?: name)?[:=\[ ]+([\w./:-]*[A-Za-z_][\w./:-]*)")


class Message(NamedTuple):
    """A code in a tool's output, and the text behind it."""

    code: str
    text: str

    @property
    def is_inner(self) -> bool:
        """Whether it is one of the internal errors, which accompany the one that caused them."""
        return self.code.endswith("9999")


def explain_atc_failure(output: str, exit_code: int, version: str = UNKNOWN) -> str | None:
    """Explain atc's failure in one line, with a remedy; None when the output names no error.

    Of several errors the first one that is not internal counts. `version` is CANN's release.
    """
    ended_by = signal_of(exit_code)
    if ended_by is not None:
        return _explain_signal_of_atc(output, ended_by)
    python = _python_trouble(output, version)
    found = _find_message(output)
    if found is None or (found.is_inner and python):
        return (python and python[0].upper() + python[1:]) or (None if found else _explain_no_start_of_atc(output))
    advice = _advice(found, INNER)
    if advice == PYTHON or (advice == COMPILE and python):
        advice = python or python_advice(numpy_for(version))  # the first names the module
    return _sentence(found, advice)


def explain_device_failure(output: str, exit_code: int | None = None) -> str | None:
    """Explain in one line what the card's runtime says behind ais_bench; None when it says nothing that is known."""
    other = _OTHER_CHIP.search(output)
    if other is not None:
        card, made_for = other.groups()
        remedy = f"Compile it again: soc={card} force=compile."
        return f"The model was compiled for {made_for}, and this card is {card}. {remedy}"
    found = _find_message(output)
    is_known = found is not None and not found.is_inner and _table_text(found) is not None
    if found is not None and is_known and found.code != VAGUE:
        return _sentence(found, _advice(found, INNER_ON_DEVICE))
    numbers = [match[1] or match[2] for match in _NUMBER.finditer(output)]
    for number in numbers:
        if number in ACL_NUMBERS:
            return f"Error {number}: {ACL_NUMBERS[number]}"
    if _REFUSED_PATH.search(output):
        return f"{ACCEPTED_IN_PATHS}. Move the model, or give it and its folders other names."
    imports = None if is_known else explain_import_failure(output)
    if imports is not None:
        return imports
    if found is not None:
        return _sentence(found, _advice(found, INNER_ON_DEVICE))
    ended_by = None if exit_code is None else signal_of(exit_code)
    if ended_by == signal.SIGKILL:
        return (
            "The system ended it, mostly because the host's memory ran out (see `dmesg`). Use a smaller batch size, or "
            "end other programs."
        )
    if ended_by in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS):
        return (
            "It crashed in CANN, the driver or aclruntime. Was aclruntime built for this CANN, and does the driver fit "
            "it? Does the model run with zeros (mode=perf)?"
        )
    return f"Error {numbers[0]} is not among those explained here; see aclError in CANN's manual." if numbers else None


def explain_import_failure(text: str, is_sourced: bool = False) -> str | None:
    """Return the remedy for a failed import of ais_bench or aclruntime; None for a cause that is not known.

    `is_sourced`: whether CANN's set_env.sh was sourced before.

    The causes are those of the public reports: CANN's or the driver's libraries not found, a build for another CANN,
    system, Python or machine, numpy missing or of another version, a module that is missing.
    """
    library = _LIBRARY.search(text)
    if library is not None:
        if library[1].startswith("libpython"):
            return f"{library[1]} is missing: aclruntime was built for another Python. Install the build for this one."
        return _explain_missing_library(library[1], is_sourced)
    wanted = _SYMBOLS_OF_SYSTEM.search(text)
    if wanted is not None:
        return (
            f"aclruntime was built on a newer system ({wanted[1] or wanted[2]} is missing here). Build it from source "
            "on this machine, install an older build, or use a newer system. In conda, its libstdc++ may be the older "
            "one."
        )
    symbol = re.search(r"undefined symbol: (\w+)", text)
    if symbol is not None:
        return (
            f"aclruntime was built for another release of CANN ({symbol[1]} is not in this one). Install the build for "
            "this CANN, or build it from source with this CANN's set_env.sh sourced."
        )
    if re.search(r"wrong ELF class|invalid ELF header|cannot enable executable stack", text):
        return "aclruntime was built for another kind of machine. Install the build for this architecture (`uname -m`)."
    if _NUMPY.search(text):
        return "It was built for numpy 1, and that Python has numpy 2. In that Python: python3 -m pip install 'numpy<2'"
    if re.search(r"cannot import name '\w+' from 'aclruntime'|module 'aclruntime' has no attribute", text):
        return "ais_bench and aclruntime are of different years. Install both from the same source."
    if re.search(r"UnboundLocalError.*aclruntime_version", text):
        return (
            "ais_bench of 2024 asks pkg_resources for aclruntime's version, and that Python has no pkg_resources "
            "(setuptools 82 removed it), or no aclruntime. In that Python: python3 -m pip install 'setuptools<82'"
        )
    missing = _NO_MODULE.search(text)
    if missing is None:
        return None
    name = missing[1].split(".")[0]
    if name == "ais_bench":
        return None  # the caller knows which Python, and whether it has another package of that name
    if name == "aclruntime":
        return (
            "ais_bench is there, but its runtime aclruntime is not. Install the aclruntime of the same release, built "
            "for this Python, machine and CANN."
        )
    return f"The Python package {name} is missing. In that Python: python3 -m pip install {name}"


def _explain_missing_library(name: str, is_sourced: bool) -> str:
    if re.match(r"libascend_hal|libdrv|libdcmi|libmmpa|libc_sec", name):
        return (
            f"{name} belongs to the driver. Add its folders to LD_LIBRARY_PATH: /usr/local/Ascend/driver/lib64, and "
            "common and driver in it. A container needs its host's; to compile on a host without a driver, CANN has "
            "it in <arch>-linux/devlib."
        )
    if _SYSTEM_LIBRARY.match(name):
        return f"{name} belongs to the system. Install the system's package that has it."
    if is_sourced:
        return (
            f"{name} belongs to CANN, whose set_env.sh was sourced, but it is in none of the folders on "
            "LD_LIBRARY_PATH. Is CANN installed completely, and for this architecture (`uname -m`)? Otherwise "
            "reinstall its toolkit or nnrt."
        )
    return (
        f"{name} belongs to CANN, whose set_env.sh was not sourced in this shell (or CANN's toolkit or nnrt "
        "is not installed). Source it, and run again."
    )


def _explain_no_start_of_atc(output: str) -> str | None:
    """Return why atc itself did not start; None where it did."""
    library, wanted = _LIBRARY.search(output), _SYMBOLS_OF_SYSTEM.search(output)
    if library is not None and "error while loading shared libraries" in output:
        if library[1].startswith("libpython"):
            return f"{library[1]} is missing: {PYTHON_ITSELF}"
        return _explain_missing_library(library[1], is_sourced=True)
    if wanted is not None:
        symbols = wanted[1] or wanted[2]
        return f"This CANN is for a newer system ({symbols} is missing here). Use its image, or an older CANN."
    if re.search(r"[Ee]xec format error", output):
        return f"This CANN is for another architecture. Install that of this machine (`uname -m`; {CARD_GUIDE})."
    return None


def explain_no_ais_bench(python: str, stderr: str, is_sourced: bool) -> str:
    """Return what to do where Python cannot import ais_bench, from the import's last words."""
    error = stderr.strip().splitlines()[-1:] or ["no message"]
    if "No module named 'ais_bench.infer" in error[0]:
        return (
            f"{python} has another package called ais_bench, without the inference tool (AISBench's evaluator of "
            f"language models has that name, too): {error[0]}. Uninstall it there (pip uninstall ais-bench-benchmark), "
            f"or name a Python that has the inference tool in ASCEND_PYTHON. {CARD_GUIDE} says where that comes from."
        )
    if f"{Path.cwd()}/" in stderr:
        return (
            f"{python} cannot import ais_bench and aclruntime, because Python searches the current folder "
            f"({Path.cwd()}) first: {error[0]}. Run from another folder, or rename that file."
        )
    remedy = explain_import_failure(stderr, is_sourced) or "Install the ais_bench inference tool in that Python"
    return (
        f"{python} cannot import ais_bench and aclruntime: {error[0]}. {remedy.rstrip('.')}. Or name the Python "
        f"that has them in ASCEND_PYTHON ({CARD_GUIDE})."
    )


def _find_message(output: str) -> Message | None:
    """Return the message that counts: the first with a known code, then an unknown one, then an internal one."""
    found = [Message(*match.groups()) for match in _MESSAGE.finditer(output)]
    outer = [message for message in found if not message.is_inner]
    known = [message for message in outer if _table_text(message) is not None]
    told = [message for message in found if not _NO_TEXT.fullmatch(message.text)]  # one with words, where there is one
    return next(iter([*known, *outer, *told, *found]), None)


def _table_text(message: Message) -> str | None:
    return ATC_ERRORS.get(message.code) or RUNTIME_ERRORS.get(message.code)


def _advice(message: Message, inner: str) -> str:
    """Return what the message means and what to do, naming the flag where the message does."""
    for code, pattern, text in BY_MESSAGE:
        if code == message.code and re.search(pattern, message.text):
            return text
    if message.is_inner:
        return inner
    text = _table_text(message) or "it is not among the errors that are explained here; see the log for its own text."
    flag = _VALUE_OF_FLAG.search(message.text) if text == FLAG else None
    if flag is not None:
        return f"atc does not take {flag['flag']}={flag['value']}; fix that flag."
    return text


def _sentence(message: Message, advice: str) -> str:
    """Return the explanation of one message: its code, the advice, and its own words, which a long output may hide."""
    text = message.text.strip()
    if not text or _NO_TEXT.fullmatch(text):
        return f"{message.code}: {advice}"
    quoted = text if len(text) <= MOST_QUOTED else f"{text[: MOST_QUOTED - 3]}..."
    return f'{message.code}: {advice} (Its words: "{quoted}")'


def _python_trouble(output: str, version: str) -> str | None:
    """Return the advice where the Python of CANN's compiler is the cause; it runs in the shell's python3."""
    missing = _NO_MODULE.search(output)
    if missing is not None and missing[1].split(".")[0] in _OWN_MODULES:
        return (
            f"CANN's own Python package {missing[1]} was not found. Source CANN's set_env.sh in a new shell (it sets "
            "PYTHONPATH); if that does not help, reinstall CANN."
        )
    has_aliases_removed, is_numpy = _ALIASES.search(output), _NUMPY.search(output)
    numpy = NUMPY_WITH_ALIASES if has_aliases_removed else NUMPY_1 if is_numpy else numpy_for(version)
    advice = python_advice(numpy)
    if missing is not None:
        return f"{advice} (missing: {missing[1]})"
    return advice if is_numpy or _PYTHON_FAILURE.search(output) else None


def _explain_signal_of_atc(output: str, ended_by: signal.Signals) -> str:
    if ended_by == signal.SIGKILL or "std::bad_alloc" in output:
        return (
            "The system ended atc, mostly because memory ran out (see `dmesg`). Compile with less: export "
            "TE_PARALLEL_COMPILER=1 MAX_COMPILE_CORE_NUMBER=1, and run again. Otherwise end other programs, add swap, "
            "or compile on a larger machine: the .om of the same soc= can be copied."
        )
    named = _OPERATOR.findall(output)
    last = f"The operator that it named last is {named[-1]}." if named else "It named no operator."
    return (
        f"atc crashed ({ended_by.name}), which is a fault of CANN, mostly on one operator of the model. {last} Run the "
        "atc command again with --log debug to see which came last. Then export without it, or use a newer CANN."
    )
