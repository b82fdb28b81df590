"""Numbers and tables as text."""

import pytest

from yolact_ascend.tables import format_change, format_number, markdown_table


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(None, 2, "n/a"), (0, 2, "0.00"), (1.005, 1, "1.0"), (-2.675, 2, "-2.67"), (1234.5, 0, "1234"), (3, 3, "3.000")],
)
def test_a_number_has_its_decimals(value, digits, text):
    assert format_number(value, digits) == text


def test_two_decimals_are_the_default():
    assert format_number(1) == "1.00"
    assert format_change(1, 2) == "+1.00"


@pytest.mark.parametrize(
    ("first", "second", "digits", "text"),
    [
        (None, 1.0, 2, "n/a"),
        (1.0, None, 2, "n/a"),
        (None, None, 2, "n/a"),
        (0.0, 0.0, 2, "+0.00"),
        (30.5, 29.25, 2, "-1.25"),
        (29.25, 30.5, 1, "+1.2"),
    ],
)
def test_a_change_has_its_sign(first, second, digits, text):
    assert format_change(first, second, digits) == text


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        ([], ["| task   | mAP   |", "|--------|-------|"]),
        (
            # Cells stay as they are: "1e5" and "007" would be numbers.
            [["bbox", "1e5"], ["a longer task", "007"]],
            [
                "| task          | mAP   |",
                "|:--------------|:------|",
                "| bbox          | 1e5   |",
                "| a longer task | 007   |",
            ],
        ),
    ],
    ids=["no rows", "two rows"],
)
def test_a_table_is_markdown(rows, lines):
    assert markdown_table(("task", "mAP"), rows).splitlines() == lines
