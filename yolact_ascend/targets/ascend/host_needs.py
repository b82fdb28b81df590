"""What CANN needs of a host beside its programs: Python's library, operators, memory, access to the devices.

Each function returns what is missing and what to do, as sentences; none where everything is there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from yolact_ascend.errors import ToolError
from yolact_ascend.process import capture
from yolact_ascend.targets.ascend import installation
from yolact_ascend.targets.ascend.cards import barred_devices, describe_group
from yolact_ascend.targets.ascend.errors import ANY_NUMPY, COMPILER_MODULES, compiler_pip, numpy_for
from yolact_ascend.targets.ascend.installation import (
    CARD_GUIDE,
    device_files,
    driver_folder,
    homes,
    read_if_there,
    release_of,
    which,
)

LEAST_MEMORY_BYTES = 10 * 10**9  # boards of 8 GB are too small for atc's parallel compilation (their own guides)
LESS_MEMORY = {"TE_PARALLEL_COMPILER": "1", "MAX_COMPILE_CORE_NUMBER": "1"}
_KERNELS_SINCE, _OPS_SINCE = (8, 0), (8, 5)  # the chip's operators are a package of their own
_CONTROL_FILES = ("davinci_manager", "devmm_svm", "hisi_hdc")  # beside /dev/davinci<N>
# soc_version -> the name in package names and folders; the longer ones come first.
_FAMILIES = (
    ("Ascend310P", "310p"),
    ("Ascend310B", "310b"),
    ("Ascend310", "310"),
    ("Ascend910_93", "910_93"),
    *((f"Ascend910B{number}", "910b") for number in range(1, 5)),
    ("Ascend910", "910"),  # the first generation, Ascend910B among it
)
_FAMILY_IN_PACKAGE = {"910_93": "A3"}  # Ascend-cann-A3-ops
_HALF_ONLY = ("Ascend310P", "Ascend310B")

# Prints what the Python that runs it does not have, a line each: modules ("numpy<2" where it is asked for), and its
# shared library where the dynamic loader does not find it.
_COMPILER_PROBE = """
import ctypes, importlib, sys
try:
    import numpy
    has_numpy = sys.argv[1] == "any" or int(numpy.__version__.split(".")[0]) < 2
except Exception:
    has_numpy = False
if not has_numpy:
    print("numpy" if sys.argv[1] == "any" else "numpy<2")
for name in sys.argv[2:]:
    try:
        importlib.import_module(name)
    except Exception:
        print(name)
library = "libpython%d.%d.so.1.0" % sys.version_info[:2]
try:
    ctypes.CDLL(library)
except OSError:
    print(library)
"""
_LIBRARY = "libpython"


def compiler_troubles(env: Mapping[str, str], version: str, soc_version: str) -> list[str]:
    """Return what would make atc of this release fail, where that can be seen before."""
    numpy = numpy_for(version)
    lacking = _lacking_in_python(env, numpy)
    troubles = [
        _missing_modules(env, [name for name in lacking if not name.startswith(_LIBRARY)], numpy),
        *(_missing_library(env, name) for name in lacking if name.startswith(_LIBRARY)),
        _missing_operators(env, version, soc_version),
        _little_memory(env),
    ]
    return [trouble for trouble in troubles if trouble]


def access_troubles() -> list[str]:
    """Return what keeps this user or container from the devices."""
    troubles = []
    barred = barred_devices()
    if barred:
        troubles.append(f"No permission to use {', '.join(barred)}. {describe_group()}")
    devices = device_files()
    missing = [name for name in _CONTROL_FILES if not (installation.ROOT / "dev" / name).exists()]
    is_container = any((installation.ROOT / name).exists() for name in (".dockerenv", "run/.containerenv"))
    if is_container and (missing or not devices):
        names = [*missing, *(() if devices else ("davinci0",))]
        flags = " ".join(f"--device /dev/{name}" for name in names)
        troubles.append(
            f"This container was not given {', '.join(names)}. Start it with {flags} and "
            f"-v {driver_folder()}:{driver_folder()}:ro ({CARD_GUIDE})."
        )
    return troubles


def precision_trouble(soc_version: str, precision: str) -> str:
    """Return why a precision does not fit a chip, "" where it does.

    Source: Ultralytics' guide to Ascend ("The Ascend AI Core accepts only DT_FLOAT16 and DT_INT8 inputs for
    convolutions"), about 310P and 310B.
    """
    if precision != "fp32" or not soc_version.startswith(_HALF_ONLY):
        return ""
    return (
        f"precision=fp32: {soc_version} convolves in float16 and int8 only. atc refuses such a model, or leaves its "
        "convolutions to the card's slow CPU. Use precision=fp16."
    )


def _lacking_in_python(env: Mapping[str, str], numpy: str) -> list[str]:
    """Return the modules and the library that the Python that CANN's operator compiler runs in does not have."""
    asked = "any" if numpy == ANY_NUMPY else "1"
    try:
        return capture(["python3", "-c", _COMPILER_PROBE, asked, *COMPILER_MODULES], env).stdout.split()
    except ToolError as error:
        raise ToolError(
            f"{error} atc runs python3 and then fails with E40001: put one on PATH ({CARD_GUIDE})."
        ) from None


