"""Numbers that stay, with the real package: rows in our order, classes apart, no -1; field_problems 22."""

import pickle

import numpy as np
import pytest
from played import CONFIG

from yolact_ascend.detection.detections import Detections
from yolact_ascend.errors import NotInstalledError, UsageError
from yolact_ascend.host import track
from yolact_ascend.host.found import Found
from yolact_ascend.host.track import LOST_S, Tracker
from yolact_ascend.images.reader import PictureSource

BOXES, FRAMES, SIDE_PX = 12, 30, 40
PICTURE = PictureSource(np.zeros((1, 1, 3), np.uint8), "a frame")


@pytest.fixture
def tracker():
    pytest.importorskip("trackers")
    return Tracker()


def found_in(objects):
    """What a frame shows: (class, score, left, top) of each object, best score first."""
    ordered = sorted(objects, key=lambda each: -each[1])
    corners = [(left, top, left + SIDE_PX, top + SIDE_PX) for _, _, left, top in ordered]
    detections = Detections(
        np.array([each[0] for each in ordered], np.int64),
        np.array([each[1] for each in ordered], np.float64),
        np.array(corners, np.int64).reshape(-1, 4),
        None,
    )
    return Found(detections, CONFIG, 1080, 1920, PICTURE)


def scene(frame, generator):
    """Twelve boxes on a grid, in motion, with scores that change their order, above and below that of a new track."""
    for number in range(BOXES):
        row, column = divmod(number, 4)
        score = generator.uniform(0.35, 0.95)
        yield number, (number % 3, score, 100 + 300 * column + 3 * frame, 100 + 250 * row - 2 * frame)


def number_of(found, row, frame):
    """Which box of the scene a row is, by its place."""
    left, top = found.detections.boxes_xyxy_px[row][:2]
    return 4 * round((top - 100 + 2 * frame) / 250) + round((left - 100 - 3 * frame) / 300)


def test_each_of_twelve_boxes_keeps_one_number_over_thirty_frames(tracker):
    generator = np.random.default_rng(0)
    numbers: dict = {}
    for frame in range(FRAMES):
        given = found_in([each for _, each in scene(frame, generator)])
        found = tracker.update(given)
        assert found.detections is given.detections and len(found.track_ids) == BOXES  # rows stay where they were
        for row, track_id in enumerate(found.track_ids):
            assert track_id is None or track_id >= 1
            numbers.setdefault(number_of(found, row, frame), []).append(track_id)
    for seen in numbers.values():
        first = next(place for place, track_id in enumerate(seen) if track_id is not None)
        assert set(seen[first:]) == {seen[-1]} and set(seen[:first]) <= {None} and first < 10
    assert sorted(seen[-1] for seen in numbers.values()) == list(range(1, BOXES + 1))


def test_an_object_in_the_place_of_another_class_is_another(tracker):
    """The package keeps the number of a box whatever its class."""
    seen = [tracker.update(found_in([(class_id, 0.9, 100, 100)])).track_ids for class_id in (0, 0, 1, 1, 0)]
    assert seen == [(None,), (1,), (None,), (2,), (1,)]


def test_classes_that_lie_on_each_other_are_followed_side_by_side(tracker):
    for _ in range(3):
        found = tracker.update(found_in([(0, 0.9, 100, 100), (1, 0.8, 102, 101)]))
    assert sorted(found.track_ids) == [1, 2]


def test_nothing_found_is_a_frame_like_others(tracker):
    assert tracker.update(found_in([])).track_ids == ()
    seen = [tracker.update(found_in(objects)).track_ids for objects in ([(0, 0.9, 9, 9)], [(0, 0.9, 9, 9)], [], [])]
    assert seen == [(None,), (1,), (), ()]
    assert tracker.update(found_in([(0, 0.9, 9, 9)])).track_ids == (1,)


def test_an_object_that_was_gone_for_long_is_a_new_one_and_the_old_is_forgotten(tracker):
    step = 0.1  # seconds: the rate of the camera is not that of the tracker
    times = iter(np.arange(0, 100, step))
    for _ in range(2):
        found = tracker.update(found_in([(0, 0.9, 9, 9)]), next(times))
    assert found.track_ids == (1,)
    for _ in range(round(LOST_S / step) + 2):
        tracker.update(found_in([]), next(times))
    assert (tracker._trackers, tracker._numbers) == ({}, {})  # a camera runs for months
    for _ in range(2):
        found = tracker.update(found_in([(0, 0.9, 9, 9)]), next(times))
    assert found.track_ids == (2,)


def test_two_frames_at_one_time_and_a_clock_that_goes_back(tracker):
    seen = [tracker.update(found_in([(0, 0.9, 9, 9)]), time_s).track_ids for time_s in (0.0, 0.0, 0.0, -1.0, 0.1)]
    assert seen[2] == seen[4] == (1,)


def test_frames_of_a_slow_model_are_one_track_however_far_apart(tracker):
    """A second is too short for a CPU's emulation of a card, which sees a frame in two."""
    seen = [tracker.update(found_in([(0, 0.9, 9, 9)]), 10.0 * number).track_ids for number in range(4)]
    assert seen == [(None,), (1,), (1,), (1,)]


def test_a_low_score_begins_no_track_but_continues_one(tracker):
    seen = [tracker.update(found_in([(0, score, 9, 9)])).track_ids for score in (0.4, 0.4, 0.9, 0.4, 0.4)]
    assert seen == [(None,), (None,), (None,), (1,), (1,)]


def test_a_rate_that_is_none_is_refused(tracker):
    for rate in (0, -1, "25", float("nan")):
        with pytest.raises(UsageError, match=r"^frames_per_s=.*: expected a number from 0\.001 to 1e\+06"):
            Tracker(rate)


def test_a_result_with_numbers_is_a_value(tracker):
    tracker.update(found_in([(0, 0.9, 9, 9)]))
    found = pickle.loads(pickle.dumps(tracker.update(found_in([(0, 0.9, 9, 9)]))))
    assert found.track_ids == (1,) and found[0].track_id == 1


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(track, "PACKAGE", "trackers_that_are_not_there")
    monkeypatch.setattr(track.sys, "version_info", (3, 11, 7))
    with pytest.raises(NotInstalledError, match=r"trackers_that_are_not_there is not installed for "):
        Tracker()
    monkeypatch.setattr(track.sys, "version_info", (3, 9, 21))
    with pytest.raises(NotInstalledError, match=r"^Tracking needs Python 3\.10 or newer, .*; this is 3\.9\."):
        Tracker()
