"""docs/troubleshooting.md: each text that it explains exists, each entry has a cause, a fix and a source."""

import ast
import importlib.util
import re

import pytest
from factories import CHECKOUT

from yolact_ascend.targets.ascend.explain import (
    explain_atc_failure,
    explain_device_failure,
    explain_import_failure,
)

DOCUMENT = (CHECKOUT / "docs" / "troubleshooting.md").read_text()
GENERATOR = CHECKOUT / "scripts" / "error_tables.py"
ANY = "\0"  # what differs each time


def entries():
    """The entries as (whose text, the text, the lines below it)."""
    written = DOCUMENT.split("## All error codes")[0]
    for part in re.split(r"^### ", written, flags=re.MULTILINE)[1:]:
        head, body = part.split("\n", 1)
        owner, text = re.fullmatch(r"([\w-]+): (?:`` (.+) ``|`(.+)`)", head).expand(r"\1\n\2\3").split("\n")
        yield owner, text, re.split(r"^## ", body, flags=re.MULTILINE)[0]


ENTRIES = list(entries())
ROWS = [row.strip("|").split(" | ") for row in re.findall(r"^\|.*\|$", DOCUMENT.split("## All error codes")[0], re.M)]
SYMPTOMS = [row for row in ROWS if len(row) == 4 and not row[0].startswith((" what you see", "--"))]


def strings(folder):
    """Return the texts in a folder's Python files, with ANY for what is put in."""
    for path in (CHECKOUT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                yield "".join(value.value if isinstance(value, ast.Constant) else ANY for value in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


@pytest.fixture(scope="module")
def ours():
    return "\n".join(strings("yolact_ascend"))


@pytest.fixture(scope="module")
def stand_ins():
    """The texts of the stand-ins, which are compared with the real tools (docs/ais_bench_behaviours.md)."""
    return "\n".join(strings("emulation")) + (CHECKOUT / "docs" / "ais_bench_behaviours.md").read_text()


def holds(texts, wanted):
    """Whether the parts of a text between its `…` stand in this order within one of the texts (a line of `texts`)."""
    parts = [re.escape(part.strip()) for part in wanted.split("…") if part.strip()]
    return re.search(r"[^\n]*?".join(parts), texts) is not None


def by(owner):
    chosen = [(text, body) for whose, text, body in ENTRIES if whose == owner]
    return pytest.mark.parametrize(("text", "body"), chosen, ids=[text[:50] for text, _ in chosen])


@by("ours")
def test_our_texts_are_in_the_source(ours, text, body):
    assert holds(ours, text)


@by("atc")
def test_a_run_explains_what_atc_says(stand_ins, text, body):
    code = re.search(r"Exit code (\d+)", body)
    assert explain_atc_failure(text, int(code[1]) if code else 255) or holds(stand_ins, text)


@by("runtime")
def test_a_run_explains_what_the_runtime_says(text, body):
    assert explain_device_failure(text, 1)


@by("aclruntime")
def test_a_run_explains_a_failed_import(text, body):
    assert explain_import_failure(f"ImportError: {text}")


@by("ais_bench")
def test_ais_bench_says_so(stand_ins, text, body):
    faq = "/ais_bench/FAQ.md"  # of texts that only an older release than those of the comparison has
    assert holds(stand_ins, text) or faq in body


@by("npu-smi")
def test_a_test_has_what_npu_smi_says(text, body):
    assert any(text.split("cannot")[0] in (CHECKOUT / path).read_text() for path in re.findall(r"`(tests/.+?)`", body))


@pytest.mark.parametrize(("owner", "text", "body"), ENTRIES, ids=[text[:50] for _, text, _ in ENTRIES])
def test_an_entry_has_a_cause_a_fix_and_a_source(owner, text, body):
    assert re.findall(r"^- \*\*(\w+):\*\* \S", body, re.MULTILINE) == ["Cause", "Fix", "Source"]
    assert owner in {"ours", "atc", "runtime", "aclruntime", "ais_bench", "npu-smi", "pip", "upstream"}
    assert has_source(body.split("**Source:**")[1])


@pytest.mark.parametrize("row", SYMPTOMS, ids=[row[0].strip()[:50] for row in SYMPTOMS])
def test_a_symptom_has_a_source(row):
    assert has_source(row[3])


def has_source(words):
    """Whether a public address, a page or a test is named; whether links lead somewhere is tested in test_docs.py."""
    tests = re.findall(r"`(tests/.+?)`", words)
    assert all((CHECKOUT / path).is_file() for path in tests), tests
    return bool(tests or re.search(r"\]\([^)]+\)", words))


def test_no_text_is_explained_twice():
    texts = [text for _, text, _ in ENTRIES]
    assert len(texts) == len(set(texts)) >= 60
    assert len(SYMPTOMS) >= 30


def test_the_tables_of_codes_are_those_of_the_source():
    """If this fails: .venv/bin/python scripts/error_tables.py"""
    spec = importlib.util.spec_from_file_location("error_tables", GENERATOR)
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    assert tables.page() == DOCUMENT
    assert "| E40001, E40002 |" in DOCUMENT and "507033" in DOCUMENT


def test_a_text_that_nobody_says_is_not_found(ours):
    assert holds(ours, "There is no weights file …") and not holds(ours, "There is no weights folder …")
