"""Progress shows on a terminal, and nowhere else."""

import io
import sys
import time

import pytest

from yolact_ascend import progress
from yolact_ascend.environment import TERMINAL_VARIABLE, stage_environment
from yolact_ascend.progress import bar, clock


class Terminal(io.StringIO):
    def isatty(self):
        return True


KINDS = pytest.mark.parametrize("kind", ["terminal", "stage of a run on one", "file"])


def become(kind, monkeypatch):
    """Have standard error be of a kind; return it, and whether progress shows there."""
    stream = Terminal() if kind == "terminal" else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv(TERMINAL_VARIABLE, "1" if kind.startswith("stage") else "")
    return stream, kind != "file"


@KINDS
def test_a_bar_shows_on_a_terminal_only(kind, monkeypatch):
    stream, is_shown = become(kind, monkeypatch)
    assert list(bar(range(3), desc="infer", unit="image")) == [0, 1, 2]
    assert ("infer: 100%" in stream.getvalue()) == is_shown
    assert is_shown or not stream.getvalue()


@KINDS
def test_a_clock_shows_on_a_terminal_only_and_leaves_no_text(kind, monkeypatch):
    stream, is_shown = become(kind, monkeypatch)
    monkeypatch.setattr(progress, "LEAST_S", 0.0)
    monkeypatch.setattr(progress, "TICK_S", 0.01)
    with clock("compile bs8"):
        deadline = time.monotonic() + 10
        while is_shown and "compile bs8: 0 s\r" not in stream.getvalue() and time.monotonic() < deadline:
            time.sleep(0.005)
    written = stream.getvalue()
    assert ("compile bs8: 0 s\r" in written) == is_shown
    assert not is_shown or written.endswith(f"{' ' * len('compile bs8: 0 s')}\r")
    assert is_shown or not written
    assert "\x1b" not in written  # no colour, whatever NO_COLOR says


def test_a_short_step_has_no_clock(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with clock("export"):
        pass
    assert sys.stderr.getvalue() == ""


def test_a_run_tells_its_stages_whether_it_is_on_a_terminal(monkeypatch):
    monkeypatch.delenv(TERMINAL_VARIABLE, raising=False)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert stage_environment()[TERMINAL_VARIABLE] == "1"
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert TERMINAL_VARIABLE not in stage_environment()