def _missing_modules(env: Mapping[str, str], lacking: list[str], numpy: str) -> str:
    """Modules, from known causes of E40000."""
    if not lacking:
        return ""
    return (
        f"Its compiler's Python ({which('python3', env)}) is missing {', '.join(lacking)}; atc may then fail with "
        f"E40000: {compiler_pip(numpy)}"
    )


def _missing_library(env: Mapping[str, str], name: str) -> str:
    """libpython, which atc opens: below `python3-config --prefix`, else by the loader (hicann/ge, py_decouple.cc)."""
    try:
        prefix = capture(["python3-config", "--prefix"], env).stdout.strip()
    except ToolError:
        prefix = ""
    if prefix and (Path(prefix) / "lib" / name).exists():
        return ""
    looked = f"{prefix}/lib (python3-config --prefix)" if prefix else "the folder of python3-config, which is missing,"
    return (
        f"{name} is neither in {looked} nor on LD_LIBRARY_PATH; atc then fails with E40001. Install it for "
        f"{which('python3', env)} (python3-dev; conda has it in $CONDA_PREFIX/lib), and add its folder to "
        f"LD_LIBRARY_PATH ({CARD_GUIDE})."
    )


def _missing_operators(env: Mapping[str, str], version: str, soc_version: str) -> str:
    """The package of the chip's operators, which is not part of the toolkit."""
    release, family = release_of(version), family_of_chip(soc_version)
    if release is None or release < _KERNELS_SINCE or not family or not homes(env):
        return ""
    name = _FAMILY_IN_PACKAGE.get(family, family)
    failure = 'atc then fails with "No supported Ops kernel and engine are found"'
    if release < _OPS_SINCE:
        folders = [home / "opp" / "built-in" / "op_impl" / "ai_core" / "tbe" / "kernel" for home in homes(env)]
        if any((folder / f"ascend{family}").is_dir() for folder in folders):
            return ""
        package = "Atlas-A3-cann-kernels" if name == "A3" else f"Ascend-cann-kernels-{name}"
        return (
            f"There is no {folders[0]}/ascend{family}: {failure}. Install {package} of CANN {version} ({CARD_GUIDE})."
        )
    records = [record for home in homes(env) for record in sorted(home.glob("*-linux/ascend_ops_install.info"))]
    if not records:
        return (
            f"There is no ascend_ops_install.info beside the toolkit's record: {failure}. Install "
            f"Ascend-cann-{name}-ops of CANN {version} ({CARD_GUIDE})."
        )
    pattern = re.compile(r"^package_name\s*=\s*Ascend-cann-(\S+)-ops\s*$", re.MULTILINE | re.IGNORECASE)
    found = pattern.search(read_if_there(records[0]))
    if found and found.group(1).lower() != name.lower():
        return (
            f"{records[0]} is of {found.group(0).partition('=')[2].strip()}, but the chip is {soc_version}: "
            f"{failure}. Install Ascend-cann-{name}-ops of CANN {version} ({CARD_GUIDE})."
        )
    return ""


def family_of_chip(soc_version: str) -> str:
    """Return a chip's family as packages and folders of CANN name it; "" for one that is not known."""
    return next((family for prefix, family in _FAMILIES if soc_version.startswith(prefix)), "")


def _little_memory(env: Mapping[str, str]) -> str:
    memory = _memory_bytes()
    if memory is None or memory >= LEAST_MEMORY_BYTES or all(env.get(name) for name in LESS_MEMORY):
        return ""
    words = " ".join(f"{name}={value}" for name, value in LESS_MEMORY.items())
    return (
        f"This host has {memory / 10**9:.1f} GB of memory, where atc may be killed (exit code 137): export {words}, or "
        f"compile on another host ({CARD_GUIDE})."
    )


def _memory_bytes() -> int | None:
    """Return the memory that atc may use: the host's, or less where a container is limited; None: not known."""
    found = []
    for name, pattern, unit in (
        ("proc/meminfo", r"^MemTotal:\s*(\d+) kB", 1024),
        ("sys/fs/cgroup/memory.max", r"^(\d+)$", 1),
    ):
        number = re.search(pattern, read_if_there(installation.ROOT / name), re.MULTILINE)
        if number:
            found.append(int(number.group(1)) * unit)
    return min(found, default=None)
