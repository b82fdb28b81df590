"""Writes docs/ais_bench_behaviours.md: every compared behaviour of ais_bench, ours and the real releases'.

The files that ours writes go to tests/emulation/behaviours.json, for the tests.

Needs the real packages, all four in AIS_BENCH_DIR (see CONTRIBUTING.md); `make behaviours` runs it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT / "tests"))

from emulation.conftest import compile_models, emulated_environment, run_in  # noqa: E402

from emulation import cases  # noqa: E402  (tests/emulation: the tests compare by the same tables)
from yolact_ascend.cores import count_cores  # noqa: E402

DOCUMENT = CHECKOUT / "docs" / "ais_bench_behaviours.md"
COMMITS = {
    "2026": "Yanguan619/aclruntime @df1f9a44, August 2026 (ais_bench 0.1.0, with typer)",
    "2025": "Yanguan619/aclruntime @8da7f645, a copy of Ascend's tools repository, December 2025",
    "2024": "Ascend/msit @6394cfe1d^, June 2024",
    "2023": "Ascend/tools @9d6da90, June 2023",
}
COLUMNS = ("ours", *COMMITS)
SAME = "same"
COMMAND_LENGTH_MAX = 150


class UnexplainedError(Exception):
    """A real release does something else than ours, and DIFFERENCES gives no reason."""


def cell_of(name: str, year: str, ours: cases.Outcome, real: cases.Outcome) -> str:
    """What the document says of a real release: the same, or its outcome and why it differs."""
    found = cases.first_difference(year, cases.CASES[name], ours, real)
    expected = cases.difference_of(year, name)
    if found is None:
        return SAME
    if expected is None:
        raise UnexplainedError(f"{name} in {year}: {found}")
    if expected.modes_only:
        return f"same but for permissions ({expected.reason})"
    return f"{cases.outcome_in_words(real)} ({expected.reason})"


def run_all(tools: list[cases.RealTool]) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, str]]]:
    """Run every case: the cells of its row by column, and the files that ours wrote."""
    files: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as work:
        environment = emulated_environment()
        compiled = Path(work, "compiled")
        compiled.mkdir()
        compile_models(compiled, environment)
        run = run_in(environment, Path(work))

        def outcomes(name: str) -> dict[str, str]:
            case = cases.CASES[name]
            folder = Path(work, name)
            folder.mkdir()
            ours = cases.run_case(run, case, compiled, folder / "ours", {})
            if ours.result.code != case.code:
                raise UnexplainedError(f"{name}: ours ends with {ours.result.code}, expected {case.code}")
            cells = {"ours": cases.outcome_in_words(ours)}
            files[name] = cases.files_in_words(case, ours)
            for tool in tools:
                real = cases.run_case(run, case, compiled, folder / tool.year, tool.env)
                cells[tool.year] = cell_of(name, tool.year, ours, real)
            shutil.rmtree(folder)
            print(f"{name}: {cells}", file=sys.stderr)
            return cells

        with ThreadPoolExecutor(count_cores()) as pool:
            return dict(zip(cases.CASES, pool.map(outcomes, cases.CASES))), files


def _in_cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def command_of(case: cases.Case) -> str:
    """The command line, shortened where it is long."""
    words = case.arguments
    if len(words) > COMMAND_LENGTH_MAX:
        words = f"{words[: COMMAND_LENGTH_MAX // 2]} … ({len(words)} characters)"
    return f"`{words}`" + (f", {case.npus} NPUs" if case.npus > 1 else "")


def document(rows: dict[str, dict[str, str]]) -> Iterator[str]:
    """The lines of the document."""
    yield "# Behaviours of ais_bench, and what our stand-in makes of them"
    yield ""
    yield "Written by `make behaviours`; not to be edited. Every behaviour was run with our stand-in of ais_bench and"
    yield "with the real one, unchanged, in four releases, all on the emulated aclruntime of the release's year:"
    yield ""
    yield from (f"- {year}: {commit}" for year, commit in COMMITS.items())
    yield ""
    python = ".".join(map(str, sys.version_info[:3]))
    libraries = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "onnxruntime", "tqdm"))
    yield f"With Python {python}, {libraries}. No NPU was involved."
    yield ""
    counts = {year: sum(cells[year] == SAME for cells in rows.values()) for year in COMMITS}
    yield f"{SAME}: the same files byte for byte (random data: the same sizes), the same permissions of files, the same"
    yield "keys and contents of the summary but for times, the same messages but for times, progress and the order of"
    yield "processes, and the same exit code. That of 2026 gets its own spellings (`--output-dirname`), and its console"
    yield "is not compared: it is new throughout. A sentence in brackets says why a release differs. Of"
    yield f"{len(rows)} behaviours the same: " + ", ".join(f"{count} in {year}" for year, count in counts.items()) + "."
    yield ""
    yield "## Lines that a release prints differently in every run"
    yield ""
    yield "They do not count as differences below. Patterns are regular expressions of Python."
    yield ""
    yield "| release | ours | theirs | why |"
    yield "|---|---|---|---|"
    for year in COMMITS:
        for line in cases.LINES[year]:
            theirs = f"`{_in_cell(line.theirs)}`" if line.theirs else "nothing"
            yield f"| {year} | `{_in_cell(line.ours)}` | {theirs} | {line.reason} |"
    yield "| 2023 | permissions | the umask's | files and folders get no mode of their own |"
    for title, of_scripts in (("`python3 -m ais_bench`", False), ("`InferSession`", True)):
        yield ""
        yield f"## {title}"
        yield ""
        if of_scripts:
            yield "The lines of Python stand in `API` in `tests/emulation/cases.py`."
        else:
            yield "What lies in the folder before each run stands in `CASES` in `tests/emulation/cases.py`."
        yield ""
        yield "| " + " | ".join(["behaviour", *([] if of_scripts else ["command line"]), *COLUMNS]) + " |"
        yield "|---" * (len(COLUMNS) + 2 - of_scripts) + "|"
        for name, cells in rows.items():
            case = cases.CASES[name]
            if bool(case.script) == of_scripts:
                commands = [] if of_scripts else [command_of(case)]
                yield (
                    "| "
                    + " | ".join(map(_in_cell, [name.replace("_", " "), *commands, *(cells[key] for key in COLUMNS)]))
                    + " |"
                )


def main() -> int:
    """Run everything and write the document; 1 where a release is missing or differs without a reason."""
    names = filter(None, os.environ.get("AIS_BENCH_DIR", "").split(os.pathsep))
    with tempfile.TemporaryDirectory() as shims:
        years = {cases.year_of(Path(name)): Path(name) for name in names}
        if set(COMMITS) - set(years):
            print(f"AIS_BENCH_DIR must name the real packages of {', '.join(COMMITS)}, by ':'.", file=sys.stderr)
            return 1
        tools = [cases.real_tool_in(years[year], Path(shims, year)) for year in COMMITS]
        try:
            rows, files = run_all(tools)
        except (UnexplainedError, subprocess.CalledProcessError) as error:
            print(error, file=sys.stderr)
            return 1
    DOCUMENT.write_text("\n".join(document(rows)) + "\n")
    written = {name: files[name] for name in cases.CASES if files[name]}
    cases.FILES.write_text(json.dumps(written, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
