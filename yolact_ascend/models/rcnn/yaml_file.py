"""Reads a Detectron2 config file and the files that it is based on, as plain values by dotted key."""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from yolact_ascend.errors import UsageError, show_value
from yolact_ascend.extras import require_module
from yolact_ascend.models.rcnn.detectron2_keys import BASES

BASE = "_BASE_"
MOST_BYTES = 1 << 18  # of a file; Detectron2's largest are 2 kB, a dump of all keys 9 kB
MOST_KEYS = 1000
MOST_FILES = 20  # of a chain, and in all
MOST_DEPTH = 20  # of sections and lists
URLS = ("http://", "https://", "detectron2://")


@dataclass(frozen=True)
class Entry:
    """A key's value, and the file that sets it."""

    value: Any
    file: str


def read_keys(path: Path) -> dict[str, Entry]:
    """Return the values that a file and its `_BASE_` chain set, by dotted key; the file goes before its bases.

    A base that is not there, and is one of Detectron2's own, is taken from `BASES`. Raises UsageError for a file that
    is not there or no plain YAML, and for a chain without end.
    """
    found: dict[str, Entry] = {}
    for file, content in reversed(_chain(path, (), [MOST_FILES])):
        for key, value in _flatten(content, file):
            _put(found, key, Entry(value, file))
    return found


def _put(found: dict[str, Entry], key: str, entry: Entry) -> None:
    """Set a key; raises UsageError where one file has a section, and another one a value."""
    sections = {key.rsplit(".", i)[0] for i in range(1, key.count(".") + 1)}
    clash = next((other for other in found if other in sections or other.startswith(f"{key}.")), None)
    if clash is not None:
        raise UsageError(f"{entry.file}: {key} does not go together with {clash} of {found[clash].file}.")
    found[key] = entry


def _chain(path: Path, above: tuple[Path, ...], left: list[int]) -> list[tuple[str, dict[str, Any]]]:
    """Return a file and its bases, each with its content; what goes before comes first. `left`: files that may follow.

    Bases may be several, and those of each again, so that few small files are millions of bases.
    """
    left[0] -= 1
    resolved = Path(
        os.path.realpath(path)
    )  # `Path.resolve` of Python 3.9 to 3.12 raises where links lead to themselves
    if above and (resolved in above or left[0] < 0):
        raise UsageError(f"{above[-1]}: its {BASE} leads back to {path}, or on without end. Fix {BASE}.")
    content = _read(path)
    bases = content.pop(BASE, [])
    chain = [(str(path), content)]
    for word in reversed(bases if isinstance(bases, list) else [bases]):
        if not isinstance(word, str) or not word or word.startswith(URLS):
            raise UsageError(f"{path}: {BASE} is {show_value(word)}, expected a file on this host. Copy it beside.")
        base = find_file(word, path.parent)
        chain += _own_chain(word, path) if base is None else _chain(base, (*above, resolved), left)
    return chain


def find_file(word: str, folder: Path = Path()) -> Path | None:
    """Return the file that a word names, from a folder on; None when there is none."""
    try:
        path = folder / Path(word).expanduser()
        return path if path.is_file() else None
    except (OSError, RuntimeError, ValueError):  # a name too long, a home of nobody, a zero byte
        return None


def _own_chain(word: str, path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return a base of Detectron2 that is not there, and its own bases; raises UsageError for any other."""
    parts = ("", *Path(word).parts)
    name = next((name for name in ("/".join(parts[-2:]), parts[-1]) if name in BASES), None)
    if name is None:
        raise UsageError(
            f"{path}: its {BASE} {word} is not there (looked for {path.parent / word}). Copy it there, or pass a file "
            f"without {BASE}. Of Detectron2's own these need no copy: {', '.join(BASES)}."
        )
    _say_once(f"{path.name}: {word} is not there; the values of Detectron2's {name} at 02b5c4e2 are used")
    content = dict(BASES[name])
    above = content.pop(BASE, None)
    return [(name, content), *(_own_chain(above, path) if above else [])]


@cache
def _say_once(note: str) -> None:
    print(f"note: {note}.", file=sys.stderr, flush=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.exists() and not path.is_file() and not path.is_dir():  # reading a pipe or a device may never end
            raise UsageError(f"{path} is no regular file. Write the config into a file, and pass that.")
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise UsageError(f"{path} has {size} bytes, expected a config file of at most {MOST_BYTES}.")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"Cannot read the config file {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text ({error}). Save it as UTF-8.") from error
    try:
        content = parse_yaml(text)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"{path} cannot be read as plain YAML: {reason}. Fix it, or dump the config again.") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path} holds {show_value(content)}, expected sections with keys, as Detectron2 has them.")
    return content


def parse_yaml(text: str, has_unique_keys: bool = False) -> Any:
    """Return what a YAML text holds, made of plain values only; raises ValueError for tags and for bad YAML.

    Of a key that stands twice in one mapping the last value counts, as in Detectron2; with `has_unique_keys` it is bad.
    """
    require_module("yaml")
    import yaml

    try:
        depth = 0
        for event in yaml.parse(text, yaml.SafeLoader):  # step by step: loaded at once, a deep text takes hours
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MOST_DEPTH:
                raise ValueError(f"it is nested more than {MOST_DEPTH} deep")
        if has_unique_keys:
            _require_unique_keys(yaml.compose(text, yaml.SafeLoader))
        return yaml.safe_load(text)
    except yaml.constructor.ConstructorError as error:
        tag = re.search(r"python/[\w/:.]+", str(error))
        if tag is None:
            raise ValueError(str(error)) from error
        raise ValueError(f"it asks for {tag[0]}, which would run code as it is read. Write the values out") from error
    except (yaml.YAMLError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(str(error)) from error


def _require_unique_keys(node: Any) -> None:
    """Raise ValueError for a key that stands twice in a mapping of a parsed YAML text."""
    if not isinstance(node.value if node else None, list):
        return
    names = [key.value for key, _ in node.value if isinstance(key.value, str)] if node.id == "mapping" else []
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"the key {twice} stands there twice")
    for child in node.value:
        for each in child if node.id == "mapping" else (child,):
            _require_unique_keys(each)


def _flatten(content: dict[str, Any], file: str, above: str = "", left: list[int] | None = None) -> Iterator[Any]:
    """Give each dotted key with its value; a text that writes a value of Python is that value, as in Detectron2."""
    left = [MOST_KEYS] if left is None else left
    for name, value in content.items():
        key = f"{above}{name}"
        left[0] -= 1
        if not isinstance(name, str) or not name or "." in name or left[0] < 0 or key.count(".") > MOST_DEPTH:
            raise UsageError(f"{file}: {show_value(key)} is no key of a Detectron2 config. Remove or fix it.")
        if isinstance(value, dict) and value:
            yield from _flatten(value, file, f"{key}.", left)
        elif value != {}:
            yield key, _decode(value)


def _decode(value: Any) -> Any:
    """Return the value of a text such as "(60000, 80000)" or "1e-3"; any other text is itself."""
    if not isinstance(value, str):
        return value
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return value
