"""docs/ais_bench_behaviours.md: it has the present cases, and says of our stand-in what it does now."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from yolact_ascend.cores import count_cores

from .cases import CASES, FILES, Outcome, files_in_words, outcome_in_words, run_case
from .conftest import EMULATION, run_in

DOCUMENT = EMULATION.parent / "docs" / "ais_bench_behaviours.md"
COLUMNS_AFTER_OURS = 4


def rows() -> dict[str, str]:
    """Name of each case in the document -> what it says of ours."""
    found = {}
    for line in DOCUMENT.read_text().splitlines():
        cells = [cell.replace("\\|", "|") for cell in re.split(r"(?<!\\) ?\| ?", line)[1:-1]]
        name = cells[0].replace(" ", "_") if cells else ""
        if len(cells) > COLUMNS_AFTER_OURS + 1 and re.fullmatch(r"\w+", name) and name != "behaviour":
            found[name] = cells[-1 - COLUMNS_AFTER_OURS]
    return found


def test_the_document_lists_exactly_the_present_cases() -> None:
    """Where this fails, run `make behaviours`."""
    assert list(rows()) == sorted(CASES, key=lambda name: bool(CASES[name].script))


WAITS = "devices_one_missing"  # ten seconds for a device that never comes: it begins first, beside the others


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest,
    emulated_env: dict[str, str],
    warm: Path,
    compiled: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, Future[Outcome]]]:
    """The chosen cases, run side by side: some wait for seconds as the real tool does."""
    folder = tmp_path_factory.mktemp("behaviours")
    run = run_in(emulated_env, folder, warm)
    of_cases = (test_the_document_says_what_ours_does, test_the_files_are_those_on_record)
    names = dict.fromkeys(
        item.callspec.params["name"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.function in of_cases
    )
    ordered = sorted(names, key=lambda name: name != WAITS)
    with ThreadPoolExecutor(count_cores() + 1) as pool:
        yield {name: pool.submit(run_case, run, CASES[name], compiled, folder / name, {}) for name in ordered}


@pytest.mark.parametrize("name", CASES)
def test_the_document_says_what_ours_does(name: str, outcomes: dict[str, Future[Outcome]]) -> None:
    """And no change of the stand-in goes unseen, though the real tool is at hand in few places."""
    outcome = outcomes[name].result()
    assert outcome.result.code == CASES[name].code, outcome.result.stdout + outcome.result.stderr
    assert outcome_in_words(outcome) == rows().get(name)


@pytest.mark.parametrize("name", CASES)
def test_the_files_are_those_on_record(name: str, outcomes: dict[str, Future[Outcome]]) -> None:
    """Names, permissions and contents; `make behaviours` writes the record."""
    assert files_in_words(CASES[name], outcomes[name].result()) == json.loads(FILES.read_text()).get(name, {})
