"""What a terminal shows of a run on a cluster."""

import re
from types import SimpleNamespace

import pytest

from yolact_ascend import environment, progress

pytestmark = pytest.mark.needs("pyarrow")


def test_a_line_for_each_card_and_the_speed_of_each_host(monkeypatch, capsys):
    from yolact_ascend.scale.course import Course
    from yolact_ascend.scale.work import Done, Going, Opened

    monkeypatch.setattr(progress, "is_shown", lambda: True)
    monkeypatch.setenv(environment.CARDS_VARIABLE, "1")
    first = Opened("one", "NPU 0 (310P3)", 7, environment.visible_cards())
    second, third = Opened("one", "NPU 0 (310P3)", 8, "0"), Opened("two", "the CPU", 9)
    with Course(40) as course:
        for place, news in (
            *((first, Done(0, 10, 0)), (second, Going(4)), (second, Going(12)), (second, Done(1, 10, 0))),
            *((first, Going(7)), (first, Done(2, 10, 0)), (third, Done(3, 10, 0))),
        ):
            course.add(place, news)
        assert (course._all.n, course._lines[second.describe()].n) == (42, 12)
        course.drop(second)  # its two images will be found again
        assert (course._all.n, course._lines[second.describe()].n) == (40, 10)
        speeds = re.fullmatch(r"one (\d+\.\d)/s, two (\d+\.\d)/s", course.speeds())
        assert float(speeds[1]) == pytest.approx(3 * float(speeds[2]), rel=0.01)
    lines = capsys.readouterr().err
    assert "scale: 100%" in lines and "40/40" in lines
    for label in ("one, NPU 0 (310P3), card 1: 20 images", "card 0: 12 images", "two, the CPU, process 9: 10 images"):
        assert label in lines


def test_failures_are_counted_and_the_first_is_named():
    from yolact_ascend.scale.work import Done

    said = Done(3, 10, 2, "broken.jpg is no picture.").describe_failures()
    assert said == "2 of 10 images of shard 3 failed; the first: broken.jpg is no picture."


def test_a_process_with_several_cards_has_a_line_for_each_and_names_their_batches(monkeypatch, capsys):
    from yolact_ascend.host.overlap import Spent
    from yolact_ascend.scale.course import Course
    from yolact_ascend.scale.run import Worked, images_by_device
    from yolact_ascend.scale.work import Going, Opened

    monkeypatch.setattr(progress, "is_shown", lambda: True)
    spent = Spent(devices=[[(0.0, 1.0)] * 3, [(0.0, 1.0)] * 2])
    model = SimpleNamespace(devices=["NPU 0 (310P3)", "NPU 1 (310P3)"], batch_size=8)
    lines = images_by_device(model, spent)
    with Course(40) as course:
        course.add(Opened("one", "NPU 0 (310P3); NPU 1 (310P3)", 7), Going(39), lines)
    shown = capsys.readouterr().err
    assert "NPU 0 (310P3): 24 images" in shown and "NPU 1 (310P3): 16 images" in shown and "39/40" in shown
    assert images_by_device(SimpleNamespace(devices=["the CPU"], batch_size=8), Spent(devices=[[(0.0, 1.0)]])) == {}
    done = Worked(Opened("one", "NPU 0; NPU 1", 7, "4,5"), 1, 40, 0, 2.0, spent)
    said = "one, NPU 0; NPU 1, card 4,5: 1 shard with 40 images done, 20.00 images/s; batches by device: 3, 2."
    assert done.describe() == said
