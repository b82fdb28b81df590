"""Ascend's own ais_bench and the stand-in, on the same aclruntime: same files, messages and exit codes.

AIS_BENCH_DIR names the folders (one, or several with ":" between) that contain a real `ais_bench` package:
- 2023: Ascend/tools @9d6da90, ais-bench_workload/tool/ais_bench
- 2024: Ascend/msit @6394cfe1d^, ait/components/benchmark
- 2025: Ascend's tools repository of December 2025, ais-bench_workload/tool/ais_bench, which ours is the stand-in of
- 2026: Yanguan619/aclruntime @df1f9a44, ais_bench/src; it needs typer

Each runs on the aclruntime of its year. What the others do otherwise by design stands in LINES and DIFFERENCES.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from _pytest.mark import ParameterSet

from .cases import (
    CASES,
    DIFFERENCES,
    RUN,
    SIZED,
    Case,
    RealTool,
    difference_of,
    first_difference,
    last_line,
    normalised,
    real_tool_in,
    run_case,
    sized_images,
    uneven_pairs,
    year_of,
)
from .cases_2026 import spelled
from .conftest import Run


def real_packages() -> list[ParameterSet]:
    """The folders of AIS_BENCH_DIR as parameters of tests; one that skips where there is none."""
    folders = [Path(name) for name in os.environ.get("AIS_BENCH_DIR", "").split(os.pathsep) if name]
    reason = "AIS_BENCH_DIR names no folder with the real ais_bench package"
    found = []
    for folder in folders:
        year = year_of(folder)
        marks = [] if year else [pytest.mark.skip(reason=f"{reason}: {folder}")]
        found.append(pytest.param((folder, year), id=year or "none", marks=marks))
    return found or [pytest.param(None, id="none", marks=[pytest.mark.skip(reason=reason)])]


@pytest.fixture(scope="session", params=real_packages())
def real_tool(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RealTool:
    return real_tool_in(request.param[0], tmp_path_factory.mktemp("shim"))


def test_tables_name_cases_that_exist() -> None:
    assert {name for table in DIFFERENCES.values() for name in table} <= set(CASES)


@pytest.mark.ais_bench
@pytest.mark.parametrize("name", CASES)
def test_same_files_messages_and_codes(
    name: str, run: Run, real_tool: RealTool, compiled: Path, tmp_path: Path
) -> None:
    case, year = CASES[name], real_tool.year
    real = run_case(run, case, compiled, tmp_path / "real", real_tool.env)
    ours = run_case(run, case, compiled, tmp_path / "ours", {})
    assert ours.result.code == case.code, ours.result.stdout + ours.result.stderr
    found, expected = first_difference(year, case, ours, real), difference_of(year, name)
    if expected is None:
        assert found is None, found
        return
    assert found is not None, "DIFFERENCES lists what is no difference"
    assert real.result.code == expected.code, real.result.stdout + real.result.stderr
    assert expected.says in normalised(real.result.stdout + real.result.stderr, real.folder)
    if expected.modes_only:
        assert first_difference(year, case, ours, real, with_modes=False) is None


@pytest.mark.ais_bench
@pytest.mark.parametrize(
    "case",
    [Case(f"--model sum_bs2.om --input left,right {RUN}", uneven_pairs), Case(SIZED, sized_images(3, 1))],
    ids=["pairs", "sized"],
)
def test_uneven_inputs_end_both_tools(
    case: Case, run: Run, real_tool: RealTool, compiled: Path, tmp_path: Path
) -> None:
    """The real tool ends with a bare IndexError; ours says which counts."""
    real = run_case(run, case, compiled, tmp_path / "real", real_tool.env).result
    ours = run_case(run, case, compiled, tmp_path / "ours", {}).result
    assert (real.code, ours.code) == (1, 1)
    assert "IndexError" in last_line(real.stderr)
    assert last_line(ours.stderr) == "IndexError: the inputs have different numbers of files: 3, 1"


@pytest.mark.ais_bench
def test_packages_of_different_years_do_not_fit(run: Run, real_tool: RealTool, compiled: Path, tmp_path: Path) -> None:
    """Both call themselves 0.0.2, so pip is content.

    A later ais_bench ends on the aclruntime of 2023. That of 2023 takes the pairs of a later one for twice as many
    times, without a word: its mean and its throughput have nothing to do with the executions.
    """
    words = f"-m ais_bench --model {compiled / 'small_bs4.om'} --output run --output_dirname output --loop 3"
    words = spelled(real_tool.year, words).split()
    if real_tool.year == "2023":
        result = run("python3", *words, env={**real_tool.env, "EMULATED_ACLRUNTIME": "2024"})
        assert result.code == 0, result.stdout + result.stderr
        summary = json.loads((tmp_path / "run" / "output_summary.json").read_text())
        assert [len(times) for times in summary["npu_compute_time_list"]] == [2, 2, 2]
        assert summary["NPU_compute_time"]["mean"] == np.mean(summary["npu_compute_time_list"])
    else:
        result = run("python3", *words, env={**real_tool.env, "EMULATED_ACLRUNTIME": "2023"})
        assert result.code == 1, result.stdout
        lacking = "module 'aclruntime'" if real_tool.year == "2026" else "'aclruntime.InferenceSession' object"
        assert last_line(result.stderr).startswith(f"AttributeError: {lacking} has no")
