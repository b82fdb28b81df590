"""How long a benchmark will take."""

import pytest

from yolact_ascend import loops
from yolact_ascend.loops import LoopClock, describe_seconds, watch_output


class Clock:
    """A clock that stands until it is moved, and the lines that were written."""

    def __init__(self):
        self.s, self.lines = 100.0, []

    def of(self, loop):
        return LoopClock(loop, self.lines.append, lambda: self.s)


@pytest.fixture
def clock():
    return Clock()


def test_the_first_loop_tells_where_it_is_long(clock):
    loop = clock.of(100)
    loop.begin()
    clock.s += 1.8
    loop.done(1)
    assert clock.lines == ["benchmark: about 3 min for 100 loops"]
    clock.s += 9
    loop.done(2)
    assert len(clock.lines) == 1


def test_short_loops_tell_together(clock):
    loop = clock.of(1000)
    loop.begin()
    for count in range(1, 60):
        clock.s += 0.0625
        loop.done(count)
        assert bool(clock.lines) == (count >= 16)
    assert clock.lines == ["benchmark: about 62 s for 1000 loops"]


def test_a_short_benchmark_says_nothing(clock):
    loop = clock.of(5)
    loop.begin()
    clock.s += 1.9
    loop.done(1)
    assert clock.lines == []


def test_without_a_beginning_the_first_loop_is_not_counted(clock):
    """A program may load its model for a minute before it."""
    loop = clock.of(100)
    clock.s += 60
    loop.done(1)
    clock.s += 2
    loop.done(2)
    assert clock.lines == ["benchmark: about 3 min for 100 loops"]


def test_loops_that_run_at_once_are_counted_from_the_first_on(clock):
    """Two at once, each of 4 s: the first alone says 400 s for 100 of them, which take 200 s."""
    loop = clock.of(100)
    loop.begin()
    clock.s += 4
    loop.done(1, is_alone=False)
    loop.done(2, is_alone=False)
    clock.s += 4
    loop.done(3, is_alone=False)
    assert clock.lines == ["benchmark: about 3 min for 100 loops"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(10, "10 s"), (119, "119 s"), (120, "2 min"), (7100, "118 min"), (9000, "2.5 h")]
)
def test_a_time_is_given_in_one_unit(seconds, text):
    assert describe_seconds(seconds) == text


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_output_is_matched_once_wherever_it_is_cut(size):
    text = "[INFO] warm up 1 done\n\rloop (1/12)\rloop (2/12) and (3/12)\n…".encode()
    found = []
    watch = watch_output(lambda match: found.append(match.group(1)), r"\((\d+)/\d+\)")
    for start in range(0, len(text), size):
        watch(text[start : start + size])
    assert found == ["1", "2", "3"]


def test_the_line_is_below_the_bar_of_another_program(capsys, monkeypatch):
    monkeypatch.setattr(loops, "LEAST_S", 0.0)
    LoopClock(3).say(4)
    assert capsys.readouterr().err == "\nbenchmark: about 4 s for 3 loops\n"
