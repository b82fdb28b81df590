"""Writes the tables of docs/formats.md from the schemas of yolact_ascend/schemas, which a test holds it to.

.venv/bin/python scripts/format_tables.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
SCHEMAS = CHECKOUT / "yolact_ascend" / "schemas"
PAGE = CHECKOUT / "docs" / "formats.md"
BEGIN, END = "<!-- begin: scripts/format_tables.py -->", "<!-- end -->"
ORDER = ("report", "detections", "video", "live", "verify", "plan", "pack", "sidecar", "description", "int8")
VERSION_KEYS = ("schema_version", "schema")
SINCE = "x-since"  # the version of the format that first had a key; 1 where nothing else is stated


def render(schema: dict[str, Any], file: str) -> str:
    """Return the section of one format: what it is, and a row for each key."""
    version = next(schema["properties"][key]["const"] for key in VERSION_KEYS if key in schema["properties"])
    rows = [f"| `{key}` | {kind} | {text} | {since} |" for key, kind, text, since in _rows(schema, "", 1)]
    head = [f"## {schema['title']}", f"{schema['description']} Version {version}, `yolact_ascend/schemas/{file}`."]
    return "\n".join([head[0], "", head[1], "", "| key | type | meaning | since |", "|---|---|---|---|", *rows])


def _rows(schema: dict[str, Any], prefix: str, since: int) -> Iterator[tuple[str, str, str, int]]:
    for key, value in schema.get("properties", {}).items():
        name, own = prefix + key, value.get(SINCE, since)
        optional = "" if key in schema["required"] else " (may be missing)"
        yield name, _type_of(value), value["description"] + optional, own
        items = value.get("items", {})
        inner, sign = (items, "[].") if "properties" in items else (value, ".")
        yield from _rows(inner, name + sign, own)


def _type_of(value: dict[str, Any]) -> str:
    if "$ref" in value:
        return "object"
    types = value["type"] if isinstance(value["type"], list) else [value["type"]]
    return " or ".join(types)


def rendered() -> str:
    """Return all sections, in the order of the page."""
    files = {name: f"{name}.schema.json" for name in ORDER}
    return "\n\n".join(render(json.loads((SCHEMAS / file).read_text()), file) for file in files.values())


def page() -> str:
    """Return the page with its tables renewed."""
    text = PAGE.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    return f"{before}{BEGIN}\n\n{rendered()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page())
