"""What a process knows about the emulated card: log level, open devices, and the times of copies to and from it."""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, ClassVar, TypeVar

from ascend_emulation.chip import device_count

from aclruntime._release import RELEASE

LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR = 1, 2, 3, 4
_LOG_LABELS = {LOG_DEBUG: "DEBUG", LOG_INFO: "INFO", LOG_WARNING: "WARN", LOG_ERROR: "ERROR"}

# Error numbers of the real module, with the texts that its exceptions have.
ERROR_FAILURE = (-1, "ACL: general failure")
ERROR_INVALID_PARAM = (1, "ACL: invalid parameter")
ERROR_RUNTIME = (3, "ACL: runtime failure")
ERROR_INVALID_DEVICE = (507033, "Error code unknown")

T = TypeVar("T")


@dataclass
class _ProcessState:
    initialized: bool = False
    log_level: int = LOG_INFO
    open_devices: list[int] = field(default_factory=list)
    loaded_models: int = 0


_state = _ProcessState()


class MemorySummary:
    """Milliseconds of every copy to the device and back; one pair of lists for the whole process."""

    H2D_time_list: ClassVar[list[float]] = []
    D2H_time_list: ClassVar[list[float]] = []

    def reset(self) -> None:
        """Forget all times."""
        MemorySummary.H2D_time_list = []
        MemorySummary.D2H_time_list = []


def timed_copy(times: list[float], copy: Callable[[], T]) -> T:
    """The result of `copy`; appends its milliseconds to `times`."""
    start = time.perf_counter()
    result = copy()
    times.append((time.perf_counter() - start) * 1000)
    return result


def set_log_level(level: int) -> None:
    """Lines below `level` are not printed from now on."""
    _state.log_level = level


def log(level: int, message: str) -> None:
    """One line on stdout, as the real module prints it."""
    if level >= _state.log_level:
        label = "WARNING" if RELEASE.logs_for_python and level == LOG_WARNING else _LOG_LABELS[level]
        print(f"[{label}] {message}", flush=True)


def acl_error(message: str) -> None:
    """The device's own words, which releases before 2025 print without a label."""
    if RELEASE.logs_for_python:
        log(LOG_ERROR, f"[ACL ERROR] {message}")
    else:
        print(f"[ACL ERROR] {message}" if RELEASE.announces_contexts else message, flush=True)


def runtime_error(error: tuple[int, str]) -> RuntimeError:
    """The exception for one of the ERROR_ constants."""
    return RuntimeError(f"[{error[0]}][{error[1]}] ")


def open_device(device: int) -> None:
    """Initialise the process and open `device` where that has not happened; raises RuntimeError."""
    if not _state.initialized:
        _state.initialized = True
        log(LOG_INFO, "acl init success")
    if device not in _state.open_devices:
        if device >= device_count():
            acl_error(f"device {device} does not exist, the emulated machine has {device_count()}")
            log(LOG_ERROR, f"acl open device {device} failed")
            _log_context_failure()
            raise runtime_error(ERROR_INVALID_DEVICE)
        _state.open_devices.append(device)
        log(LOG_INFO, f"open device {device} success")
    if RELEASE.announces_contexts:
        log(LOG_INFO, "create new context")


def _log_context_failure() -> None:
    number = ERROR_INVALID_DEVICE[0]
    if RELEASE.announces_contexts:
        log(LOG_ERROR, f"create context failed. ret={number}")
    else:  # printed by other means than the log
        what = "SetDevice" if RELEASE.one_context_per_device else "CreateContext"
        print(f"{what} failed. ret={number}", flush=True)


def next_model_id() -> int:
    """Model ids count from 1."""
    _state.loaded_models += 1
    return _state.loaded_models


def finalize() -> None:
    """Close all devices; nothing happens where none was opened."""
    if not _state.initialized:
        return
    for device in _state.open_devices:
        if RELEASE.one_context_per_device:
            log(LOG_INFO, "end to destroy context")
            log(LOG_INFO, f"end to reset device is {device}")
        else:
            log(LOG_INFO, f"end to reset device {device}")
    log(LOG_INFO, "end to finalize acl")
    _state.open_devices.clear()
    _state.initialized = False


def check_readable(path: str, suffix: str) -> str | None:
    """Why the real module would not read `path`, None where it would."""
    file = Path(path)
    if not file.is_file():
        return "path is not regular file"
    if file.is_symlink():
        return "path is soft link"
    mode = file.stat().st_mode
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "path permission should not be over 0o755(rwxr-xr-x)"
    if not os.access(file, os.R_OK) or not mode & stat.S_IRUSR:
        return "path permission should be at least 0o400(r--------)"
    if file.suffix != suffix:
        return "path suffix and size invalid"
    return None
