"""Long JSON files: in pieces there are the same values and the same sentences as in one read."""

import json
import random
import tracemalloc

import pytest

from yolact_ascend import long_json
from yolact_ascend.errors import ArtifactError
from yolact_ascend.files import read_json
from yolact_ascend.long_json import Piece, read_pieces

WHOLE = {
    "info": {"a": [1, "é\n\\", -1.5e3]},
    "images": [{"id": number, "name": "\ud83d\ude00", "é": [None, 1.25]} for number in range(5)],
    "none": [],
    "values": [1, 22, -3, True, False, None, float("nan"), -float("inf"), 2**70, "text", []],
    "text": "[",
}


@pytest.fixture
def same(tmp_path, monkeypatch):
    """Read a content both ways, in blocks of so many bytes; returns what that gave."""

    def same(content, block=3, entries=2):
        monkeypatch.setattr(long_json, "BLOCK", block)
        monkeypatch.setattr(long_json, "MOST_ENTRIES", entries)
        file = tmp_path / "a.json"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        whole, in_pieces = outcome(lists_of_whole, file), outcome(lists_of_pieces, file)
        assert in_pieces == whole
        return whole

    return same


def outcome(read, file):
    try:
        return repr(read(file))
    except ArtifactError as error:
        return str(error)


def lists_of_whole(file):
    data = read_json(file, "it")
    return {key: lists(value) for key, value in data.items()} if isinstance(data, dict) else {}


def lists(value):
    return value if isinstance(value, list) else None


def lists_of_pieces(file):
    found = {}
    for piece in read_pieces(file, "it"):
        assert piece.first == (len(found[piece.key]) if piece.first else 0)
        found[piece.key] = piece.entries if not piece.first else found[piece.key] + piece.entries
    return found


def test_pieces_are_as_long_as_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(long_json, "MOST_ENTRIES", 2)
    (tmp_path / "a.json").write_text('{"a": [1, 2, 3], "b": [4, 5], "c": [], "d": {"a": []}}')
    assert list(read_pieces(tmp_path / "a.json", "it")) == [
        *(Piece("a", 0, [1, 2]), Piece("a", 2, [3]), Piece("b", 0, [4, 5]), Piece("c", 0, []), Piece("d", 0, None))
    ]


@pytest.mark.parametrize("block", [1, 2, 3, 5, 16, 1000])
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("is_ascii", [False, True])
def test_values_are_those_of_one_read(same, block, indent, is_ascii):
    text = json.dumps(WHOLE, indent=indent).replace("\n", "\r\n")
    if not is_ascii:
        text = text.replace(r"\u00e9", "é").replace(r"\ud83d\ude00", "\U0001f600")
    assert "22, -3, True" in same(text, block)
    assert "22, -3, True" in same(b"\xef\xbb\xbf" + text.encode(), block)  # a byte-order mark


ODD = [
    *(
        "",
        " ",
        "[",
        "[1, 2",
        "{",
        "{}",
        " [ ] ",
        "7",
        '"a"',
        "null",
        "[NaN, {}]",
        "[1 .5]",
        "{}.5",
        "{} {}",
        "[1, ]",
        "[,]",
    ),
    *('{"a"', '{"a" 1}', '{"a": 1,}', '{"a": 1 "b": 2}', "{a: 1}", "{,}", '{"a": [1, ]}', '{"a": [1 2]}', '{"a": [1}'),
    *('{"a": [1], "a": [2, 3, 4], "a": [5]}', '{"a": [1], "a": 2}', '{"a": [01]}', '{"a": ["\\x"]}', '{"a": [tru]}'),
    *('{"a": ["\n"]}', '{"a": [1]\n,\n "b": [\n1,\n 2 3]}', '{"a": [' + "7" * 6000 + "]}", '{"a": [' + "[" * 100_000),
    *(
        b'{"a": ["\xff"]}',
        b'{"a": ["\xc3',
        b'{"a": ["\xe2\x82"]}',
        b"\xff\xfe",
        '{"a": ["' + "é" * 50,
        '{"a": "\\ud800"}',
    ),
]


@pytest.mark.parametrize("content", ODD, ids=range(len(ODD)))
def test_what_is_odd_or_wrong_is_said_alike(same, content):
    same(content)
    same(content, block=1000)


def test_damage_is_said_alike(same):
    """At seeded places; of two faults, a byte that is no text may be said later."""
    rng, text = random.Random(0), json.dumps(WHOLE, indent=1)
    sentences = set()
    for _ in range(150):
        damaged, at = bytearray(text.encode()), rng.randrange(len(text))
        damaged[at : at + rng.choice([0, 1, 1, 40])] = rng.choice(
            [b"", *(bytes([code]) for code in b'{}[],:"\\\n0.e-t')]
        )
        sentences.add(same(bytes(damaged[: rng.choice([None, at])]), rng.choice([4, 60])).split(":")[1])
    assert len(sentences) > 4


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ArtifactError, match=r"There is no .*a\.json \(it\)\."):
        next(read_pieces(tmp_path / "a.json", "it"))


def test_a_long_file_is_not_held_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(long_json, "MOST_ENTRIES", 2)
    with (tmp_path / "a.json").open("w") as file:
        file.write('{"a": [0' + (', "' + "x" * (1 << 20) + '"') * 20 + "]}")
    tracemalloc.start()
    try:
        count = sum(len(piece.entries) for piece in read_pieces(tmp_path / "a.json", "it"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 21
    assert peak < 10 << 20  # of 20 MiB
