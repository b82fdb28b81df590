"""The soak on commands that take a moment: what it draws, what it compares, and which faults it finds."""

import sys

import pytest
from factories import CHECKOUT

sys.path.insert(0, str(CHECKOUT / "benchmarks"))  # its scripts import each other by name

from soak import Kill, Soak, delay_of, draw_kills, table, tracebacks
from soak_commands import BATCH_SIZES, WHOLE, Command, all_commands
from soak_compare import differences, is_same
from soak_process import ALL, COMMAND, ONE, Process

# Writes half a file, and where it is to be killed, says so and waits.
WRITES = """
import os, pathlib, sys, time
result, killed = pathlib.Path("result.json"), pathlib.Path.cwd().parent
{before}
with pathlib.Path("{first}").open("w") as file:
    file.write("half")
    file.flush()
    if killed.name == "killed" and not (killed / "begun").exists():
        (killed / "begun").touch()
        print("half", flush=True)
        time.sleep(60)
pathlib.Path("{first}").write_text('{{"seconds": 1, "found": 2}}')
pathlib.Path("{first}").rename(result)
"""


def test_every_moment_comes_once_before_one_comes_again():
    moments = [(command.name, moment) for command in all_commands().values() for moment in command.moments]
    kills = draw_kills(len(moments), seed=3)
    assert sorted((kill.command, kill.moment) for kill in kills) == sorted(moments)
    assert draw_kills(7, seed=3) == kills[:7]
    assert draw_kills(7, seed=4) != kills[:7]
    assert {kill.command for kill in draw_kills(9, 0, "train")} == {f"train bs={size}" for size in BATCH_SIZES}


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [(WHOLE, 5.0), ("[infer bs1] running", 1.0), ("[infer bs1] done", 3.0)],
    ids=["a verb", "a stage", "the report"],
)
def test_a_kill_comes_within_its_moment(moment, seconds):
    times = {"[infer bs1] running": 2.0, "[infer bs1] done": 4.0, "end": 10.0}
    assert delay_of(Kill(0, "run", moment, 0.5, COMMAND), times) == seconds


@pytest.mark.parametrize(
    ("name", "one", "two", "expected"),
    [
        ("bs1/output/0_0.bin", b"1", b"2", False),
        ("logs/infer_bs1.log", b"1", b"2", True),
        ("report.json", b'{"a": [{"seconds": 1, "b": 2}]}', b'{"a": [{"seconds": 3, "b": 2}]}', True),
        ("report.json", b'{"a": [{"seconds": 1, "b": 2}]}', b'{"a": [{"seconds": 1, "b": 3}]}', False),
        ("report.json", b'[{"name": "preprocess", "images": 3}]', b'[{"name": "preprocess", "images": 0}]', True),
        ("report.json", b'[{"name": "infer", "images": 3}]', b'[{"name": "infer", "images": 0}]', False),
        ("by_hand/log.jsonl", b'{"unix_time_s": 1}\n{"a": 1}\n', b'{"unix_time_s": 2}\n{"a": 1}\n', True),
        ("by_hand/log.jsonl", b'{"a": 1}\n', b'{"a": 1}\n{"a": 1}\n', False),
    ],
    ids=["outputs", "a log", "times", "beside times", "inputs made", "images", "times in lines", "a line more"],
)
def test_only_times_may_differ(name, one, two, expected):
    assert is_same(name, one, two) == expected


def test_files_too_many_and_missing_are_named(tmp_path):
    for folder, names in (("one", "ab"), ("two", "bc")):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).write_text(folder)
    assert differences(tmp_path / "one", tmp_path / "two") == ["missing: a", "too many: c", "other bytes: b"]


def test_tracebacks_are_found():
    output = 'error: x\nTraceback (most recent call last):\n  File "a.py"\nKeyError: 1\nTraceback (most'
    assert list(tracebacks(output)) == ["traceback: KeyError: 1", "traceback: it is cut short"]


@pytest.fixture
def try_kill(tmp_path, monkeypatch):
    """Kill a program that has written half a file and run it again; returns the line of the results."""
    monkeypatch.setattr(Process, "is_running_after", lambda process, _: process.wait_for("half"))
    (tmp_path / "work" / "data").mkdir(parents=True)

    def kill_and_run(program, victim=COMMAND):
        script = tmp_path / "program.py"
        script.write_text(program)
        soak = Soak(tmp_path / "work", "commit")
        soak.commands = {"program": Command("program", (str(script),))}
        return soak.try_kill(Kill(0, "program", WHOLE, 0.7, victim))

    return kill_and_run


@pytest.mark.parametrize("victim", [COMMAND, ALL, ONE])
def test_a_command_that_writes_whole_files_has_no_fault(try_kill, tmp_path, victim):
    assert try_kill(WRITES.format(before="", first=".result.json.part"), victim)["faults"] == []
    assert not (tmp_path / "work" / "killed" / "0").exists()


@pytest.mark.parametrize(
    ("before", "first", "said"),
    [
        ("if result.exists(): sys.exit()", "result.json", "other bytes: result.json"),
        ("if result.exists(): sys.exit(3)", "result.json", "again: exit code 3"),
        ("if result.exists(): raise KeyError(1)", "result.json", "again: traceback: KeyError: 1"),
        ("", "{os.getpid()}.part", "left behind: "),
    ],
    ids=["half a file is taken for whole", "it refuses", "it breaks", "a part stays"],
)
def test_faults_are_told(try_kill, before, first, said):
    program = WRITES.format(before=before, first=first).replace('Path("{', 'Path(f"{')
    assert any(fault.startswith(said) for fault in try_kill(program)["faults"])


def test_the_table_counts_kills_and_faults():
    entry = {"number": 0, "command": "train bs=1", "moment": "", "delay_s": 1, "victim": COMMAND, "faults": []}
    rows = table([entry, {**entry, "number": 1, "faults": ["process left: x"]}]).splitlines()
    assert rows[2:4] == ["| train bs=1 | 2 | 1 |", "| all | 2 | 1 |"]
    assert rows[4].endswith("the command: process left: x")
