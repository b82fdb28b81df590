"""OpenVINO itself: imported in one place, without its telemetry; its devices, and what they compute in."""

from __future__ import annotations

import contextlib
import functools
import re
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from yolact_ascend.errors import ToolError, UsageError
from yolact_ascend.extras import OPENVINO, how_to_install
from yolact_ascend.targets.target import INT8

OLDEST = (2024, 0)  # the first whose `convert_model` and `PrePostProcessor` do what is asked of them here
INSTALL = how_to_install(OPENVINO)
# Values of `device=` and OpenVINO's names for them; a number makes it GPU.1.
NAMES = {"cpu": "CPU", "gpu": "GPU", "npu": "NPU"}
AUTO = "auto"
AUTO_ORDER = ("GPU", "CPU")  # of OpenVINO's own AUTO, which leaves out NPUs
# Values of `precision=`, OpenVINO's element types, and what a device that has the type calls it. What is not
# quantised in a model for int8 is float32.
TYPES = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", INT8: "f32"}
CAPABILITIES = {"fp32": "FP32", "bf16": "BF16", "fp16": "FP16", INT8: "FP32"}
PRECISION_OF_TYPE = {
    **{"f32": "fp32", "float32": "fp32", "float": "fp32"},
    **{"bf16": "bf16", "bfloat16": "bf16", "f16": "fp16", "float16": "fp16"},
}


def require_openvino() -> str:
    """Return the version that is installed; raises ToolError when there is none, or an old one."""
    try:
        version = metadata.version("openvino")
    except metadata.PackageNotFoundError as error:
        raise ToolError(f"target=openvino needs OpenVINO, which is not installed. {INSTALL}") from error
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise ToolError(f"OpenVINO {version} is installed, expected {oldest} or newer. {INSTALL}")
    return version


def load_openvino() -> Any:
    """Import OpenVINO; raises ToolError when that fails.

    Its converter reports every use over the network, by default (openvinotoolkit/openvino#34588); without the package
    that does this, it does not.
    """
    require_openvino()
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except Exception as error:  # a shared library that is missing is an ImportError, and there are others
        raise ToolError(f"OpenVINO cannot be imported: {type(error).__name__}: {error}. {INSTALL}") from error
    return openvino


@functools.cache
def get_core() -> Any:
    """Return OpenVINO's entry point to its devices."""
    return load_openvino().Core()


def last_line(error: Exception) -> str:
    """Return the last line of an OpenVINO error, which is the reason; the lines before are places in its sources."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__).rstrip(".!")


def choose_device(word: str, npus: Sequence[int]) -> str:
    """Return OpenVINO's name of the device that is asked for, such as "CPU" or "GPU.1".

    "auto" is the first that is there of GPU and CPU; it is chosen once, so that all figures of a run are of one device.
    Raises UsageError when it is not there.
    """
    if len(npus) > 1 or (npus != (0,) and word not in ("gpu", "npu")):
        named = ",".join(map(str, npus))
        raise UsageError(f"npus={named}: target=openvino runs on one device, and the CPU is number 0. Leave out npus=.")
    there = get_core().available_devices
    names = AUTO_ORDER if word == AUTO else (NAMES[word],)
    for name in names:
        found = [device for device in there if device.split(".")[0] == name]
        wanted = [f"{name}.{npus[0]}"] if npus[0] or name not in found else [name, f"{name}.0"]
        for device in found:
            if device in wanted:
                return str(device)
    listed = ", ".join(there)
    number = f" and npus={npus[0]}" if npus != (0,) else ""
    raise UsageError(f"device={word}{number}: OpenVINO finds no such device here; it finds {listed}.")


def describe_chip(device: str) -> str:
    """Return the name of a device's chip."""
    return str(get_core().get_property(device, "FULL_DEVICE_NAME")).strip()


def capabilities(device: str) -> tuple[str, ...]:
    """Return the number formats that a device computes in, by OpenVINO's names, such as "BF16"."""
    found = get_core().get_property(device, "OPTIMIZATION_CAPABILITIES")
    return tuple(name for name in ("FP32", "FP16", "BF16", "INT8") if name in found)


def default_precision(device: str) -> str:
    """Return the precision that OpenVINO takes on a device by itself."""
    found = get_core().get_property(device, "INFERENCE_PRECISION_HINT")
    return precision_of(found)


def precision_of(element_type: Any) -> str:
    """Return our name of an OpenVINO element type."""
    name = element_type.get_type_name() if hasattr(element_type, "get_type_name") else str(element_type)
    return PRECISION_OF_TYPE.get(name, name)


def computed_precision(device: str, precision: str) -> str:
    """Return what a device computes floats in when a precision is asked for: float32 where it lacks the format."""
    return precision if precision != INT8 and CAPABILITIES[precision] in capabilities(device) else "fp32"


def instruction_sets() -> list[str]:
    """Return those of the CPU's instruction sets that decide how fast a model is, as /proc/cpuinfo names them."""
    with contextlib.suppress(OSError):
        found = re.search(r"^(?:flags|Features)\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        flags = found.group(1).split() if found else []
        return [flag for flag in _NOTABLE if flag in flags]
    return []


_NOTABLE = (
    *("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8", "amx_fp16"),
    *("asimd", "asimddp", "asimdhp", "bf16", "i8mm", "sve"),
)
