"""A JSON file that is too long for memory: the lists of its object in pieces, as `files.read_json` would read them.

Values and errors are those of Python's own decoder, which reads one entry after the other.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from io import IncrementalNewlineDecoder
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

from yolact_ascend.files import json_errors, parse_json

BLOCK = 1 << 20  # bytes that are read at once, at least
MOST_ENTRIES = 2048  # of a piece
# What fails closer than this to the end of a block may be cut there: "-Infinity", or two surrogates, \ud83d\ude00.
LONGEST_WORD = 16
UNTERMINATED = "Unterminated string"  # of Python's decoder, which names where the string begins
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")
_AFTER_ENTRY, _AFTER_MEMBER, _AFTER_ALL = "[[]", '{"a":[]', "[]"  # the least text before a place in a file


class Piece(NamedTuple):
    """Some entries of a list that the file's object has under a key."""

    key: str
    first: int  # number of the first entry; 0 where a list begins, which has one piece at least
    entries: list[Any] | None  # None: the value is not a list


def read_pieces(path: Path, what: str) -> Iterator[Piece]:
    """Give the lists of a JSON file's object in pieces; none where it has no object.

    All of the file was read when this ends. `what` and the errors are those of `files.read_json`.
    """
    with json_errors(path, what), path.open("rb") as file:
        text = _Text(file)
        start = text.peek()
        if start == "{":
            yield from _members(text)
        elif start == "[":
            for _ in _entries(text):
                pass
        else:
            text.value()
        if text.peek():
            text.refuse(_AFTER_ALL)


def _members(text: _Text) -> Iterator[Piece]:
    if text.is_empty("}"):
        return
    while True:
        if text.peek() != '"':
            text.refuse("{")
        key = text.value()
        if text.peek() != ":":
            text.refuse('{"a"')
        text.at += 1
        if text.peek() == "[":
            yield from _pieces(key, text)
        else:
            text.value()
            yield Piece(key, 0, None)
        if not text.has_next("}", _AFTER_MEMBER):
            return


def _pieces(key: str, text: _Text) -> Iterator[Piece]:
    first, entries = 0, list[Any]()
    for entry in _entries(text):
        entries.append(entry)
        if len(entries) == MOST_ENTRIES:
            yield Piece(key, first, entries)
            first, entries = first + MOST_ENTRIES, []
    if entries or not first:
        yield Piece(key, first, entries)


def _entries(text: _Text) -> Iterator[Any]:
    if text.is_empty("]"):
        return
    while True:
        yield text.value()
        if not text.has_next("]", _AFTER_ENTRY):
            return


class _Text:
    """The part of a file that is being read; `at` is the place in it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._bytes = 0  # that were decoded
        if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            file.seek(0)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._lines = IncrementalNewlineDecoder(None, translate=True)
        self._text, self.at = "", 0
        self._is_whole = False  # up to the end of the file
        self._letters, self._line, self._column = 0, 0, 0  # before the text

    def peek(self) -> str:
        """Step over blanks, and return the next letter; "" at the end."""
        while True:
            found = _SPACE.match(self._text, self.at)
            self.at = found.end() if found else self.at
            if self.at < len(self._text) or not self._read():
                return self._text[self.at : self.at + 1]

    def value(self) -> Any:
        """Return the value that begins here, and step over it."""
        if self.at >= BLOCK:
            self._forget()
        while True:
            try:
                value, end = parse_json(self._text, self._decode)
            except json.JSONDecodeError as error:
                may_be_cut = error.msg.startswith(UNTERMINATED) or error.pos > len(self._text) - LONGEST_WORD
                if not (may_be_cut and self._read()):
                    self._fail(error.msg, error.pos)
            else:
                if end < len(self._text) - LONGEST_WORD or not self._read():  # a number may go on
                    self.at = end
                    return value

    def is_empty(self, closing: str) -> bool:
        """Step over the start of a list or object, and over its end where there is nothing inside: True."""
        self.at += 1
        if self.peek() != closing:
            return False
        self.at += 1
        return True

    def has_next(self, closing: str, before: str) -> bool:
        """Step over a comma, or over the end of a list or object: False."""
        mark = self.peek()
        if mark == closing:
            self.at += 1
            return False
        if mark != ",":
            self.refuse(before)
        comma, self.at = self.at, self.at + 1
        if self.peek() == closing:
            self.at = comma
            self.refuse(before)
        return True

    def refuse(self, before: str) -> NoReturn:
        """Raise ValueError for what is here; `before` is a text that could be before it."""
        try:
            json.loads(before + self._text[self.at :])
        except json.JSONDecodeError as error:
            self._fail(error.msg, self.at + error.pos - len(before))
        raise AssertionError("what is refused is no JSON")

    def _decode(self, text: str) -> tuple[Any, int]:
        return _DECODER.raw_decode(text, self.at)

    def _fail(self, message: str, at: int) -> NoReturn:
        """Raise ValueError as Python words it, with the place in the file."""
        line = self._line + self._text.count("\n", 0, at) + 1
        start = self._text.rfind("\n", 0, at)
        column = at - start if start >= 0 else self._column + at + 1
        raise ValueError(f"{message}: line {line} column {column} (char {self._letters + at})") from None

    def _read(self) -> bool:
        """Read more of the file; False at its end. A long value is not decoded anew for each block."""
        if self._is_whole:
            return False
        data = self._file.read(max(BLOCK, len(self._text) - self.at))
        self._is_whole = not data
        waiting = len(self._decoder.getstate()[0])
        try:
            text = self._decoder.decode(data, final=self._is_whole)
        except UnicodeDecodeError as error:
            first, last = (self._bytes - waiting + place for place in (error.start, error.end - 1))
            which = f"byte 0x{error.object[error.start]:02x} in position {first}"
            which = which if first == last else f"bytes in position {first}-{last}"
            raise ValueError(f"'utf-8' codec can't decode {which}: {error.reason}") from None
        self._bytes += len(data)
        self._text += self._lines.decode(text, final=self._is_whole)
        return True

    def _forget(self) -> None:
        """Drop what was read, and remember how much it was."""
        lines = self._text.count("\n", 0, self.at)
        start = self._text.rfind("\n", 0, self.at)
        self._letters, self._line = self._letters + self.at, self._line + lines
        self._column = self.at - start - 1 if lines else self._column + self.at
        self._text, self.at = self._text[self.at :], 0
