"""Who imports whom, who knows torch, who reads the environment: CONTRIBUTING.md's rules."""

import ast
import sys
from pathlib import Path

import pytest
from factories import CHECKOUT

PACKAGE = CHECKOUT / "yolact_ascend"
MODULES = {path.stem: path for path in PACKAGE.glob("*.py")}
# Each module may import those of the lines before its own.
LAYERS = (
    {"__init__", "errors"},
    {"config", "timings"},
    {"artifacts", "classes", "heads"},
    {"aipp", "atc_errors", "backbones", "boxes", "coco", "compiled", "manifest", "masks", "process", "settings"},
    {"disk", "segmentation", "slots", "steps", "transforms", "workers"},
    {"augment", "cards", "curve", "demo", "device_worker", "devices", "matching", "shapes", "waterfall"},
    {"ascend", "batch_file", "compare", "detections", "evaluate", "network", "preprocess", "rehearse", "samples"},
    {"losses", "results", "visualize", "weights"},
    {"engines", "overlays", "postprocess", "scenes", "stages", "upstream"},
    {"doctor", "export", "predict", "report", "stream", "train"},
    {"cuts", "pipeline"},
    {"cli"},
    {"__main__"},
)
TORCH = {"backbones", "network", "weights", "upstream", "export", "losses", "train", "cuts"}
ENVIRONMENT = {"ascend"}


def imported(path: Path) -> set[str]:
    """Return the full names of all modules that a file imports, inside functions, too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has a relative import"
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def test_every_module_has_its_layer():
    placed = [name for layer in LAYERS for name in layer]
    assert sorted(placed) == sorted(MODULES)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_flow_one_way(name):
    level = next(level for level, layer in enumerate(LAYERS) if name in layer)
    allowed = set().union(*LAYERS[:level])
    siblings = {full.split(".")[1] for full in imported(MODULES[name]) if full.startswith("yolact_ascend.")}
    assert siblings & set(MODULES) <= allowed


@pytest.mark.parametrize("name", sorted(MODULES))
def test_torch_stays_where_networks_are(name):
    uses_torch = any(full.split(".")[0] == "torch" for full in imported(MODULES[name]))
    assert uses_torch == (name in TORCH)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_one_module_reads_the_environment(name):
    source = MODULES[name].read_text()
    assert ("os.environ" in source or "getenv" in source) == (name in ENVIRONMENT)


def test_package_and_emulation_do_not_know_each_other():
    inside = {path.name.removesuffix(".py") for path in (CHECKOUT / "emulation").iterdir()} - {"bin"}
    for name, path in MODULES.items():
        # The worker runs in the tools' Python, and takes the ais_bench of whichever world that is.
        known = {"ais_bench"} if name == "device_worker" else set()
        assert {full.split(".")[0] for full in imported(path)} & inside == known, name
    for path in (CHECKOUT / "emulation").rglob("*.py"):
        assert "yolact_ascend" not in {full.split(".")[0] for full in imported(path)}, path


def test_help_needs_no_heavy_import():
    """`--help` is instant: the heavy libraries are imported by the verb that needs them."""
    import subprocess

    code = (
        "import sys; from yolact_ascend import cli\n"
        "try: cli.main(['run', '--help'])\n"
        "except SystemExit: pass\n"
        "print({'torch', 'onnx', 'onnxruntime', 'cv2', 'pycocotools'} & set(sys.modules), file=sys.stderr)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stderr.strip() == "set()"
