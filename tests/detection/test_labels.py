"""Labels: text in any script, and places that are clear of each other."""

import numpy as np
import pytest

from yolact_ascend.detection import labels as labels_module
from yolact_ascend.detection.fonts import find_font
from yolact_ascend.detection.labels import make_label, place_labels


def test_ascii_is_drawn_by_opencv():
    ink = make_label("person 0.95", "1", 0.95, 0.5)
    assert ink.dtype == np.uint8 and ink.max() > 200 and ink.shape[1] > ink.shape[0]


@pytest.mark.parametrize("name", ["Löwe", "собака", "σκύλος"])
def test_names_in_a_script_that_a_font_here_has_are_drawn_as_they_are(name):
    """matplotlib, and most hosts, bring DejaVu Sans, which has Latin, Cyrillic and Greek."""
    if find_font(name) is None:
        pytest.skip("no font of this host has the letters")
    ink = make_label(name, "7", None, 0.5)
    assert ink.max() > 200 and ink.shape[0] > 8
    others = [make_label(other, "7", None, 0.5) for other in ("????", "class 7", name[::-1])]
    assert not any(np.array_equal(ink, other) for other in others)


@pytest.mark.parametrize(("score", "text"), [(None, "class 7"), (0.5, "class 7 0.50")])
def test_a_name_that_no_font_has_becomes_the_class_number(monkeypatch, score, text):
    monkeypatch.setattr(labels_module, "find_font", lambda characters: None)
    np.testing.assert_array_equal(make_label("椅子", "7", score, 0.5), make_label(text, "", None, 0.5))


LABEL = np.zeros((10, 40), np.uint8)


def rows_of(boxes, height=100, width=200):
    return place_labels(boxes, [LABEL] * len(boxes), height, width)


def test_a_label_stands_above_its_box_or_inside_it_or_within_the_image():
    assert rows_of([(50, 30, 90, 60)]) == [(50, 20)]
    assert rows_of([(50, 5, 90, 60)]) == [(50, 5)]
    assert rows_of([(180, 30, 199, 60)]) == [(160, 20)]
    assert rows_of([(-20, -30, 300, 130)]) == [(0, 80)] or rows_of([(-20, -30, 300, 130)])[0][1] >= 0


def test_labels_of_one_box_go_to_places_of_their_own():
    places = rows_of([(50, 30, 90, 60)] * 5)
    assert places[0] == (50, 20)
    assert len({y for _, y in places}) == 5
    assert all(abs(one - other) >= 10 for i, (_, one) in enumerate(places) for _, other in places[:i])


def test_where_no_place_is_clear_the_first_is_taken():
    places = rows_of([(0, 5, 40, 15)] * 4, height=20)
    assert all(0 <= y <= 10 for _, y in places)


def test_a_label_larger_than_the_image_begins_in_it():
    assert place_labels([(0, 0, 5, 5)], [np.zeros((30, 40), np.uint8)], 20, 20) == [(0, 0)]
