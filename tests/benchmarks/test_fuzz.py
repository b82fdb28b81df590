"""The fuzzer on readers with known faults: it finds each, shrinks it, and goes on."""

import signal
import sys
import zipfile

import pytest
from factories import CHECKOUT

sys.path.insert(0, str(CHECKOUT / "benchmarks"))  # its scripts import each other by name

import fuzz as fuzz_cli
import fuzz_worker
from fuzz_kinds import KINDS, Kind
from fuzz_worker import ACCEPTED, OUTCOMES, REFUSED, Task, fuzz, outcome
from hypothesis import strategies as st
from mutators import edit_bytes, edit_json, edit_lines, edit_zip, read_zip, write_zip

from yolact_ascend.errors import ArtifactError

DOCUMENT = {"ids": [3, 1], "name": "a"}


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (["set", 1, None, 0], '{"ids": null, "name": "a"}'),
        (["set", 4, "@deep", 0], '{"ids": [3, 1], "name": ' + "[" * 100_000 + "]" * 100_000 + "}"),
        (["delete", 2, None, 0], '{"ids": [1], "name": "a"}'),
        (["delete", 0, None, 0], "null"),
        (["repeat", 2, None, 0], '{"ids": [3, 3, 1], "name": "a"}'),
        (["wrap", 6, None, 0], '{"ids": [[3, 1]], "name": "a"}'),
        (["rename", 4, "b", 0], '{"ids": [3, 1], "b": "a"}'),
        (["move", 4, None, 1], '{"ids": [3, 1], "name": [3, 1]}'),
        (["put", 7, ["name", float("nan")], 0], '{"ids": [3, 1], "name": NaN}'),
        (["put", 0, ["none", 1], 0], '{"ids": [3, 1], "name": "a"}'),
    ],
    ids=["set", "raw text", "delete", "delete all", "repeat", "wrap", "rename", "move", "by its key", "no such key"],
)
def test_edits_of_json(edit, expected):
    assert edit_json(DOCUMENT, [edit]) == expected


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (["flip", 0.5, "\x01\x01"], b"abbe"),
        (["cut", 0.5, "x"], b"ab"),
        (["drop", 0.25, "xx"], b"ad"),
        (["insert", 1.0, "\xff"], b"abc\xffd"),
        (["repeat", 0.0, "x"], b"abcdabcd"),
    ],
    ids=["flip", "cut", "drop", "insert", "repeat"],
)
def test_edits_of_bytes(edit, expected):
    assert edit_bytes(b"abcd", [edit]) == expected
    edit_bytes(b"", [edit])


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (["drop", 0, 0, ""], [("b", b"22")]),
        (["double", 0, 1, ""], [("a", b"1"), ("b", b"22"), ("a", b"22")]),
        (["rename", 1, 0, "../x"], [("a", b"1"), ("../x", b"22")]),
        (["swap", 0, 1, ""], [("a", b"22"), ("b", b"1")]),
        (["empty", 1, 1, ""], [("a", b"1"), ("b", b"2")]),
    ],
    ids=["drop", "double", "rename", "swap", "empty"],
)
def test_edits_of_records(edit, expected):
    content = edit_zip(write_zip([("a", b"1"), ("b", b"22")]), [edit])
    names = [name for name, _ in read_zip(content)]
    assert names == [name for name, _ in expected]
    if len(set(names)) == len(names):
        assert read_zip(content) == expected


@pytest.mark.parametrize("operator", ["flip", "encrypt", "method", "size"])
def test_edits_of_headers_make_an_archive_that_is_refused(operator):
    content = edit_zip(write_zip([("a", b"1"), ("b", b"22")]), [[operator, 1, 1, ""]])
    with pytest.raises((zipfile.BadZipFile, RuntimeError, OSError)):  # OSError: another method's stream
        read_zip(content)


def test_edits_of_lines():
    edits = [["set", 0, 7, 0], ["repeat", 1, None, 0], ["rename", 2, "c", 0]]
    assert edit_lines("a: 1\nb: 2\n", edits) == "a: 7\nb: 2\nc: 2\n"


def attempt_at_number(number):
    """A reader with faults for some values."""
    if isinstance(number, str):
        raise KeyError(number)
    if number is None:
        raise ArtifactError("There is no number.")
    return "accepted a number: too large" if number > 100 else None


NUMBER = Kind(
    "here", st.one_of(st.integers(0, 10**6), st.text(), st.none()), lambda _: attempt_at_number, (ArtifactError,)
)


