"""What a killed and resumed command left, against an undisturbed one: byte for byte, but for one list."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# What may differ between two runs of the same command: nothing but times, and what is made of times.
# Patterns of paths -> the JSON keys that are left out, wherever they stand; None: the whole file.
TIMES: dict[str, tuple[str, ...] | None] = {
    "*.log": None,  # the tools' output, with times and process ids
    ".stages/files.json": (),
    ".stages/*.json": None,  # seconds, and the modification times of what a stage wrote
    "report.md": None,  # made from report.json
    "report.html": None,
    "report.json": (
        *("created", "seconds", "images_per_s", "throughput_images_per_s", "latency_ms", "h2d_ms", "d2h_ms"),
        *("drift_percent", "way", "status", "latency_over_run", "finished"),
    ),
    "timings.json": ("core_ms_per_image", "images"),  # of the inputs that the last process made
    "scores.json": ("core_ms_per_image", "stream_seconds"),
    "s.json": ("core_ms_per_image", "stream_seconds"),
    "*summary.json": None,  # the device's times
    "recipe.json": (),
    "log.jsonl": ("unix_time_s",),
    "checkpoint.pth": None,  # holds the log; weights.pth is compared
}


def differences(expected: Path, found: Path) -> list[str]:
    """Return a line for each file that is missing, too many, or other than in the undisturbed folder."""
    paths, others = _files(expected), _files(found)
    lines = [f"missing: {name}" for name in sorted(paths.keys() - others.keys())]
    lines += [f"too many: {name}" for name in sorted(others.keys() - paths.keys())]
    for name in sorted(paths.keys() & others.keys()):
        if not is_same(name, paths[name].read_bytes(), others[name].read_bytes()):
            lines.append(f"other bytes: {name}")
    return lines


def is_same(name: str, one: bytes, two: bytes) -> bool:
    """Whether two contents of a file are the same but for `TIMES`."""
    if one == two:
        return True
    for pattern, keys in TIMES.items():
        if Path(name).match(pattern):
            return keys is None or _without(keys, one) == _without(keys, two)
    return False


def _files(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def _without(keys: tuple[str, ...], content: bytes) -> Any:
    """Return JSON, or JSON lines, without these keys."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            # How many inputs the stage made: fewer where the killed run had made some.
            left_out = (*keys, "images") if value.get("name") == "preprocess" else keys
            return {key: clean(inner) for key, inner in value.items() if key not in left_out}
        return [clean(inner) for inner in value] if isinstance(value, list) else value

    try:
        return clean(json.loads(content))
    except ValueError:
        return [clean(json.loads(line)) for line in content.splitlines()]
