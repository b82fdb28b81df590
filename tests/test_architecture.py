"""The house: which room may import which, no circle, who knows torch, who reads the environment; CONTRIBUTING.md."""

import ast
from pathlib import Path

import pytest
from factories import CHECKOUT

PACKAGE = CHECKOUT / "yolact_ascend"
MODULES = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
# The rooms from the top floor down; "floor" are the files of the package itself, which every room may import. A room
# may import those that its row names, all below it.
ROOMS = {
    "cli": {
        "analysis",
        "report",
        "compression",
        "training",
        "scale",
        "host",
        "pipeline",
        "scenes",
        "targets",
        "images",
        "models",
        "detection",
    },
    "analysis": {"host", "pipeline", "scenes", "targets", "images", "models", "detection"},
    "report": {"pipeline", "targets", "images", "models", "detection"},
    "pipeline": {"compression", "targets", "images", "models", "detection"},
    "compression": {"host", "targets", "images", "models", "detection"},
    "training": {"host", "targets", "images", "models", "detection"},
    "scale": {"host", "targets", "images", "models", "detection"},
    "host": {"targets", "images", "models", "detection"},
    "scenes": {"images", "models", "detection"},
    "targets": {"models", "detection"},
    "images": {"models", "detection"},
    "models": {"detection"},
    "detection": set(),
    "floor": set(),
}
# Above all rooms stand `__main__` and the package's own `__init__`, which names what Python's callers use.
# What needs PyTorch when it is imported or called: export and training, and no stage after the export.
TORCH = {
    *("models.export", "models.exporter", "models.finite", "models.weights", "models.weights_values"),
    *("models.yolact.backbones", "models.yolact.network", "models.yolact.head_export", "models.yolact.upstream"),
    "models.yolact.select",
    *(
        f"models.rcnn.{name}"
        for name in ("ascend", "backbone", "boxes", "heads", "network", "nms", "other_weights", "roi_align", "select")
    ),
    *("training.method", "training.score", "training.train", "training.trainer", "training.yolact.losses"),
    *("training.yolact.method", "training.yolact.samples", "training.rcnn.losses", "training.rcnn.matching"),
    *("training.rcnn.method", "training.rcnn.samples"),
    *("models.network_layers", "models.widths", "analysis.cuts", "compression.prune", "targets.torch.engine"),
}
ENVIRONMENT = {"environment"}
MOST_LINES_OF_A_FILE, MOST_LINES_OF_A_FUNCTION = 350, 60


def room_of(name: str) -> str:
    """Return the room of a module or package below `yolact_ascend`."""
    first = name.split(".")[0]
    return first if (PACKAGE / first).is_dir() else "floor"


def imported(path: Path, with_types: bool = True) -> set[str]:
    """Return the full names of all modules that a file imports, inside functions, too.

    `with_types` False leaves out what only type checkers see.
    """
    names = set()
    tree = ast.parse(path.read_text())
    if not with_types:
        tree.body = [node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node))]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has a relative import"
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def own_imports(path: Path) -> set[str]:
    """Return the modules of the package that a file imports, by their names below `yolact_ascend`."""
    return {full.removeprefix("yolact_ascend.") for full in imported(path)} & set(MODULES)


def test_every_room_is_in_the_table():
    assert {room_of(name) for name in MODULES} == set(ROOMS)


def test_arrows_between_rooms_point_down():
    order = list(ROOMS)
    for room, below in ROOMS.items():
        assert all(order.index(room) < order.index(other) for other in below), room


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"__main__", "__init__"}))
def test_a_module_imports_only_what_its_room_may(name):
    room = room_of(name)
    found = {room_of(other) for other in own_imports(MODULES[name])}
    assert found - {room, "floor"} <= ROOMS[room]


def test_no_arrow_in_the_table_is_unused():
    used = {room: set() for room in ROOMS}
    for name, path in MODULES.items():
        used[room_of(name)] |= {room_of(other) for other in own_imports(path)}
    assert {room: used[room] - {room, "floor"} for room in ROOMS if room != "floor"} == {
        room: below for room, below in ROOMS.items() if room != "floor"
    }


def test_no_modules_import_each_other_in_a_circle():
    arrows = {name: own_imports(path) - {name} for name, path in MODULES.items()}
    while True:
        leaves = {name for name, targets in arrows.items() if not targets & set(arrows)}
        if not leaves:
            break
        arrows = {name: targets for name, targets in arrows.items() if name not in leaves}
    assert not arrows, f"a circle among {sorted(arrows)}"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_torch_stays_where_networks_are(name):
    uses_torch = any(full.split(".")[0] == "torch" for full in imported(MODULES[name], with_types=False))
    assert uses_torch == (name in TORCH)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_one_module_reads_the_environment(name):
    source = MODULES[name].read_text()
    assert ("os.environ" in source or "getenv" in source) == (name in ENVIRONMENT)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_files_and_functions_stay_short(name):
    source = MODULES[name].read_text()
    assert len(source.splitlines()) <= MOST_LINES_OF_A_FILE
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    lengths = {node.name: node.end_lineno - node.lineno + 1 for node in functions}
    assert max(lengths.values(), default=0) <= MOST_LINES_OF_A_FUNCTION, max(lengths, key=lengths.get)


def test_every_room_says_what_it_is_for():
    for room in set(ROOMS) - {"floor"}:
        docstring = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text()))
        assert docstring and len(docstring.splitlines()) <= 4, room


def test_package_and_emulation_do_not_know_each_other():
    inside = {path.name.removesuffix(".py") for path in (CHECKOUT / "emulation").iterdir()} - {"bin"}
    for name, path in MODULES.items():
        # The worker runs in the tools' Python, and takes the ais_bench of whichever world that is.
        known = {"ais_bench"} if name == "targets.ascend.worker" else set()
        assert {full.split(".")[0] for full in imported(path)} & inside == known, name
    for path in (CHECKOUT / "emulation").rglob("*.py"):
        assert "yolact_ascend" not in {full.split(".")[0] for full in imported(path)}, path
