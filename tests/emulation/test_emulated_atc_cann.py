"""EMULATED_CANN: which release of atc is played."""

from __future__ import annotations

import json
import re
from pathlib import Path

import onnx
import pytest

from .conftest import ATC_COMMON, Result, Run, small_model
from .test_emulated_atc import START

RELEASES = ("5.1", "6.0", "7.0", "8.0")


def atc(run: Run, folder: Path, release: str, *flags: str, opset: int = 11) -> Result:
    onnx.save(small_model(opset=opset, batch=1), folder / "m.onnx")
    return run("atc", "--model", "m.onnx", "--output", "m", *ATC_COMMON, *flags, env={"EMULATED_CANN": release})


@pytest.mark.parametrize("release", RELEASES)
def test_header_names_the_release(run: Run, tmp_path: Path, release: str) -> None:
    assert atc(run, tmp_path, release).code == 0
    assert json.loads((tmp_path / "m.om").read_bytes().split(b"\n", 2)[1])["cann"] == release


def test_empty_is_the_default(run: Run, tmp_path: Path) -> None:
    assert atc(run, tmp_path, "").code == 0
    assert json.loads((tmp_path / "m.om").read_bytes().split(b"\n", 2)[1])["cann"] == "8.0"


@pytest.mark.parametrize(
    ("release", "opset", "accepted"),
    [
        ("5.1", 8, False),
        ("5.1", 9, True),
        ("5.1", 13, True),
        ("5.1", 14, False),
        ("6.0", 13, True),
        ("6.0", 14, False),
        ("7.0", 8, False),
        ("7.0", 18, True),
        ("8.0", 8, True),
        ("8.0", 18, True),
        ("8.0", 19, False),
    ],
)
def test_opsets(run: Run, tmp_path: Path, release: str, opset: int, accepted: bool) -> None:
    result = atc(run, tmp_path, release, opset=max(opset, 11) if accepted else opset)
    if accepted and opset < 11:  # the small model needs opset 11; its import alone decides on the parser's words
        result = atc(run, tmp_path, release, opset=opset)
        assert "E19010" not in result.stdout
    elif accepted:
        assert result.code == 0
    else:
        assert f"No parser is registered for Op [Conv_0, optype [ai.onnx::{opset}::Conv]]" in result.stdout


@pytest.mark.parametrize("release", RELEASES)
def test_precision_mode_v2_is_newer(run: Run, tmp_path: Path, release: str) -> None:
    result = atc(run, tmp_path, release, "--precision_mode_v2=origin")
    if release in ("7.0", "8.0"):
        assert result.code == 0
    else:
        assert (result.code, result.stderr) == (255, "ERROR: unknown command line flag 'precision_mode_v2'\n")


@pytest.mark.parametrize("release", RELEASES)
def test_form_of_an_error(run: Run, tmp_path: Path, release: str) -> None:
    line = atc(run, tmp_path, release, "--input_format=NHWC").stdout.splitlines()[2]
    origin = r"\[PID: \d+\] \d{4}-\d\d-\d\d-\d\d:\d\d:\d\d\.\d{3}\.\d{3} " if release == "8.0" else ""
    assert re.match(rf"E10001: {origin}Value \[NHWC\] for parameter", line)


def test_unknown_release(run: Run, tmp_path: Path) -> None:
    result = atc(run, tmp_path, "9.1")
    text = "ERROR: EMULATED_CANN=9.1 is none of the releases that the emulated atc plays: 5.1, 6.0, 7.0, 8.0\n"
    assert (result.code, result.stdout, result.stderr) == (255, "", text)
    assert START not in result.stdout
