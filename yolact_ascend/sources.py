"""Which sources and libraries a piece of work depends on: the base of freshness by content."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from yolact_ascend.files import PACKAGE, digest_files

# Libraries whose version can change a stage's output, and their modules.
LIBRARIES = {
    "torch": "torch",
    "onnx": "onnx",
    "onnxsim": "onnxsim",  # may be missing, see OPTIONAL
    "onnxruntime": "onnxruntime",
    "numpy": "numpy",
    "opencv-python-headless": "cv2",
    "simplejpeg": "simplejpeg",
    "pycocotools": "pycocotools",
}

# Aarch64 has no wheel of onnxsim for Python 3.9: the export then leaves out its simplification.
OPTIONAL = frozenset({"onnxsim"})


def library_versions(names: Iterable[str] | None = None) -> dict[str, str | None]:
    """Return the version of each library (default: all); None for one that is missing."""
    versions: dict[str, str | None] = {}
    for name in LIBRARIES if names is None else names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def made_by(*modules: str) -> dict[str, Any]:
    """Return what work of these modules depends on beside its data: their sources and their libraries' versions.

    `modules` are names below the package, such as "host.preprocess". Libraries that they never import do not count, so
    work continues on a host without PyTorch.
    """
    files = sources_of(*modules)
    imported = {name.split(".")[0] for path in files if path.suffix == ".py" for name in _imports_of(path)}
    used = [name for name, module in LIBRARIES.items() if module in imported]
    return {"code": digest_files(files), "libraries": library_versions(used)}


@cache
def sources_of(*modules: str) -> tuple[Path, ...]:
    """Return the files of these modules and of all that they import within the package, recursively, in order.

    A C source of a module's name beside it belongs to it.
    """
    found: set[Path] = set()
    waiting = [_file_of(module) for module in modules]
    while waiting:
        path = waiting.pop()
        if path is None or path in found:
            continue
        found.add(path)
        found.update(source for source in [path.with_suffix(".c")] if source.is_file())
        prefix = f"{PACKAGE.name}."
        waiting += [_file_of(name.removeprefix(prefix)) for name in _imports_of(path) if name.startswith(prefix)]
    return tuple(sorted(found))


# What statements hold statements in. Expressions have no import, and most of a file's nodes are theirs.
_BLOCKS = ("body", "orelse", "handlers", "finalbody", "cases")


@cache
def _imports_of(path: Path) -> frozenset[str]:
    """Return the full names that a file imports, inside functions, too; not those that only type checkers see."""
    names: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if not (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            waiting += (inner for block in _BLOCKS for inner in getattr(node, block, ()))
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(names)


def _file_of(module: str) -> Path | None:
    """Return the file of a module or room; None for a name inside a module."""
    path = PACKAGE.joinpath(*module.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)
