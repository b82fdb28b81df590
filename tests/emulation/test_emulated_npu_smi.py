"""emulation/bin/npu-smi."""

from __future__ import annotations

import os
import re
import signal
import subprocess

import pytest

from .conftest import Run

# Finds the rows of cards in the tables of every real driver that we have seen.
CARD_ROW = re.compile(r"^\|\s*(\d+)\s+((?:Ascend)?\d{3}\w*)\s*\|\s*(?!NA\b)([A-Za-z]+)\s*\|", re.MULTILINE)


def test_info_shows_one_idle_310p3(run: Run) -> None:
    result = run("npu-smi", "info")
    assert result.code == 0
    assert CARD_ROW.findall(result.stdout) == [("0", "310P3", "OK")]
    assert "No running processes found in NPU 0" in result.stdout


def test_info_shows_as_many_cards_as_asked_for(run: Run) -> None:
    result = run("npu-smi", "info", env={"EMULATED_NPUS": "3"})
    assert result.code == 0
    assert CARD_ROW.findall(result.stdout) == [("0", "310P3", "OK"), ("1", "310P3", "OK"), ("2", "310P3", "OK")]
    chips = re.findall(r"^\| 0 +(\d) +\| 0000:(\d\d):00.0 +\|", result.stdout, re.MULTILINE)
    assert chips == [("0", "00"), ("1", "01"), ("2", "02")]
    assert re.findall(r"No running processes found in NPU (\d)", result.stdout) == ["0", "1", "2"]
    assert {len(line) for line in result.stdout.splitlines()} == {106}


@pytest.mark.parametrize("count", ["0", "65", "-1", "two", "1.0", "²"])
def test_a_count_that_no_machine_has_is_refused(run: Run, count: str) -> None:
    result = run("npu-smi", "info", env={"EMULATED_NPUS": count})
    assert result.code == 1
    assert result.stdout == (f"EMULATED_NPUS={count} is no number of cards, expected a whole number from 1 to 64\n")


def test_info_says_that_it_is_emulated_and_keeps_the_layout(run: Run) -> None:
    lines = run("npu-smi", "info").stdout.splitlines()
    assert re.match(r"\| npu-smi (\S+) +Version: \1 \(CPU only, no NPU\) +\|$", lines[1])
    assert "emulated" in lines[1]
    assert {len(line) for line in lines} == {106}
    assert all(line[0] + line[-1] in ("||", "++") for line in lines)


@pytest.mark.parametrize("arguments", [["-h"], ["--help"], ["-v"]], ids=" ".join)
def test_help_and_version(run: Run, arguments: list[str]) -> None:
    result = run("npu-smi", *arguments)
    assert result.code == 0
    assert "npu-smi" in result.stdout


@pytest.mark.parametrize("arguments", [[], ["set"], ["info", "-t", "board", "-i", "0"], ["info", "-m"]], ids=" ".join)
def test_everything_else_is_refused(run: Run, arguments: list[str]) -> None:
    result = run("npu-smi", *arguments)
    assert result.code == 1
    assert f"does not implement '{' '.join(['npu-smi', *arguments])}'" in result.stdout


def test_runs_without_pythonpath(run: Run) -> None:
    assert run("npu-smi", "info", env={"PYTHONPATH": ""}).code == 0


@pytest.mark.parametrize(
    ("soc", "name", "board"),
    [
        ("Ascend310B4", "310B4", {"NPU ID": "0", "Chip ID": "0", "Chip Name": "310B4"}),
        ("Ascend910B", "910B", {"NPU ID": "0", "Chip ID": "0", "Chip Name": "910B"}),
        (
            *("Ascend910_9392", "Ascend910"),
            {"NPU ID": "0", "NPU Name": "9392", "Chip ID": "0", "Chip Name": "Ascend910"},
        ),
    ],
)
def test_the_emulated_chip_is_chosen(run, soc, name, board):
    """Only an Atlas A3 names its chip by the series, and the rest on its board (xLLM's guides)."""
    env = {"EMULATED_SOC": soc}
    assert re.search(rf"^\| 0 +{name} +\| OK ", run("npu-smi", "info", env=env).stdout, re.MULTILINE)
    rows = run("npu-smi", "info", "-t", "board", "-i", "0", "-c", "0", env=env).stdout
    assert dict(re.findall(r"^ +(.*?) +: (\S+)$", rows, re.MULTILINE)) == board


def test_a_chip_that_there_is_not_is_refused(run):
    result = run("npu-smi", "info", env={"EMULATED_SOC": "Ascend310P"})
    assert result.code == 1
    assert "EMULATED_SOC=Ascend310P is no chip that the stand-ins imitate" in result.stdout


@pytest.mark.parametrize("command", [["npu-smi", "info"], ["atc", "--help"]], ids=" ".join)
def test_a_reader_that_ends_early_ends_the_tool_quietly(command: list[str], emulated_env) -> None:
    """`npu-smi info | head -1`; Python would print a BrokenPipeError."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=emulated_env, check=False)
    finally:
        os.close(writer)
    assert (result.returncode, result.stderr) == (-signal.SIGPIPE, b"")
