"""The one place that reads the environment of this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from yolact_ascend.errors import UsageError
from yolact_ascend.files import IS_CHECKOUT, PACKAGE
from yolact_ascend.words import decimal

RUN_VARIABLE = "YOLACT_ASCEND_RUN"  # set for the stages of a run
TERMINAL_VARIABLE = "YOLACT_ASCEND_TERMINAL"  # the same, of a run on a terminal
MEGAPIXELS_VARIABLE = "YOLACT_ASCEND_MAX_MEGAPIXELS"
CARDS_VARIABLE = "ASCEND_RT_VISIBLE_DEVICES"  # CANN's: its runtime numbers these from 0
CACHE_VARIABLE = "XDG_CACHE_HOME"
# Of oneDNN, which OpenVINO, PyTorch and ONNX Runtime compute by (oneDNN's documentation, "CPU Dispatcher Control").
CPU_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE", "ATEN_CPU_CAPABILITY")
LIMITS_OF_RAY = {"RAY_gcs_server_port_wait_time_s": "1", "RAY_py_gcs_connect_timeout_s": "10"}  # tries, and each
MOST_PIXELS = 178_956_970  # as Pillow's: a picture of half a gigabyte in memory


def stage_environment() -> dict[str, str]:
    """Return the environment for a stage that a run starts."""
    on_terminal = {TERMINAL_VARIABLE: "1"} if sys.stderr.isatty() else {}
    return {**os.environ, RUN_VARIABLE: "1", **on_terminal}


def is_stage_of_a_run() -> bool:
    """Whether a run has started this process, and has said what there is to say about the data set."""
    return os.environ.get(RUN_VARIABLE) == "1"


def is_run_on_a_terminal() -> bool:
    """Whether the run that has started this process shows its output on a terminal."""
    return os.environ.get(TERMINAL_VARIABLE) == "1"


def most_pixels() -> int:
    """Return how many pixels a picture may have; raises UsageError when the variable is no number above 0."""
    word = os.environ.get(MEGAPIXELS_VARIABLE)
    if not word:
        return MOST_PIXELS
    try:
        return int(decimal(0, above=True)(word) * 10**6)
    except ValueError as error:
        raise UsageError(f"{MEGAPIXELS_VARIABLE}={word}: expected {error}.") from None


def limit_opencv() -> None:
    """Have OpenCV, where it is not imported yet, refuse pictures of more pixels by itself, in other processes, too."""
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(most_pixels()))


def cpu_limits() -> dict[str, str]:
    """Return the variables that are set and have libraries use other instructions than the processor has."""
    return {name: os.environ[name] for name in CPU_LIMITS if name in os.environ}


def silence_ffmpeg() -> None:
    """Have the FFmpeg in OpenCV print nothing, unless the user has chosen a level; it reads this at its first use."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


def silence_ray(is_alone: bool) -> None:
    """Have Ray report no use over the network; where it `is_alone` on this host, it uses the loopback interface only.

    To be called before Ray is imported. Source: ray 2.60, _common/usage/usage_lib.py and _private/ray_constants.py.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if is_alone:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"


def limit_ray() -> None:
    """Have Ray try once to join a cluster whose head hangs, for 20 s, unless the user has chosen another time.

    By default it tries 20 times, for 40 s each. To be called before Ray is imported. Source: ray 2.60, _private/node.py
    (`_init_gcs_client`) and src/ray/common/ray_config_def.h.
    """
    for name, value in LIMITS_OF_RAY.items():
        os.environ.setdefault(name, value)


def ray_address() -> str:
    """Return the address of the Ray cluster that the user has set for all programs; "" where none is."""
    return os.environ.get("RAY_ADDRESS", "")


def is_ray_encrypted() -> bool:
    """Whether Ray uses TLS. Source: ray 2.60, _common/tls_utils.py."""
    return os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")


def visible_cards() -> str:
    """Return the numbers of the cards that this process may use, as whoever started it says; "" where all.

    Ray gives each actor its card by this variable. Source: ray 2.60, _private/accelerators/npu.py.
    """
    return os.environ.get(CARDS_VARIABLE, "")


def has_display() -> bool:
    """Whether a window can be opened, by X11 or Wayland; other systems than Linux always have a display."""
    return sys.platform != "linux" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def cache_folder() -> Path:
    """Return the folder for what can be made again, of this user: by the XDG base directory specification.

    A relative path in the variable is not used, as that specification says. Raises UsageError when there is no home.
    """
    named = Path(os.environ.get(CACHE_VARIABLE, ""))
    try:
        return (named if named.is_absolute() else Path.home() / ".cache") / "yolact-ascend"
    except RuntimeError:
        raise UsageError(f"This user has no home folder for a cache. Set {CACHE_VARIABLE}=DIR.") from None


def shell_environment() -> dict[str, str]:
    """Return the environment as the user's shell has it."""
    return dict(os.environ)


def without_telemetry(env: Mapping[str, str]) -> dict[str, str]:
    """Return `env` for programs of OpenVINO, which then report no use over the network.

    Source: openvino_telemetry 2025.2, utils/opt_in_checker.py: nothing is sent from a CI job.
    """
    return {**env, "CI": "true"}


def has_own_packages() -> bool:
    """Whether this is the Python of the checkout's .venv, or of the environment that this package is installed in.

    Either has all packages that are needed, in versions that fit.
    """
    prefix = Path(sys.prefix).resolve()
    if IS_CHECKOUT:
        return prefix == (PACKAGE.parent / ".venv").resolve()
    return sys.prefix != sys.base_prefix and prefix in PACKAGE.parents


def prefer_own_packages() -> None:
    """Search PYTHONPATH's folders last, where .venv has all packages: an older numpy there is for another program."""
    variable = os.environ.get("PYTHONPATH")
    if variable and has_own_packages():
        foreign = {str(Path(name).absolute()) for name in variable.split(os.pathsep)}
        sys.path.sort(key=foreign.__contains__)


def environment_of_our_python(env: Mapping[str, str], packages: Path) -> dict[str, str]:
    """Return `env` for programs that run in the Python that runs now, with `packages`, which it would not find.

    PATH names this Python first. Where it has all other packages, PYTHONPATH's are left out. Since Python 3.11 a
    variable keeps -m from searching the current folder first.
    """
    others = "" if has_own_packages() else env.get("PYTHONPATH", "")
    found = {**env, "PYTHONPATH": os.pathsep.join(filter(None, [str(packages), others])), "PYTHONSAFEPATH": "1"}
    found["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env["PATH"]])
    found.pop("PYTHONHOME", None)
    return found
