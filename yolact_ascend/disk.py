"""Space on a disk: what is free, what lies there, and the sentence that offers choices where it is too small."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

GB = 10**9
SPARE_BYTES = GB  # detections, logs and temporary files are not counted


def free_bytes(folder: Path) -> int:
    """Return what a user may still write to a folder that need not exist yet."""
    return shutil.disk_usage(existing_folder(folder)).free


def existing_folder(path: Path) -> Path:
    """Return the path itself, or the nearest folder above it that exists."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())


def in_gb(size_bytes: int) -> str:
    """Return bytes as gigabytes, 10^9 bytes each, for a sentence."""
    return f"{size_bytes / GB:.2f}"


def plannable_bytes(free: int) -> int:
    """Return how much of what is free may be planned for: the rest is for what is not counted."""
    return max(free - SPARE_BYTES, free // 2)


def offer(*choices: str) -> str:
    """Join choices to the sentence that offers them."""
    *others, last = choices
    return f"Use {', '.join(others)}, or {last}." if others else f"Use {last}."


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of the files that lie in a folder; 0 when there is neither."""
    if path.is_dir():
        return sum(entry.stat().st_size for entry in os.scandir(path) if entry.is_file())
    return path.stat().st_size if path.is_file() else 0
