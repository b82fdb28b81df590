"""Writes the tables of docs/troubleshooting.md from the tables of error codes, which a test holds it to.

.venv/bin/python scripts/error_tables.py
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from yolact_ascend.targets.ascend.errors import ACL_NUMBERS, ATC_ERRORS, RUNTIME_ERRORS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "troubleshooting.md"
BEGIN, END = "<!-- begin: scripts/error_tables.py -->", "<!-- end -->"
TABLES = {
    "Codes of atc": ATC_ERRORS,
    "Codes of the card's runtime (behind ais_bench)": RUNTIME_ERRORS,
    "Numbers of the card's runtime (`aclError`)": ACL_NUMBERS,
}


def render(title: str, errors: Mapping[str, str]) -> str:
    """Return one table: a row for each advice, with all codes that have it, in the order of the first ones."""
    codes: dict[str, list[str]] = {}
    for code, advice in sorted(errors.items()):
        codes.setdefault(advice, []).append(code)
    rows = [f"| {', '.join(those)} | {advice.replace('|', chr(92) + '|')} |" for advice, those in codes.items()]
    return "\n".join([f"### {title}", "", "| code | meaning, and what to do |", "|---|---|", *rows])


def page() -> str:
    """Return the page with its tables renewed."""
    text = PAGE.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    tables = "\n\n".join(render(title, errors) for title, errors in TABLES.items())
    return f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page())
