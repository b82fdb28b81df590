"""The releases of CANN that the emulated atc can play; EMULATED_CANN chooses one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

VARIABLE = "EMULATED_CANN"
DEFAULT = "8.0"


class CannError(Exception):
    """EMULATED_CANN names no release that can be played."""


@dataclass(frozen=True)
class Cann:
    """What differs between releases, as far as the stand-in shows it."""

    name: str
    opset_min: int
    opset_max: int
    has_precision_mode_v2: bool  # its page stands in the ATC guides from 7.0 on
    dates_errors: bool  # "E20001: [PID: 200452] 2025-06-16-13:02:36.801.136 text"
    has_one_domain: bool = False  # operators without a domain need a model with one opset_import
    titles_errors: bool = (
        False  # "[PID: 4711] 2026-08-01-10:00:00.000.000 Compilation_Error(E20001): text", other texts
    )


# Opsets: the lists of supported ONNX operators of CANN 5.0.4 and 6.0.1 (v9 to v13), 7.0.0 (v9 to v18), 8.0 (v8 to v18);
# of 8.5 and 9.1: what the open ONNX plugins of August 2026 register for most operators (ops-nn, ops-math, ops-cv).
# One domain: Ascend/parser@069eb8b, onnx_parser.cc; hicann/ge@ffdcbc9 no longer has it. From which release on is not
# known; public reports of E16005 end with CANN 7.
RELEASES = {
    "5.1": Cann("5.1", 9, 13, has_precision_mode_v2=False, dates_errors=False, has_one_domain=True),
    "6.0": Cann("6.0", 9, 13, has_precision_mode_v2=False, dates_errors=False, has_one_domain=True),
    "7.0": Cann("7.0", 9, 18, has_precision_mode_v2=True, dates_errors=False, has_one_domain=True),
    "8.0": Cann("8.0", 8, 18, has_precision_mode_v2=True, dates_errors=True),
    "8.5": Cann("8.5", 8, 18, has_precision_mode_v2=True, dates_errors=True, titles_errors=True),
    "9.1": Cann("9.1", 8, 18, has_precision_mode_v2=True, dates_errors=True, titles_errors=True),
}


def played_release(environ: Mapping[str, str]) -> Cann:
    """The release that the environment asks for; raises CannError."""
    name = environ.get(VARIABLE) or DEFAULT
    if name not in RELEASES:
        raise CannError(f"{VARIABLE}={name} is none of the releases that the emulated atc plays: {', '.join(RELEASES)}")
    return RELEASES[name]
