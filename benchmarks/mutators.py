"""Damage of files, as small JSON values that Hypothesis draws and shrinks, and what applies them to a valid input.

Each kind of damage is a pair: a strategy that draws it, and a function that applies it. What it hits is a whole number,
counted round, so that any number fits any input and 0 is the simplest.
"""

from __future__ import annotations

import copy
import io
import json
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st

PLACES = st.integers(0, 10**6)
# Text that no JSON value gives, by the string that stands for it.
RAW_JSON = {
    "@deep": "[" * 100_000 + "]" * 100_000,
    "@deep objects": '{"a":' * 100_000 + "0" + "}" * 100_000,
    "@digits": "9" * 6000,
    "@float": "1e999999",
    "@twice": '{"a": 1, "a": 2}',
    "@surrogate": '"\\ud800"',
}
NUMBERS = (-1, 0, 1, 2, 2**31 - 1, 2**31, 2**53 + 1, 2**63, 2**64, 2**70, 10**18, -(2**31), -(2**63) - 1)
FLOATS = (0.0, -0.0, 0.5, 1.0, 1e-300, 1e9, 1e19, 1e300, float("nan"), float("inf"), float("-inf"))
WORDS = (
    "",
    " ",
    "0",
    "1",
    "id",
    "..",
    "../../x.jpg",
    "/etc/passwd",
    "a\0b",
    "x" * 300,
    "²",
    "٣",
    "<",
    "\n",
    "%s",
    "{}",
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.sampled_from(NUMBERS),
    st.sampled_from(FLOATS),
    st.sampled_from(WORDS),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(tuple(RAW_JSON)),
)
VALUES = st.one_of(
    SCALARS,
    st.sampled_from(tuple(RAW_JSON)),
    st.lists(SCALARS, max_size=7),
    st.dictionaries(st.sampled_from(("id", "size", "counts", "")), SCALARS),
)
JSON_EDITS = st.tuples(st.sampled_from(("set", "delete", "repeat", "wrap", "rename", "move")), PLACES, VALUES, PLACES)
# Of masks and boxes: what has the right form, and other content.
COORDINATES = st.one_of(st.integers(-50, 700), st.floats(-50, 700), st.sampled_from((*NUMBERS, *FLOATS)))
LENGTHS = st.one_of(st.integers(0, 400), st.sampled_from((-1, 0, 2**31, 2**32, 2**40, 307200)))
SIZES = st.sampled_from(((480, 640), (640, 480), (500, 300), (80, 100), (550, 550), (0, 0), (10**9, 10**9), (-1, 5)))
RUN_LENGTHS = st.one_of(st.lists(LENGTHS, max_size=5), st.text([chr(code) for code in range(46, 114)], max_size=8))
MASKS = st.one_of(
    st.fixed_dictionaries({"size": SIZES.map(list), "counts": RUN_LENGTHS}),
    st.lists(st.lists(COORDINATES, min_size=4, max_size=9), max_size=3),
)
LIST_OF_FOUR = st.lists(COORDINATES, min_size=3, max_size=5)
ANNOTATION_EDITS = st.tuples(
    st.just("put"),
    PLACES,
    st.one_of(
        st.tuples(st.just("segmentation"), MASKS),
        st.tuples(st.just("bbox"), LIST_OF_FOUR),
        st.tuples(
            st.sampled_from(("area", "width", "height", "id", "image_id", "category_id", "iscrowd")), COORDINATES
        ),
        st.tuples(st.sampled_from(("file_name", "name")), st.one_of(st.sampled_from(WORDS), st.text(max_size=4))),
    ).map(list),
    st.just(0),
)
BYTE_EDITS = st.tuples(
    st.sampled_from(("flip", "cut", "drop", "insert", "repeat")),
    st.floats(0, 1),
    st.one_of(
        st.binary(min_size=1, max_size=4),
        st.sampled_from((b"\xff\xfe", b"\xef\xbb\xbf", b"NaN", b"[[", b'"', b"\0" * 16, b"-", b"e9", b"\xc3")),
    ).map(lambda piece: piece.decode("latin-1")),  # as JSON can hold it
)
ZIP_EDITS = st.tuples(
    st.sampled_from(("drop", "double", "rename", "swap", "empty", "grow", "flip", "encrypt", "method", "size", "name")),
    PLACES,
    PLACES,
    st.sampled_from(("data.pkl", "../x", "/x", "archive/../x", "x/yolact_ascend.json", "version", "")),
)


def few(edits: st.SearchStrategy, least: int = 0, most: int = 3) -> st.SearchStrategy:
    """Return a strategy of some of these, most of all one."""
    return st.lists(edits, min_size=least, max_size=most).map(lambda found: [list(edit) for edit in found])


def edit_json(document: Any, edits: list) -> str:
    """Return the text of a document with these changes."""
    holder = [copy.deepcopy(document)]
    for operator, place, value, other in edits:
        if operator == "put":
            _put(holder, place, value)
            continue
        nodes = list(_nodes(holder))
        if not nodes:
            break
        container, key = nodes[place % len(nodes)]
        _JSON_OPERATORS[operator](container, key, value, nodes[other % len(nodes)])
    text = json.dumps(holder[0] if holder else None, ensure_ascii=False, default=str)
    for token, raw in RAW_JSON.items():
        text = text.replace(f'"{token}"', raw)
    return text


def _nodes(container: Any) -> Iterator[tuple[Any, Any]]:
    """Give each value of a document as its container and key, the whole first."""
    keys = list(range(len(container))) if isinstance(container, list) else list(container)
    for key in keys:
        yield container, key
        if isinstance(container[key], (list, dict)):
            yield from _nodes(container[key])


