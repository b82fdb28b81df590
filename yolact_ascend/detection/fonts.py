"""Fonts of this host, and which characters each has, read from the fonts' own tables.

Source of the layout: the OpenType specification 1.9, "cmap" (formats 4 and 12) and "Font collections".
"""

from __future__ import annotations

import functools
import importlib.util
import struct
from pathlib import Path
from typing import BinaryIO

FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts")
SUFFIXES = frozenset({".ttf", ".ttc", ".otf"})
_SUBTABLES = 12, 4  # formats with Unicode's characters, those with all of them first
_UNICODE, _WINDOWS, _WINDOWS_CODES = 0, 3, (1, 10)  # platforms, and the encodings of Windows that are Unicode


@functools.lru_cache(maxsize=256)
def find_font(characters: str) -> Path | None:
    """Return a font file of this host, or of matplotlib where it is installed, that has all characters, else None."""
    wanted = {ord(character) for character in characters if not character.isspace()}
    return next((path for path in list_fonts() if has_characters(path, wanted)), None)


def list_fonts() -> list[Path]:
    """Return the font files of this host, that of matplotlib first."""
    found = [path for name in FOLDERS for path in Path(name).expanduser().rglob("*") if path.suffix.lower() in SUFFIXES]
    spec = importlib.util.find_spec("matplotlib")  # not imported: that takes a while
    folders = (spec.submodule_search_locations or ()) if spec else ()
    return [*(Path(name) / "mpl-data/fonts/ttf/DejaVuSans.ttf" for name in folders), *sorted(found)]


def has_characters(path: Path, wanted: set[int]) -> bool:
    """Whether a font file (of a collection, its first font) has a glyph for each of these code points."""
    try:
        with path.open("rb") as file:
            table = _read_cmap(file)
            return table is not None and all(_glyph_of(table, code) for code in wanted)
    except (OSError, struct.error):  # a file that is no font after all
        return False


def _read_cmap(file: BinaryIO) -> bytes | None:
    """Return the subtable that maps Unicode's characters to glyphs, of the format that has most of them."""
    start = 0
    if file.read(4) == b"ttcf":
        file.seek(12)
        (start,) = struct.unpack(">I", file.read(4))
    file.seek(start + 4)
    (count,) = struct.unpack(">H", file.read(2))
    file.seek(start + 12)
    records = [struct.unpack(">4s4xII", file.read(16)) for _ in range(count)]
    places = [(offset, length) for tag, offset, length in records if tag == b"cmap"]
    if not places:
        return None
    [(offset, length)] = places
    file.seek(offset)
    cmap = file.read(length)
    found: dict[int, bytes] = {}
    for index in range(struct.unpack_from(">H", cmap, 2)[0]):
        platform, encoding, place = struct.unpack_from(">HHI", cmap, 4 + 8 * index)
        if platform == _UNICODE or (platform == _WINDOWS and encoding in _WINDOWS_CODES):
            found[struct.unpack_from(">H", cmap, place)[0]] = cmap[place:]
    return next((found[number] for number in _SUBTABLES if number in found), None)


def _glyph_of(table: bytes, code: int) -> int:
    """Return the number of a character's glyph, 0 where there is none."""
    if struct.unpack_from(">H", table)[0] == 12:
        for index in range(struct.unpack_from(">I", table, 12)[0]):
            first, last, glyph = struct.unpack_from(">III", table, 16 + 12 * index)
            if first <= code <= last:
                return glyph + code - first
        return 0
    size = struct.unpack_from(">H", table, 6)[0]  # twice the number of segments
    for place in range(14, 14 + size, 2):
        (last,) = struct.unpack_from(">H", table, place)
        if code <= last:
            first, shift, offset = (struct.unpack_from(">H", table, place + 2 + step * size)[0] for step in (1, 2, 3))
            if code < first:
                return 0
            glyph = code
            if offset:
                (glyph,) = struct.unpack_from(">H", table, place + 2 + 3 * size + offset + 2 * (code - first))
            return (glyph + shift) % 0x10000 if glyph or not offset else 0
    return 0
