"""How values of files stand in the sentences of errors."""

import pytest

from yolact_ascend.errors import show_name, show_value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (7, "7"),
        ("7", "'7'"),
        ([1, -2.5], "[1, -2.5]"),
        ("a\n\x1b[2J", r"'a\n\x1b[2J'"),
        ("\ud800", r"'\ud800'"),
        (None, "None"),
    ],
)
def test_values_are_shown_as_they_are(value, shown):
    assert show_value(value) == shown
    shown.encode()


def nest(depth):
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        "x" * 9999,
        [0] * 9999,
        {"a": [[["x" * 999] * 99] * 99]},
        10**4000,
        pytest.param(10**9999, id="digits"),
        nest(5000),
    ],
)
def test_long_and_deep_values_are_cut(value):
    assert len(show_value(value)) <= 100


def test_names_are_shown_without_quotes():
    assert show_name("a b.jpg") == "a b.jpg"
    assert show_name("a\nb") == r"a\nb"
    assert show_name(3) == "3"
    assert len(show_name("x" * 9999)) < 100