def test_each_fault_is_found_once_and_shrunk():
    chunk = fuzz(Task("number", 0, seed=1, cases=60, memory_gb=1), NUMBER, attempt_at_number)
    found = {finding["what"]: finding["damage"] for finding in chunk.findings}
    assert found == {"KeyError in no code of ours": "", "wrong: accepted a number": 101}
    assert chunk.cases == sum(chunk.outcomes.values()) <= 60
    again = fuzz(Task("number", 0, 1, 60, 1, known=list(found)), NUMBER, attempt_at_number)
    assert (again.findings, again.outcomes) == ([], chunk.outcomes)


def test_a_hang_is_an_outcome(monkeypatch):
    def forever(_):
        while True:
            pass

    monkeypatch.setattr(fuzz_worker, "HANG_S", 1)
    signal.signal(signal.SIGPROF, fuzz_worker._interrupt)
    assert outcome(NUMBER, forever, {}, Task("number", 0, 0, 1, 1))[0] == "Hang in no code of ours"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, ACCEPTED),
        (ArtifactError("There is none."), REFUSED),
        (ArtifactError(""), "refused without a sentence"),
        (OSError(28, "No space left"), "OSError without a file name in no code of ours"),
        (MemoryError(), "MemoryError in no code of ours"),
    ],
    ids=["accepted", "refused", "no sentence", "no file name", "memory"],
)
def test_outcomes(error, expected):
    def attempt(_):
        if error:
            raise error

    assert outcome(NUMBER, attempt, {}, Task("number", 0, 0, 1, 1))[0] == expected


def test_a_chunk_runs_in_a_process_of_its_own():
    chunk = fuzz_cli.run_chunk(Task("words", 0, seed=0, cases=10, memory_gb=4))
    assert (chunk["cases"], sum(chunk["outcomes"].values()), chunk["findings"]) == (10, 10, [])


def test_what_ends_the_process_is_a_finding_and_left_out_then(tmp_path, monkeypatch):
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import json, os, pathlib, sys\n"
        "task = json.load(sys.stdin)\n"
        "for damage in ([1], [2], [3]):\n"
        "    pathlib.Path(task['current']).write_text(json.dumps(damage))\n"
        "    if damage == [2] and json.dumps(damage) not in task['skipped']: os.kill(os.getpid(), 11)\n"
        "print(json.dumps({'kind': 'a', 'findings': []}))\n"
    )
    monkeypatch.setattr(fuzz_cli, "WORKER", worker)
    (finding,) = fuzz_cli.run_chunk(Task("a", 0, 0, 3, 1))["findings"]
    assert (finding["what"], finding["damage"]) == ("the process ends with code -11", [2])


def test_the_same_command_resumes(tmp_path, monkeypatch, capsys):
    tried = []

    def run_chunk(task):
        tried.append((task.kind, task.chunk, task.cases, task.known))
        finding = {"what": f"{task.kind} {task.chunk}", "damage": 7, "trace": ""}
        return {"kind": task.kind, "chunk": task.chunk, "cases": task.cases, "outcomes": {}, "findings": [finding]}

    monkeypatch.setattr(fuzz_cli, "run_chunk", run_chunk)
    words = ["fuzz.py", "--kinds=words,ids", "--chunk=10", f"--out={tmp_path / 'fuzz.jsonl'}"]
    for cases in ("10", "15"):
        monkeypatch.setattr(sys, "argv", [*words, f"--cases={cases}"])
        assert fuzz_cli.main() == 1
    assert tried == [("words", 0, 10, []), ("ids", 0, 10, []), ("words", 1, 5, ["words 0"]), ("ids", 1, 5, ["ids 0"])]
    table = capsys.readouterr().out
    assert "| words | parse_words, with_demo, find_dataset, choose_classes | 15 | 0 | 0 | 2 |" in table
    assert "- ids (chunk 1): ids 1: `7`" in table
    monkeypatch.setattr(sys, "argv", [*words, "--seed=1"])
    assert fuzz_cli.main() == 2


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_input_is_made_and_read(name, tmp_path):
    """What is damaged is whole to begin with: no reader of ours has moved or taken another name."""
    kind = KINDS[name]
    chunk = fuzz(Task(name, 0, seed=0, cases=2, memory_gb=8), kind, kind.prepare(tmp_path))
    assert chunk.cases == 2 and chunk.findings == []
    assert set(chunk.outcomes) <= set(OUTCOMES)
