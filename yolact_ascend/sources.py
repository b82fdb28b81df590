"""Which sources of this package a piece of work depends on: the base of freshness by content."""

from __future__ import annotations

import ast
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from yolact_ascend.files import PACKAGE, digest_files

# Libraries whose version can change a stage's output: of the export alone, and of all stages.
EXPORT = "models.export"
EXPORT_LIBRARIES = (
    "torch",
    "onnx",
    "onnxsim",  # may be missing, see OPTIONAL
)
LIBRARIES = (
    *EXPORT_LIBRARIES,
    "onnxruntime",
    "numpy",
    "opencv-python-headless",
    "pycocotools",
    "faster-coco-eval",
)

# Aarch64 has no wheel of onnxsim for Python 3.9: the export then leaves out its simplification.
OPTIONAL = frozenset({"onnxsim"})


def library_versions() -> dict[str, str | None]:
    """Return the version of each library; None for one that is missing."""
    versions: dict[str, str | None] = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def made_by(*modules: str) -> dict[str, Any]:
    """Return what work of these modules depends on beside its data: their sources and the libraries' versions.

    `modules` are names below the package, such as "host.preprocess". The export's libraries count for the export alone:
    what other stages make on a host without PyTorch is the same.
    """
    versions = library_versions()
    if EXPORT not in modules:
        versions = {name: version for name, version in versions.items() if name not in EXPORT_LIBRARIES}
    return {"code": digest_files(sources_of(*modules)), "libraries": versions}


@cache
def sources_of(*modules: str) -> tuple[Path, ...]:
    """Return the files of these modules and of all that they import within the package, recursively, in order."""
    found: set[Path] = set()
    waiting = [_file_of(module) for module in modules]
    while waiting:
        path = waiting.pop()
        if path is None or path in found:
            continue
        found.add(path)
        waiting += [_file_of(module) for module in _imports_of(path)]
    return tuple(sorted(found))


@cache
def _imports_of(path: Path) -> frozenset[str]:
    """Return the names below the package that a file imports, inside functions, too."""
    prefix = f"{PACKAGE.name}."
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(name.removeprefix(prefix) for name in names if name.startswith(prefix))


def _file_of(module: str) -> Path | None:
    """Return the file of a module or room; None for a name inside a module."""
    path = PACKAGE.joinpath(*module.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)
