"""The network of a patched upstream checkout in the place of ours: pretended checkouts, and real ones."""

import dataclasses
import importlib
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from factories import CHECKOUT, TINY_CONFIG, configs_of_upstreams, random_state_dict

from yolact_ascend.errors import ToolError, UsageError
from yolact_ascend.models.config import CONFIGS
from yolact_ascend.models.inputs import input_tensor
from yolact_ascend.models.upstreams import UPSTREAMS, find_upstream, upstream_with
from yolact_ascend.models.yolact.family import KEYS
from yolact_ascend.models.yolact.upstream import describe_upstream, load_upstream_network

YOLACT_EDGE, YOLACT = UPSTREAMS
CONFIG = dataclasses.replace(TINY_CONFIG, name="a_config", upstream_url=YOLACT.url)
NETWORK = """
from torch import nn
from backbone import WHERE as backbone
from data import cfg
from layers import WHERE as layers
from utils.timer import WHERE as utils

class Yolact(nn.Module):
    where = (backbone, cfg.where, layers, utils)

    def __init__(self):
        super().__init__()
        self.fpn = nn.Module()
        self.fpn.lat_layers = nn.ModuleList([nn.Conv2d(1, cfg.num_classes, 1)])
        self.semantic_seg_conv = nn.Conv2d(1, 1, 1)

    def levels(self, images):
        return [images, images + 1], images + 2

    def predict(self, outs, proto_out):
        return outs
"""
DATA = """
class cfg:
    where = __file__

def set_cfg(name):
    cfg.name = name
"""
STATE = {
    "fpn_phase_1.lat_layers.0.weight": torch.ones(CONFIG.num_classes + 1, 1, 1, 1),
    "fpn_phase_1.lat_layers.0.bias": torch.zeros(CONFIG.num_classes + 1),
}


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A pretended checkout of patched YOLACT."""
    return write_checkout(tmp_path / "upstream")


def write_checkout(folder: Path, network: str = NETWORK) -> Path:
    where = "WHERE = __file__\n"
    files = {"yolact.py": network, "data/__init__.py": DATA, "utils/__init__.py": "", "utils/timer.py": where}
    for name, text in {**files, "backbone.py": where, "layers/__init__.py": where}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def load(folder: Path, state=STATE):
    return load_upstream_network(folder, state, CONFIG, KEYS)


def test_the_network_is_cut_and_takes_our_names(checkout):
    network = load(checkout)
    *levels, protos = network(torch.zeros(1))
    assert [level.item() for level in levels] == [0, 1] and protos.item() == 2
    assert torch.equal(network.network.fpn.lat_layers[0].weight, STATE["fpn_phase_1.lat_layers.0.weight"])
    assert not network.training


def test_modules_of_the_same_names_elsewhere_neither_help_nor_suffer(checkout, tmp_path, monkeypatch):
    """A `utils` that this process has imported, and folders `data` and `layers` where it started."""
    for name in ("data", "layers"):
        (tmp_path / "cwd" / name).mkdir(parents=True)
        (tmp_path / "cwd" / name / "__init__.py").write_text("WHERE = 'mine'\n")
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setattr(sys, "path", ["", str(tmp_path / "cwd"), *sys.path])
    mine = types.ModuleType("utils")
    monkeypatch.setitem(sys.modules, "utils", mine)
    before, path = set(sys.modules), list(sys.path)
    network = load(checkout).network
    assert all(str(checkout) in where for where in network.where), network.where
    assert sys.modules["utils"] is mine
    names = {"yolact", "backbone", "data", "layers", "utils"}
    assert not {name for name in set(sys.modules) - before if name.partition(".")[0] in names}
    assert sys.path == path
    try:
        assert importlib.import_module("layers").WHERE == "mine"
    finally:
        sys.modules.pop("layers", None)


def test_the_next_checkout_is_another(checkout, tmp_path):
    other = write_checkout(tmp_path / "other", NETWORK.replace("images + 2", "images + 3"))
    found = [load(folder)(torch.zeros(1))[-1].item() for folder in (checkout, other, checkout)]
    assert found == [2, 3, 2]


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (
            "import torchvision_of_another_year\n",
            r"upstream cannot be imported: ModuleNotFoundError: No module .*\. Was it patched "
            r"\(bash scripts/apply_patch\.sh --upstream=yolact .*upstream\), and does this Python have pycocotools\?$",
        ),
        (NETWORK.replace("predict", "pred"), r"upstream is not patched\. Patch it: bash scripts/.* --upstream=yolact "),
        (NETWORK.replace("lat_layers", "lateral"), r"its keys differ \(fpn\.lateral\.0\.weight, .*fork change"),
    ],
    ids=["an error", "unpatched", "another architecture"],
)
def test_a_checkout_that_does_not_do_is_refused(tmp_path, network, said):
    folder = write_checkout(tmp_path / "upstream", network)
    path = list(sys.path)
    with pytest.raises(ToolError, match=said):
        load(folder)
    assert sys.path == path and "yolact" not in sys.modules


@pytest.mark.parametrize("upstream", UPSTREAMS, ids=lambda upstream: upstream.name)
def test_a_folder_is_known_by_its_network(upstream, tmp_path):
    path = tmp_path / upstream.network_file
    assert find_upstream(tmp_path) is None
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    assert find_upstream(tmp_path) is upstream
    assert describe_upstream(tmp_path) == f"upstream {upstream.name} @ unknown commit, 0 files changed"


@pytest.mark.parametrize("upstream", UPSTREAMS, ids=lambda upstream: upstream.name)
def test_no_checkout_and_a_checkout_of_the_other_project_are_refused(upstream, tmp_path):
    config = dataclasses.replace(CONFIG, upstream_url=upstream.url)
    (other,) = set(UPSTREAMS) - {upstream}
    said = (
        rf"is not a checkout of {upstream.name}: it has no {upstream.network_file}\. Make one: bash .*={upstream.name} "
    )
    with pytest.raises(ToolError, match=said):
        load_upstream_network(tmp_path, STATE, config, KEYS)
    (tmp_path / other.network_file).parent.mkdir(exist_ok=True)
    (tmp_path / other.network_file).write_text("raise SystemExit('imported')\n")
    said = (
        rf"is a checkout of {other.name}, but a_config is a config of {upstream.name} \({upstream.url}\)\. Pass a "
        rf"checkout of {upstream.name}, or a config of {other.name}\.$"
    )
    with pytest.raises(ToolError, match=said):
        load_upstream_network(tmp_path, STATE, config, KEYS)


def test_a_config_of_other_code_has_no_upstream_to_take():
    for url in (None, "https://example.invalid/other"):
        with pytest.raises(UsageError, match=r"a_config is not a config of .*yolact_edge or .*dbolya/yolact, whose"):
            upstream_with(dataclasses.replace(CONFIG, upstream_url=url))


def test_sources_are_those_that_an_export_runs(checkout):
    (checkout / "scripts").mkdir()
    for name in ("eval.py", "scripts/plot.py", "data/grid.npy", "utils/cython_nms.pyx"):
        (checkout / name).write_text("")
    found = [path.relative_to(checkout).as_posix() for path in YOLACT.source_files(checkout)]
    packages = ["data/__init__.py", "layers/__init__.py", "utils/__init__.py", "utils/cython_nms.pyx", "utils/timer.py"]
    assert found == sorted(["backbone.py", *packages, "yolact.py"])


COMPARE = """
import sys, warnings; warnings.simplefilter('ignore')
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[4])
from factories import random_state_dict
from yolact_ascend.models.config import CONFIGS
from yolact_ascend.models.export import load_upstream
from yolact_ascend.models.inputs import input_tensor
from yolact_ascend.models.weights import load_network
from yolact_ascend.models.families import family_of
config = CONFIGS[sys.argv[1]]
weights = Path(sys.argv[3])
torch.save(random_state_dict(config), weights)
ours = load_network(weights, config)
theirs = load_upstream(Path(sys.argv[2]), weights, config)
images = torch.randn(2, *input_tensor(config).shape)
with torch.inference_mode():
    for cut in family_of(config).cuts:
        for a, b in zip(*(family_of(config).at_cut(network, config, cut)(images) for network in (ours, theirs))):
            print(a.shape == b.shape, (a - b).abs().max().item() / b.abs().max().item())
