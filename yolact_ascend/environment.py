"""The one place that reads the environment of this process."""

from __future__ import annotations

import os

from yolact_ascend.errors import UsageError
from yolact_ascend.words import decimal

RUN_VARIABLE = "YOLACT_ASCEND_RUN"  # set for the stages of a run
MEGAPIXELS_VARIABLE = "YOLACT_ASCEND_MAX_MEGAPIXELS"
MOST_PIXELS = 178_956_970  # as Pillow's: a picture of half a gigabyte in memory


def stage_environment() -> dict[str, str]:
    """Return the environment for a stage that a run starts."""
    return {**os.environ, RUN_VARIABLE: "1"}


def is_stage_of_a_run() -> bool:
    """Whether a run has started this process, and has said what there is to say about the data set."""
    return os.environ.get(RUN_VARIABLE) == "1"


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


def shell_environment() -> dict[str, str]:
    """Return the environment as the user's shell has it."""
    return dict(os.environ)
