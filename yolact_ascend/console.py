"""What this program prints reaches every terminal, whatever characters its encoding has."""

from __future__ import annotations

import codecs
import io
import sys

ERROR_HANDLER = "yolact-ascend"
IN_ASCII = {"…": "...", "–": "-", "×": "x", "·": "*"}


def print_on_any_terminal() -> None:
    """Have standard output and standard error replace what their encoding lacks, as `_replace_character` does."""
    codecs.register_error(ERROR_HANDLER, _replace_character)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a notebook has others, and they take everything
            stream.reconfigure(errors=ERROR_HANDLER)


def _replace_character(error: UnicodeError) -> tuple[str | bytes, int]:
    r"""Return the first character of an error in ASCII, and where to continue: "×" as "x", an unknown one as "\xe9".

    A byte of a file's name that is no text is returned as it is, as `ls` prints it.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if "\udc80" <= character <= "\udcff":  # os.fsdecode's mark for a byte
        return bytes([ord(character) - 0xDC00]), error.start + 1
    return IN_ASCII.get(character) or character.encode("ascii", "backslashreplace").decode(), error.start + 1
