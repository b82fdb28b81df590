"""The exceptions whose text is the sentence that the user reads.

`cli.main.run_cli` is the one place that turns them into exit codes.
"""

from __future__ import annotations

import errno
import reprlib
from typing import Any

MOST_SHOWN = 100  # letters of a value in a sentence
_VALUES = reprlib.Repr()  # of values that a file may hold: nested and long without limit
_VALUES.maxstring = _VALUES.maxother = _VALUES.maxlong = 60


class YolactAscendError(Exception):
    """Something is wrong outside this program; the message names it, expected against found, and what to do."""

    exit_code = 1


def describe_os_error(error: OSError) -> str:
    """Return the sentence for an error of the system that no stage turned into one of these."""
    reason = error.strerror or error
    if error.filename:
        return f"Cannot use {error.filename}: {reason}."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The system reports: {reason}. Is /dev/shm, the temporary folder (TMPDIR) or the disk full?"
    return f"The system reports: {reason}."


def show_value(value: Any) -> str:
    """Return a value of a file for such a sentence: cut where it is long, unprintable letters escaped."""
    try:
        shown = _VALUES.repr(value)
    except ValueError:  # a whole number of more digits than Python writes
        shown = f"a {type(value).__name__} too long to show"
    return shown if len(shown) <= MOST_SHOWN else f"{shown[: MOST_SHOWN - 3]}..."


def show_name(name: Any) -> str:
    """Return a name for such a sentence, like `show_value` but without quotes."""
    return show_value(name)[1:-1] if isinstance(name, str) else show_value(name)


class UsageError(YolactAscendError):
    """The command line, or a call of the Python API, is wrong."""

    exit_code = 2


class FolderInUseError(UsageError):
    """Another program is at work in a folder."""


class WeightsError(YolactAscendError):
    """A weights file cannot be read or does not fit the config."""


class DatasetError(YolactAscendError):
    """An annotation file, an image folder or an image is not valid."""


class ArtifactError(YolactAscendError):
    """A file that passes between stages is missing, of the wrong size, or cannot be written."""


class NotDescribedError(ArtifactError):
    """A model does not state what running it needs: an older version exported it, or its side-car is missing."""


class ToolError(YolactAscendError):
    """A program that a stage runs is missing or failed."""


class NotInstalledError(ToolError):
    """A library that the work needs is not installed for this Python."""


class ToolTimeout(ToolError):
    """A program did not answer in time."""


class TrainingError(YolactAscendError):
    """A training cannot start or continue."""
