"""The one place that reads the environment of this process."""

from __future__ import annotations

import os

RUN_VARIABLE = "YOLACT_ASCEND_RUN"  # set for the stages of a run


def stage_environment() -> dict[str, str]:
    """Return the environment for a stage that a run starts."""
    return {**os.environ, RUN_VARIABLE: "1"}


def is_stage_of_a_run() -> bool:
    """Whether a run has started this process, and has said what there is to say about the data set."""
    return os.environ.get(RUN_VARIABLE) == "1"


def shell_environment() -> dict[str, str]:
    """Return the environment as the user's shell has it."""
    return dict(os.environ)
