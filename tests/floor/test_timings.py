"""Core-seconds by step."""

from __future__ import annotations

import pytest

from yolact_ascend import timings
from yolact_ascend.cli.flags import say_overfull
from yolact_ascend.timings import Timings


@pytest.fixture
def clock(monkeypatch):
    """Each look at the clock finds it a second later."""
    seconds = iter(range(1000))
    monkeypatch.setattr(timings.time, "thread_time", lambda: next(seconds))


def test_steps_are_timed_one_by_one_or_in_turn(clock):
    spent = Timings(images=2)
    with spent.timed("read"):
        pass
    lap = spent.laps()
    for step in ("masks", "RLE", "masks", "RLE", "masks"):
        lap(step)
    assert spent.seconds == {"read": 1, "masks": 3, "RLE": 2}
    assert spent.ms_per_image() == {"read": 500, "masks": 1500, "RLE": 1000}


def test_a_step_that_fails_counts(clock):
    spent = Timings()
    with pytest.raises(ValueError), spent.timed("read"):
        raise ValueError
    assert spent.seconds == {"read": 1} and spent.ms_per_image() == {}


def test_timings_add_up():
    total = Timings(1, {"read": 1.0})
    total.add(Timings(2, {"read": 0.5, "eval": 2.0}))
    assert total == Timings(3, {"read": 1.5, "eval": 2.0})
    assert total.to_json() == {"images": 3, "core_ms_per_image": {"read": 500, "eval": pytest.approx(2000 / 3)}}


def test_images_in_which_the_graph_left_something_out_are_counted_and_said(capsys):
    """The verbs say it on stderr, and nothing where nothing was left out."""
    total = Timings(4, overfull_images=1)
    total.add(Timings(6, overfull_images=2))
    assert total.to_json()["overfull_images"] == 3
    say_overfull(total)
    assert capsys.readouterr().err.startswith("warning: 3 of 10 images had more anchors above the score threshold")
    say_overfull(Timings(4))
    assert capsys.readouterr() == ("", "") and Timings(4).describe_overfull() == ""