def _set(container: Any, key: Any, value: Any, _: tuple) -> None:
    container[key] = copy.deepcopy(value)


def _delete(container: Any, key: Any, *_: Any) -> None:
    del container[key]


def _repeat(container: Any, key: Any, value: Any, _: tuple) -> None:
    if isinstance(container, list):
        container.insert(key, copy.deepcopy(container[key]))
    else:
        container[f"{key}{value}"[:40]] = copy.deepcopy(container[key])


def _wrap(container: Any, key: Any, *_: Any) -> None:
    container[key] = [container[key]]


def _rename(container: Any, key: Any, value: Any, _: tuple) -> None:
    if isinstance(container, dict):
        container[str(value)[:40]] = container.pop(key)
    else:
        container[key] = {"id": container[key]}


def _move(container: Any, key: Any, value: Any, other: tuple) -> None:
    container[key] = copy.deepcopy(other[0][other[1]])


def _put(holder: list, place: int, named: list) -> None:
    """Set one of the values that have a key, whichever entry they are in."""
    key, value = named
    places = [node for node in _nodes(holder) if node[1] == key]
    if places:
        container, _ = places[place % len(places)]
        container[key] = copy.deepcopy(value)


_JSON_OPERATORS: dict[str, Callable[..., None]] = {
    "set": _set,
    "delete": _delete,
    "repeat": _repeat,
    "wrap": _wrap,
    "rename": _rename,
    "move": _move,
}


def edit_bytes(content: bytes, edits: list) -> bytes:
    """Return bytes with these changes; a place is a share of the length."""
    for operator, share, text in edits:
        piece = text.encode("latin-1")
        at = min(int(share * len(content)), max(len(content) - 1, 0))
        before, after = content[:at], content[at:]
        if operator == "flip":
            content = before + bytes(a ^ b for a, b in zip(after, piece)) + after[len(piece) :]
        elif operator == "cut":
            content = before
        elif operator == "drop":
            content = before + after[len(piece) :]
        else:
            content = before + (piece if operator == "insert" else after[:64]) + after
    return content


def edit_zip(content: bytes, edits: list) -> bytes:
    """Return a zip archive whose records are changed; checksums are those of the new contents, but for "flip"."""
    records = read_zip(content)
    late: list[tuple[str, str, int]] = []  # to the finished bytes: operator, record, number
    for operator, place, other, word in edits:
        if not records:
            break
        index, second = place % len(records), other % len(records)
        name, data = records[index]
        if operator == "drop":
            del records[index]
        elif operator == "double":
            records.append((name, records[second][1]))
        elif operator == "rename":
            records[index] = (word, data)
        elif operator == "swap":
            records[index], records[second] = (name, records[second][1]), (records[second][0], data)
        elif operator == "empty":
            records[index] = (name, data[: other % (len(data) + 1)])
        elif operator == "grow":
            records[index] = (name, data + b"\0" * (other % 5000))
        else:
            late.append((operator, name, other))
    return _edit_headers(write_zip(records), late)


def read_zip(content: bytes) -> list[tuple[str, bytes]]:
    """Return names and contents of the records."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def write_zip(records: list[tuple[str, bytes]]) -> bytes:
    """Return an archive of these records, stored as PyTorch stores them."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as archive:
        warnings.simplefilter("ignore")  # of a name that is there already: that is what is tried
        for name, data in records:
            archive.writestr(zipfile.ZipInfo(name or "_"), data)
    return buffer.getvalue()


def _edit_headers(content: bytes, edits: list[tuple[str, str, int]]) -> bytes:
    """Change bytes of records, and fields of the central directory, without making the rest fit."""
    found = bytearray(content)
    for operator, name, number in edits:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if name not in archive.namelist():
                continue
            info, directory = archive.getinfo(name), archive.start_dir
        entry = found.find(b"PK\1\2", directory)
        while entry != -1 and found[entry + 46 : entry + 46 + len(name.encode())] != name.encode():
            entry = found.find(b"PK\1\2", entry + 4)
        if operator == "flip" and info.file_size:
            begin = info.header_offset + 30 + len(name.encode())
            found[begin + number % info.file_size] ^= 1 << number % 8
        elif entry != -1:
            offset, value = {
                "encrypt": (8, struct.pack("<H", 1)),
                "method": (10, struct.pack("<H", (8, 12, 14, 99)[number % 4])),
                "size": (24, struct.pack("<I", (0, 1, 2**31, 2**32 - 1)[number % 4])),
                "name": (28, struct.pack("<H", number % 65536)),
                "flip": (16, b"\0\0\0\0"),
            }[operator]
            found[entry + offset : entry + offset + len(value)] = value
    return bytes(found)


def edit_lines(text: str, edits: list) -> str:
    """Return text whose lines are changed: repeated, dropped, moved, or with another value behind the colon."""
    lines = text.splitlines()
    for operator, place, value, other in edits:
        if not lines:
            break
        index = place % len(lines)
        if operator in ("set", "wrap"):
            lines[index] = f"{lines[index].split(':')[0]}: {value}"
        elif operator == "delete":
            del lines[index]
        elif operator == "repeat":
            lines.insert(index, lines[index])
        elif operator == "rename":
            lines[index] = f"{value}:{lines[index].partition(':')[2]}"
        else:
            lines[index] = lines[other % len(lines)]
    return "\n".join(lines) + "\n"
