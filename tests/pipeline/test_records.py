"""Records of steps."""

import pytest

from yolact_ascend.pipeline.records import Record, Records
from yolact_ascend.targets.folder import WorkFolder


@pytest.fixture
def records(tmp_path):
    return Records(WorkFolder(tmp_path))


@pytest.fixture
def output(tmp_path):
    path = tmp_path / "out.bin"
    path.write_text("data")
    return path


def save(records, output, inputs):
    records.save("infer bs8", Record(inputs, records.describe([output]), 1.5, 4))


def test_a_step_without_a_record_is_stale(records):
    assert records.load("infer bs8") is None
    assert records.token("infer bs8") is None
    assert records.why_stale("infer bs8", {}) == "no earlier result"


def test_a_saved_step_is_fresh(records, output):
    save(records, output, {"a": 1, "command": ("x", "y")} | {"command": ["x", "y"]})
    assert records.why_stale("infer bs8", {"a": 1, "command": ("x", "y")}) is None
    assert records.load("infer bs8").seconds == 1.5


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [({"a": 2, "b": 1}, "changed: a"), ({"a": 1}, "changed: b"), ({"a": 1, "b": 1, "c": 0}, "changed: c")],
)
def test_changed_inputs_are_named(records, output, inputs, reason):
    save(records, output, {"a": 1, "b": 1})
    assert records.why_stale("infer bs8", inputs) == reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_text("longer data"), "has changed"),
        (lambda path: path.write_text("DATA"), "has changed"),
    ],
    ids=["missing", "longer", "rewritten"],
)
def test_changed_outputs_are_named(records, output, change, reason):
    save(records, output, {})
    change(output)
    assert records.why_stale("infer bs8", {}).endswith(reason)


def test_forgetting_makes_stale(records, output):
    save(records, output, {})
    records.forget("infer bs8")
    records.forget("infer bs8")
    assert records.why_stale("infer bs8", {}) == "no earlier result"


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"schema": 99}'])
def test_a_record_of_another_kind_counts_as_none(records, output, tmp_path, content):
    save(records, output, {})
    (tmp_path / ".stages" / "infer_bs8.json").write_text(content)
    assert records.load("infer bs8") is None


def test_a_token_changes_when_the_outputs_are_made_again(records, output):
    save(records, output, {})
    before = records.token("infer bs8")
    output.write_text("other")
    save(records, output, {})
    assert records.token("infer bs8") != before