"""


@pytest.mark.parametrize("config", configs_of_upstreams())
def test_our_network_gives_what_patched_upstream_gives(checkout_with, tmp_path, config):
    """In a process of its own: upstream keeps its config in globals. The same operations give the same bits."""
    arguments = [config.name, str(checkout_with(config)), str(tmp_path / "a.pth"), str(CHECKOUT / "tests")]
    result = subprocess.run([sys.executable, "-c", COMPARE, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    relative = [float(value) for _, value in lines]
    print(f"parity: {config.name}: the network's outputs differ by {max(relative):.1e} of their largest value at most")
    assert [word for word, _ in lines] == ["True"] * (6 + 4 + 4 + 5 + 6)  # fpn, heads, boxes, candidates, detections
    assert max(relative) == 0


@pytest.mark.yolact
@pytest.mark.parametrize("cut", ["fpn", "heads"])
@pytest.mark.parametrize("name", ["yolact_resnet50_config", "yolact_darknet53_config"])
def test_the_export_from_yolact_equals_ours(yolact_dir, tmp_path, name, cut):
    """Integers are left out: they are sizes, and upstream reshapes in other steps."""
    config = CONFIGS[name]
    torch.save(random_state_dict(config), tmp_path / "a.pth")
    image = np.random.default_rng(0).standard_normal((1, *input_tensor(config).shape), dtype=np.float32)
    initialisers, outputs = [], []
    for file, words in (("ours.onnx", []), ("theirs.onnx", [f"--upstream={yolact_dir}"])):
        command = [sys.executable, "pth2onnx.py", f"--config={name}", f"--cut={cut}", f"--output={tmp_path / file}"]
        command += [f"--trained_model={tmp_path / 'a.pth'}", *words]
        done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        model = onnx.load(tmp_path / file)
        arrays = (onnx.numpy_helper.to_array(initialiser) for initialiser in model.graph.initializer)
        initialisers.append(sorted((a.shape, a.tobytes()) for a in arrays if a.dtype == np.float32))
        session = onnxruntime.InferenceSession(str(tmp_path / file), providers=["CPUExecutionProvider"])
        outputs.append(session.run(None, {"image": image}))
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["network"].startswith("upstream yolact @ 57b8f2d95e62e2e649b382f516ab41f949b57239, 6 files changed")
    assert initialisers[0] == initialisers[1] and len(initialisers[0]) > 50
    difference = max(float(np.abs(ours - theirs).max()) for ours, theirs in zip(*outputs))
    print(f"parity: {name} at cut {cut}: the exported files have equal weights; their outputs differ by {difference}")
    assert difference == 0
