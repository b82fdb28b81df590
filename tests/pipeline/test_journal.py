"""The log of a run."""

import re

import pytest

from yolact_ascend.errors import UsageError
from yolact_ascend.pipeline.journal import Journal


def test_a_text_is_printed_and_from_begin_on_it_is_in_the_log(tmp_path, capsys):
    log = tmp_path / "logs" / "run.log"
    journal = Journal(log)
    journal.say("plan\n  export")
    journal.note("$ a command")
    assert not log.exists()
    journal.begin()
    journal.say("[export] done")
    assert capsys.readouterr().err == "plan\n  export\n[export] done\n"
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"
    lines = log.read_text().splitlines()
    assert [re.sub(f"^{time} ", "", line) for line in lines] == ["plan", "  export", "$ a command", "[export] done"]
    assert all(re.match(time, line) for line in lines)


def test_a_second_run_adds_to_the_log(tmp_path):
    for text in ("first", "second"):
        journal = Journal(tmp_path / "run.log")
        journal.note(text)
        journal.begin()
    assert [line.split()[-1] for line in (tmp_path / "run.log").read_text().splitlines()] == ["first", "second"]


def test_a_log_that_is_a_link_is_not_written(tmp_path):
    (tmp_path / "run.log").symlink_to(tmp_path / "else")
    with pytest.raises(UsageError, match="is a link to"):
        Journal(tmp_path / "run.log").begin()
    assert not (tmp_path / "else").exists()
