"""Which test files concern which source file; used by mutants.py."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from pathlib import Path

PROGRAMS = {"ascend_emulation": "atc"}  # folders of the emulation whose tests have the program's name


def source_files(checkout: Path, folders: Iterable[str]) -> list[Path]:
    """Return the Python files of the folders, sorted."""
    return sorted(path for folder in folders for path in (checkout / folder).rglob("*.py"))


class Suite:
    """Which test files concern which source file."""

    def __init__(self, checkout: Path, folders: Sequence[str]) -> None:
        paths = source_files(checkout, folders)
        self._sources = {module_name(path.relative_to(checkout)): path.relative_to(checkout) for path in paths}
        self._files = sorted(path.relative_to(checkout) for path in (checkout / "tests").rglob("test_*.py"))
        self._imports = {file: self._imports_of_test(checkout / file) for file in self._files}
        self._importers: dict[str, set[str]] = {}
        for name, path in self._sources.items():
            for imported in self._modules(checkout / path):
                self._importers.setdefault(imported, set()).add(name)

    def of(self, file: str) -> list[list[str]]:
        """Return the test files that mirror a source file, and all others that concern it."""
        path = Path(file)
        mirrors = [test for test in self._files if is_mirror(test, path)]
        own_folder = [test for test in self._files if test.parts[1] == path.parts[0]]
        concerned = own_folder or self._importing({module_name(path)}, go_on=not mirrors)
        if not mirrors and not concerned:
            concerned = [test for test in self._files if set(test.parts[1:-1]) & set(path.parts[:-1])] or self._files
        return [
            [test.as_posix() for test in mirrors],
            [test.as_posix() for test in concerned if test not in mirrors],
        ]

    def _importing(self, modules: set[str], go_on: bool) -> list[Path]:
        """Return the tests that import one of the modules, or else, to `go_on`, those of what imports it, and so on."""
        seen = set(modules)
        while modules:
            found = [test for test in self._files if self._imports[test] & modules]
            if found or not go_on:
                return found
            modules = set().union(*(self._importers.get(one, set()) for one in modules)) - seen
            seen |= modules
        return []

    def _imports_of_test(self, path: Path) -> set[str]:
        """Return the modules that a test file imports, also by a helper beside it in a folder of tests."""
        found = self._modules(path)
        if path.parent.name != "tests":
            for name in imported_names(path):
                helper = path.with_name(f"{name}.py")
                if helper.exists() and not name.startswith("test_"):
                    found |= self._modules(helper)
        return found

    def _modules(self, path: Path) -> set[str]:
        """Return the modules among the sources that a file imports, anywhere in it."""
        names = imported_names(path)
        inner = {name.rpartition(".")[0] for name in names & self._sources.keys()}  # `from package import module`
        return (names - inner) & self._sources.keys()


def imported_names(path: Path) -> set[str]:
    """Return what a Python file imports: `a.b` and `a.b.c` for `from a.b import c`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def module_name(path: Path) -> str:
    """Return the name by which a source is imported; the emulation's folders are on the path themselves."""
    parts = path.with_suffix("").parts
    if parts[0] == "emulation":
        parts = parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_mirror(test: Path, source: Path) -> bool:
    """Return whether a test file is named after a source file, and not in another's folder."""
    words = f"{test.stem}_"
    if source.parts[0] == "emulation":
        names = {source.stem, *(PROGRAMS.get(folder, folder) for folder in source.parts[1:2])}
        return words.startswith("test_emulated_") and any(f"_{name}_" in words for name in names)
    folders = set(test.parts[1:-1])  # files beside all rooms are tested in tests/floor
    return words.startswith(f"test_{source.stem}_") and folders <= {*source.parts[1:-1], "floor"}
