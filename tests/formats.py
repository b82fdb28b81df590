"""The published formats (yolact_ascend/schemas), and what holds a file that was written to its schema."""

from __future__ import annotations

import json
from typing import Any

from factories import CHECKOUT
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

FOLDER = CHECKOUT / "yolact_ascend" / "schemas"
SCHEMAS = {path.name.partition(".")[0]: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.schema.json"))}


def closed(schema: Any) -> Any:
    """The schema without room for keys that it does not name: what we write ourselves is all in it."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(value) for key, value in schema.items()}
    if isinstance(found.get("properties"), dict) and "required" in found:
        found.setdefault("additionalProperties", False)
    return found


def validator(name: str, is_closed: bool = True) -> Draft202012Validator:
    known = {key: closed(schema) if is_closed else schema for key, schema in SCHEMAS.items()}
    registry = Registry().with_resources((each["$id"], Resource.from_contents(each)) for each in known.values())
    return Draft202012Validator(known[name], registry=registry)


def require_valid(value: Any, name: str) -> Any:
    """Return the value of a file that we wrote, or fail: it must have all keys of its schema, and no others."""
    faults = [f"{error.json_path}: {error.message[:200]}" for error in validator(name).iter_errors(value)]
    assert not faults, f"not a {name}: {faults}"
    return value
