"""Which fonts have which characters, read without a font library."""

import io
import struct

import pytest

from yolact_ascend.detection import fonts
from yolact_ascend.detection.fonts import find_font, has_characters, list_fonts

OTHER = 0x10FFFD  # a private character, which no font has


@pytest.fixture
def no_fonts(monkeypatch, tmp_path):
    """A host whose only folder of fonts is `tmp_path`."""
    monkeypatch.setattr(fonts, "FOLDERS", (str(tmp_path),))
    monkeypatch.setattr(fonts.importlib.util, "find_spec", lambda name: None)
    find_font.cache_clear()
    yield tmp_path
    find_font.cache_clear()


def subtable(number, segments):
    """A cmap subtable; segments are (first, last, glyph of the first)."""
    if number == 12:
        groups = b"".join(struct.pack(">III", *segment) for segment in segments)
        return struct.pack(">HHIII", 12, 0, 16 + len(groups), 0, len(segments)) + groups
    rows = [*segments, (0xFFFF, 0xFFFF, 0)]
    lasts, firsts, shifts, offsets, glyphs = [], [], [], [], []
    for index, (first, last, glyph) in enumerate(rows):
        lasts.append(last)
        firsts.append(first)
        if isinstance(glyph, list):  # by the array of glyphs
            shifts.append(0)
            offsets.append(2 * (len(rows) - index + len(glyphs)))
            glyphs += glyph
        else:
            shifts.append((glyph - first) % 0x10000)
            offsets.append(0)
    values = [*lasts, 0, *firsts, *shifts, *offsets, *glyphs]
    head = struct.pack(">HHHHHHH", 4, 14 + 2 * len(values), 0, 2 * len(rows), 0, 0, 0)
    return head + struct.pack(f">{len(values)}H", *values)


def write_font(path, *tables, platform=(3, 1), is_collection=False):
    """A file with a cmap and nothing else."""
    start = 16 if is_collection else 0
    places, body = b"", b""
    for table in tables:
        places += struct.pack(">HHI", *platform, 4 + 8 * len(tables) + len(body))
        body += table
    cmap = struct.pack(">HH", 0, len(tables)) + places + body
    head = struct.pack(">4sIII", b"ttcf", 0x10000, 1, start) if is_collection else b""
    record = struct.pack(">4sIII", b"cmap", 0, start + 28, len(cmap))
    path.write_bytes(head + struct.pack(">IHHHH", 0x10000, 1, 0, 0, 0) + record + cmap)
    return path


LATIN, GREEK = (0x41, 0x5A, 3), (0x391, 0x3A9, [7, 0, *range(8, 31)])  # the second letter of GREEK has no glyph


@pytest.mark.parametrize("is_collection", [False, True])
@pytest.mark.parametrize("number", [4, 12])
def test_characters_of_both_formats(tmp_path, number, is_collection):
    segments = [LATIN, GREEK] if number == 4 else [LATIN, (0x391, 0x3A9, 7), (0x20000, 0x20010, 90)]
    path = write_font(tmp_path / "a.ttf", subtable(number, segments), is_collection=is_collection)
    assert has_characters(path, {0x41, 0x5A, 0x391, 0x3A9})
    assert has_characters(path, {0x392}) == (number == 12)
    assert has_characters(path, {0x20010}) == (number == 12)
    assert (
        not has_characters(path, {0x41, 0x40})
        and not has_characters(path, {0x5B})
        and not has_characters(path, {OTHER})
    )


def test_the_format_with_more_characters_counts_and_other_encodings_do_not(tmp_path):
    both = write_font(tmp_path / "a.ttf", subtable(4, [LATIN]), subtable(12, [LATIN, (0x20000, 0x20000, 9)]))
    assert has_characters(both, {0x41, 0x20000})
    assert not has_characters(write_font(tmp_path / "b.ttf", subtable(4, [LATIN]), platform=(3, 0)), {0x41})  # symbols


def test_the_first_font_with_all_characters_is_found(no_fonts):
    write_font(no_fonts / "b.otf", subtable(4, [LATIN]))
    both = write_font(no_fonts / "c.TTC", subtable(4, [LATIN, GREEK]), is_collection=True)
    (no_fonts / "a.ttf").write_bytes(b"\0\1\0\0\0\x09no font after all")
    (no_fonts / "d.txt").write_text("A")
    assert find_font("A A") == no_fonts / "b.otf"
    assert find_font("AΑ") == both
    assert find_font("椅") is None


@pytest.mark.needs("matplotlib")
def test_fonts_of_this_host_have_what_freetype_finds_in_them():
    """matplotlib's FreeType lists the characters; all fonts here, and some of the code points."""
    from matplotlib.ft2font import FT2Font

    assert find_font("aб") is not None and find_font(chr(OTHER)) is None
    for path in list_fonts():
        known = FT2Font(str(path)).get_charmap()
        table = fonts._read_cmap(io.BytesIO(path.read_bytes()))
        codes = [*range(0, 0x20000, 997), *sorted(known)[::101]]
        differing = [code for code in codes if bool(fonts._glyph_of(table, code)) != (code in known)]
        assert not differing, (path, differing[:5])
