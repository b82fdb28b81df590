"""Words of a command line as values, and the text that says what was expected."""

from pathlib import Path

import pytest

from yolact_ascend.flags import MAX_DEVICE, Flag, read_npus
from yolact_ascend.words import decimal, listed, one_of, optional, path, switch, whole_number


@pytest.mark.parametrize(
    ("read", "word", "value"),
    [
        (whole_number(), "0", 0),
        (whole_number(), "007", 7),
        (whole_number(1), "1", 1),
        (whole_number(1, 3), "3", 3),
        (whole_number(0, 10**9), "1000000000", 10**9),
        (decimal(0), "0", 0.0),
        (decimal(0), "1e3", 1000.0),
        (decimal(0, 1), "1", 1.0),
        (decimal(-1, 1), "-1", -1.0),
        (decimal(0, 1, above=True), "0.001", 0.001),
        (decimal(0, 1, above=True), "1", 1.0),
        (one_of(("a", "b")), "b", "b"),
        (one_of(iter(["a", "b"])), "b", "b"),
        (switch, "0", False),
        (switch, "1", True),
        (listed(whole_number(), "numbers"), "3", (3,)),
        (listed(whole_number(), "numbers"), "2,0,2,1", (2, 0, 1)),
        (path, "a/b", Path("a/b")),
        (path, "~/a", Path.home() / "a"),
        (optional(whole_number(1)), "", None),
        (optional(whole_number(1)), "5", 5),
        (optional(path), "a", Path("a")),
        (read_npus, f"0,{MAX_DEVICE}", (0, MAX_DEVICE)),
    ],
)
def test_a_word_becomes_a_value(read, word, value):
    found = read(word)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("read", "expected", "words"),
    [
        # "²" and "٣" are digits for str.isdigit.
        (
            whole_number(),
            "a whole number from 0",
            ["", "-1", "1.5", "+1", " 1", "1_0", "0x1", "²", "٣", "a", "9" * 5000],
        ),
        (whole_number(2), "a whole number from 2", ["1"]),
        (whole_number(1, 3), "a whole number from 1 to 3", ["0", "4"]),
        (decimal(0), "a number from 0", ["", "a", "-0.1", "nan", "inf", "-inf"]),
        (decimal(0, 1), "a number from 0 to 1", ["1.001"]),
        (decimal(0.5, 2.5, above=True), "a number above 0.5 to 2.5", ["0.5", "2.6"]),
        (decimal(0, above=True), "a number above 0", ["0", "-0.0"]),
        (one_of(("a", "b")), "one of a, b", ["", "c", "A", "a,b"]),
        (switch, "one of 0, 1", ["", "2", "true", "01"]),
        (listed(whole_number(1), "numbers by comma"), "numbers by comma", ["", "1,", ",1", "1,,2", "0", "1;2"]),
        (path, "a path", [""]),
        (optional(whole_number(1)), "a whole number from 1", ["0", " "]),
        (read_npus, "device numbers from 0 to 255, separated by commas", ["256", "a"]),
    ],
)
def test_what_is_no_such_value_is_refused_with_what_was_expected(read, expected, words):
    for word in words:
        with pytest.raises(ValueError) as caught:
            read(word)
        assert str(caught.value) == expected, word


def test_a_user_that_is_not_there_is_no_path():
    with pytest.raises(ValueError, match=r"^a path \(.+\)$"):
        path("~no-such-user-here/a")


def test_a_flag_is_written_as_it_is_read():
    flag = Flag("limit", whole_number(1), "use only the first N images")
    assert flag.word(5) == "--limit=5"
    assert flag.read(flag.word(5).split("=")[1]) == 5
    assert (flag.default, flag.aliases) == (None, ())
