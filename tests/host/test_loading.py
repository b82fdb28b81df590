"""From a path to a model: what it states, what it is checked against, and models that are made from weights, once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from factories import CHECKOUT, TINY_CONFIG

import yolact_ascend
from yolact_ascend import extras
from yolact_ascend.cli.main import main
from yolact_ascend.environment import cache_folder
from yolact_ascend.errors import (
    ArtifactError,
    NotDescribedError,
    NotInstalledError,
    ToolError,
    UsageError,
    WeightsError,
)
from yolact_ascend.host import cache
from yolact_ascend.host.arguments import speaking_python
from yolact_ascend.host.loading import ModelRequest, choose_model, load
from yolact_ascend.models.config import CONFIGS
from yolact_ascend.models.host_part import heads_file
from yolact_ascend.models.inputs import input_tensor
from yolact_ascend.targets import registry
from yolact_ascend.targets.openvino.compile import compile_ir
from yolact_ascend.targets.registry import TARGETS

WEIGHTS = CHECKOUT / "weights" / "yolact_edge_demo.pth"
GREY = np.full((60, 80, 3), 90, np.uint8)


@pytest.fixture
def packed(tiny_onnx, tmp_path):
    """A folder with a model and its heads, as `pack` makes it."""
    folder = tmp_path / "packed"
    folder.mkdir()
    for file in (tiny_onnx, heads_file(tiny_onnx)):
        shutil.copy(file, folder)
    (folder / "labels.txt").write_text("not a model")
    return folder


def test_a_model_alone_states_all_that_is_needed(tiny_onnx):
    with load(tiny_onnx, score_threshold=0.0, max_detections=3) as model:
        assert model.config == TINY_CONFIG and model.class_names == TINY_CONFIG.class_names
        assert (model.path, model.device, model.batch_size) == (tiny_onnx, "ONNX Runtime on the CPU", 1)
        found = model(GREY)
        assert 0 < len(found) <= 3 and found.masks.shape == (len(found), 60, 80)
    assert load(str(tiny_onnx), batch_size=np.int64(4), threads=1, score_threshold=np.float32(0.5)).batch_size == 4


def test_a_folder_with_one_model_is_that_model(packed):
    with load(packed) as model:
        assert model.path == packed / "yolact_edge.onnx"
    shutil.copy(packed / "yolact_edge.onnx", packed / "b.onnx")
    with pytest.raises(ArtifactError, match=r"packed has 2 models \(b\.onnx, yolact_edge\.onnx\), expected one"):
        load(packed)
    for name in ("b.onnx", "yolact_edge.onnx"):
        (packed / name).unlink()
    with pytest.raises(ArtifactError, match=r"There is no model \(\.om, \.onnx, \.torch, \.xml\) in the folder"):
        load(packed)


def test_a_moved_model_is_the_same_and_without_its_heads_none(packed, tmp_path):
    """field_problems 21 (ultralytics#25897): a renamed segmentation export ran as a detector."""
    with load(packed) as model:
        expected = model(GREY).to_coco(1)
    moved = packed.rename(tmp_path / "elsewhere")
    (moved / "yolact_edge.onnx").rename(moved / "street.onnx")
    with load(moved) as model:
        assert model(GREY).to_coco(1) == expected
    heads_file(moved / "yolact_edge.onnx").unlink()
    with pytest.raises(ArtifactError, match=r"There is no .*yolact_edge_heads\.onnx, the heads of street\.onnx"):
        load(moved)


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (
            {"config": "yolact_edge_config"},
            ArtifactError,
            r"was exported for yolact_edge_demo_config, not for yolact_edge",
        ),
        ({"config": "none"}, UsageError, "Unknown config 'none'"),
        ({"weights": WEIGHTS}, ArtifactError, "was made from other weights than .*yolact_edge_demo.pth"),
        ({"classes": "a,b"}, UsageError, r"has 8 classes, but the list of names has 2"),
        ({"target": "openvino"}, UsageError, r"target='openvino': .* is a model for target=onnxruntime"),
        ({"device": "gpu"}, UsageError, '^device="gpu": expected one of auto, cpu'),
        ({"npus": (1,)}, UsageError, "npus=1: target=onnxruntime has one device"),
        ({"score_threshold": 1.5}, UsageError, r"score_threshold=1\.5: expected a number from 0 to 1"),
        ({"score_threshold": float("nan")}, UsageError, "score_threshold=nan: expected a number"),
        ({"score_threshold": "0.5"}, UsageError, "score_threshold='0.5': expected a number"),
        ({"max_detections": 0}, UsageError, "max_detections=0: expected a whole number from 1"),
        ({"max_detections": 1.5}, UsageError, r"max_detections=1\.5: expected a whole number"),
        ({"batch_size": 0}, UsageError, "batch_size=0: expected a whole number from 1 to 4096"),
        ({"batch_size": 2.5}, UsageError, r"batch_size=2\.5: expected a whole number"),
        ({"batch_size": True}, UsageError, "batch_size=True: expected a whole number"),
        ({"threads": 10**6}, UsageError, "threads=1000000: expected a whole number from 1 to 1024"),
        ({"npus": 0}, UsageError, r"npus=0: expected numbers of devices, such as npus=\(0,\)"),
        ({"npus": ()}, UsageError, r"npus=\(\): expected at least one"),
        ({"npus": (1.5,)}, UsageError, r"npus=1\.5: expected a whole number from 0 to 255"),
        ({"classes": ["a", "b"]}, UsageError, r"classes=\['a', 'b'\]: expected a text"),
        ({"weights": 5}, UsageError, "weights=5: expected a path"),
        ({"soc": "Ascend310P3"}, UsageError, "soc=Ascend310P3: target=onnxruntime compiles for no chip"),
        ({"npus": (-1,)}, UsageError, "npus=-1: expected a whole number from 0 to 255"),
        ({"weights": "none.pth"}, WeightsError, r"There is no weights file none\.pth\. Leave it out"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(tiny_onnx, arguments, error, said):
    with pytest.raises(error, match=said):
        load(tiny_onnx, **arguments)


@pytest.mark.needs("openvino")
def test_another_batch_size_than_the_compiled_one_is_refused(tiny_onnx, tmp_path):
    xml = tmp_path / "m.xml"
    compile_ir(tiny_onnx, xml, 2, "fp32", [input_tensor(TINY_CONFIG)], TINY_CONFIG.preprocessing)
    shutil.copy(heads_file(tiny_onnx), tmp_path)
    for asked in (None, 2):
        with load(xml, batch_size=asked) as model:
            assert model.batch_size == 2
    with pytest.raises(UsageError, match=r"batch_size=3: .*m\.xml was compiled for batches of 2\. Leave out"):
        load(xml, batch_size=3)


def test_names_of_classes_can_be_passed(tiny_onnx):
    names = [f"thing {number}" for number in range(8)]
    with load(tiny_onnx, classes=",".join(names), config=TINY_CONFIG.name) as model:
        assert model.class_names == tuple(names)


@pytest.mark.needs("torch")  # makes the heads
def test_a_model_that_states_nothing_needs_config_and_weights(tiny_onnx, tiny_weights, tmp_path):
    import onnx

    old = onnx.load(tiny_onnx)
    del old.metadata_props[:]
    onnx.save(old, tmp_path / "old.onnx")
    with pytest.raises(NotDescribedError, match='does not state its config.*config="NAME" weights="FILE"'):
        load(tmp_path / "old.onnx")
    with (
        load(tmp_path / "old.onnx", config=TINY_CONFIG.name, weights=tiny_weights) as model,
        load(tiny_onnx) as described,
    ):
        assert "(not checked against " in model.device
        assert model(GREY).to_coco(1) == described(GREY).to_coco(1)


@pytest.mark.parametrize(
    ("path", "error", "said"),
    [
        ("none.onnx", ArtifactError, r"There is no model none\.onnx"),
        ("none.pth", WeightsError, r"There is no weights file none\.pth"),
        ("m.pt", UsageError, "expected a file that ends in .om"),
        ("", UsageError, "path='': expected a path"),
        (None, UsageError, "path=None: expected a path"),
        (b"m.onnx", UsageError, r"path=b'm\.onnx': expected a path"),
        ("x" * 5000 + ".onnx", ArtifactError, r"There is no model x+\.\.\.x+\.onnx: File name too long"),
    ],
)
def test_a_path_that_leads_nowhere_is_one_sentence(path, error, said):
    with pytest.raises(error, match=said):
        load(path)


def test_heads_that_are_passed_as_the_model_are_named_so(tiny_onnx):
    with pytest.raises(ArtifactError, match=r"_heads\.onnx is the heads of a model.* Pass the model beside it"):
        load(heads_file(tiny_onnx), config=TINY_CONFIG.name)


@pytest.mark.parametrize("key", ["aspect_ratios", "class_names"])
def test_a_description_that_does_not_fit_the_heads_is_one_sentence(packed, key):
    import onnx

    model = onnx.load(packed / "yolact_edge.onnx")
    entry = next(entry for entry in model.metadata_props if entry.key == "yolact_ascend")
    value = json.loads(entry.value)
    if key == "aspect_ratios":
        value["config"]["anchors"][key] = [1, 2]
    else:
        value["config"][key].append("more")
        value["config"]["category_ids"].append(-5)
    entry.value = json.dumps(value)
    onnx.save(model, packed / "yolact_edge.onnx")
    with (
        load(packed, score_threshold=0) as loaded,
        pytest.raises(ArtifactError, match=r"The heads of the model give \[.*expected \[.*for the classes and anchors"),
    ):
        loaded(GREY)


@pytest.mark.needs("openvino")
def test_new_weights_of_an_ir_are_not_taken_for_the_old_ones(tiny_onnx, tmp_path):
    """field_problems 4 (darktable#21071): OpenVINO's own cache misses a new .bin. We have none."""
    import onnx

    xml = tmp_path / "m.xml"
    compile_ir(tiny_onnx, xml, 1, "fp32", [input_tensor(TINY_CONFIG)], TINY_CONFIG.preprocessing)
    shutil.copy(heads_file(tiny_onnx), tmp_path)
    with load(xml, score_threshold=0.0) as model:
        before = model(GREY).to_coco(1)
    other = onnx.load(tiny_onnx)
    for tensor in other.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.ndim == 4:  # of a convolution
            tensor.CopyFrom(onnx.numpy_helper.from_array(values * np.float32(1.01), tensor.name))
    onnx.save(other, tmp_path / "other.onnx")
    others = tmp_path / "other.xml"
    compile_ir(tmp_path / "other.onnx", others, 1, "fp32", [input_tensor(TINY_CONFIG)], TINY_CONFIG.preprocessing)
    assert others.with_suffix(".bin").stat().st_size == xml.with_suffix(".bin").stat().st_size
    others.with_suffix(".bin").replace(xml.with_suffix(".bin"))
    with load(xml, score_threshold=0.0) as model:
        assert model(GREY).to_coco(1) != before


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "yolact-ascend" / "models"


def test_the_cache_lies_where_the_specification_says(own_cache, monkeypatch, tmp_path):
    """XDG base directory specification 0.8: a relative path in the variable is to be ignored."""
    assert cache_folder() == own_cache.parent
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache_folder() == tmp_path / "home" / ".cache" / "yolact-ascend"


def test_weights_without_pytorch_leave_no_folder(own_cache, monkeypatch):
    monkeypatch.setattr(extras, "is_installed", lambda module: module != "torch")
    with pytest.raises(NotInstalledError, match="torch is not installed for "):
        load(WEIGHTS, target="onnxruntime")
    assert not own_cache.exists()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("--device=gpu: expected cpu.", 'device="gpu": expected cpu.'),
        ("Pass --soc=Ascend310B4, which it follows.", 'Pass soc="Ascend310B4", which it follows.'),
        ("Leave out --config, or pass --config=a_config.", 'Leave out config=, or pass config="a_config".'),
        ("--npus=1 --trained_model=X.pth --top_k=5", 'npus=1 weights="X.pth" max_detections=5'),
        ("(--model=FILE)", '(path="FILE")'),
        ("atc --soc_version=A --input_shape=x", "atc --soc_version=A --input_shape=x"),
        ("no flag - or -- here", "no flag - or -- here"),
    ],
)
def test_errors_name_arguments_in_place_of_flags(said, expected):
    with pytest.raises(ToolError) as caught, speaking_python():
        raise ToolError(said)
    assert str(caught.value) == expected


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    """A cache that two processes filled at once with the demo's model for ONNX Runtime, and what they said."""
    pytest.importorskip("torch")  # exports it
    folder = tmp_path_factory.mktemp("cache")
    code = (
        "import sys, yolact_ascend, numpy as np\n"
        "with yolact_ascend.load(sys.argv[1], target='onnxruntime') as model:\n"
        "    print(model.path, len(model(np.full((60, 80, 3), 90, np.uint8))))\n"
    )
    env = {"XDG_CACHE_HOME": str(folder), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(CHECKOUT)}
    env["OMP_NUM_THREADS"] = "1"  # else each of them takes all cores
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, WEIGHTS], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    return folder, [(*process.communicate(timeout=120), process.returncode) for process in processes]


def test_two_processes_make_a_model_of_weights_once(cached):
    folder, said = cached
    assert [code for *_, code in said] == [0, 0], said
    assert said[0][0] == said[1][0]
    assert sum("Exporting " in err for _, err, _ in said) == 1
    (model,) = (folder / "yolact-ascend" / "models").iterdir()
    assert model.name.startswith("yolact_edge_demo-onnxruntime-") and said[0][0].startswith(str(model))


@pytest.fixture
def filled(cached, monkeypatch):
    """The cache of `cached`, in which nothing more may be made."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cached[0]))
    monkeypatch.setattr(cache, "_make", lambda *_: pytest.fail("made again"))


@pytest.mark.usefixtures("filled")
def test_predict_by_weights_alone_takes_the_same_model(tmp_path, capsys):
    import cv2

    cv2.imwrite(str(tmp_path / "grey.png"), GREY)
    words = ["predict", str(tmp_path / "grey.png"), f"--trained_model={WEIGHTS}", "--target=onnxruntime"]
    assert main([*words, f"--save_path={tmp_path / 'out'}"]) == 0
    assert "/yolact_edge.onnx on ONNX Runtime on the CPU" in capsys.readouterr().out
    with load(WEIGHTS, target="onnxruntime", config=TINY_CONFIG.name) as model:
        entries = json.loads((tmp_path / "out" / "detections.json").read_text())["detections"]
        assert model(GREY).to_coco(1) == [
            {key: value for key, value in entry.items() if key not in ("class_name", "file_name")} for entry in entries
        ]


def test_what_a_cached_model_depends_on(cached, monkeypatch):
    """Another content, other code, another library: another folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cached[0]))
    asked = []
    monkeypatch.setattr(cache, "_make", lambda recipe, folder: asked.append(folder.parent.name) or stop())

    def stop():
        raise ArtifactError("stopped")

    def ask():
        with pytest.raises(ArtifactError, match="stopped"):
            load(WEIGHTS, target="onnxruntime")

    for name, value in (("made_by", lambda *_: {"code": "new"}), ("sha256_file", lambda path: "0" * 64)):
        with monkeypatch.context() as changed:
            changed.setattr(cache, name, value)
            ask()
    assert len(set(asked)) == 2


def test_a_damaged_cached_model_is_made_again(cached, monkeypatch, tmp_path):
    copied = shutil.copytree(cached[0], tmp_path / "cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(copied))
    (onnx,) = copied.glob("yolact-ascend/models/*/work/yolact_edge.onnx")
    before = onnx.read_bytes()
    onnx.write_bytes(before[:-100])
    (onnx.parent / "notes.txt").write_text("mine")
    asked = []

    def make(recipe, folder):
        asked.append(recipe.weights)
        shutil.copytree(next(cached[0].glob("yolact-ascend/models/*/work")), folder, dirs_exist_ok=True)

    monkeypatch.setattr(cache, "_make", make)
    for _ in range(2):
        with load(WEIGHTS, target="onnxruntime"):
            assert onnx.read_bytes() == before
    assert asked == [WEIGHTS] and (onnx.parent / "notes.txt").read_text() == "mine"


def test_a_model_that_cannot_be_made_says_the_stages_own_sentence(own_cache, tmp_path):
    (tmp_path / "w.pth").write_bytes(b"no weights")
    with pytest.raises(yolact_ascend.YolactAscendError, match=r"w\.pth"):
        load(tmp_path / "w.pth", target="onnxruntime", config=TINY_CONFIG.name)


def test_the_sentence_of_a_failed_command_is_passed_on(own_cache, monkeypatch):
    stderr = "$ export\nerror: The weights hold NaN.\nerror: That command failed; its own message is above.\n"
    monkeypatch.setattr(cache, "capture", lambda *_: SimpleNamespace(returncode=1, stderr=stderr))
    with pytest.raises(yolact_ascend.ToolError, match=r"cannot be made a model: The weights hold NaN\.\n\(The command"):
        load(WEIGHTS, target="onnxruntime")


@pytest.mark.parametrize(
    ("has_card", "has_openvino", "device", "expected"),
    [
        (True, True, "auto", "ascend"),
        (False, True, "auto", "openvino"),
        (False, False, "auto", "onnxruntime"),
        (False, True, "emulation", "ascend"),
    ],
)
def test_the_default_target_of_weights(monkeypatch, tmp_path, has_card, has_openvino, device, expected):
    monkeypatch.setattr(registry, "sign_of_card", lambda: tmp_path if has_card else None)
    monkeypatch.setattr(registry, "is_installed", lambda name: has_openvino)
    assert registry.target_of_host(device).name == expected


@pytest.mark.usefixtures("no_cann", "own_cache")
def test_the_emulation_is_never_chosen_for_weights():
    with pytest.raises(UsageError, match=r'this host has no NPU\. Pass device="emulation".* or leave out the target'):
        load(WEIGHTS, target="ascend")
    with pytest.raises(UsageError, match=r"target='gpu': expected ascend, onnxruntime, openvino"):
        load(WEIGHTS, target="gpu")


@pytest.mark.parametrize("target", [pytest.param("openvino", marks=pytest.mark.needs("openvino")), "ascend"])
def test_weights_are_compiled_for_the_target_that_is_named(own_cache, monkeypatch, target):
    """What is asked of a run; what it makes is the business of the run's own tests."""
    asked = []

    def make(recipe, folder):
        asked.append((recipe.target.name, recipe.batch_size, recipe.device))
        raise ArtifactError("stopped")

    monkeypatch.setattr(cache, "_make", make)
    device = "emulation" if target == "ascend" else "cpu"
    with pytest.raises(ArtifactError, match="stopped"):
        load(WEIGHTS, target=target, device=device, batch_size=4)
    assert asked == [(target, 4, device)]
    (folder,) = own_cache.iterdir()
    assert folder.name.startswith(f"yolact_edge_demo-{target}-")


def test_the_run_that_makes_a_model(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(cache, "capture", lambda command, env: asked.append(command) or SimpleNamespace(returncode=0))
    config = CONFIGS["yolact_edge_config"]
    recipe = cache.Recipe(tmp_path / "w.pth", config, "a,b", TARGETS["ascend"], "emulation", "Ascend310P3", 8)
    cache._make(recipe, tmp_path / "work")
    (command,) = asked
    assert command[command.index("run") + 1 :] == [
        *(f"weights={tmp_path / 'w.pth'}", "config=yolact_edge_config", "target=ascend", f"out={tmp_path / 'work'}"),
        *("to=compile", "bs=8", "force=1", "classes=a,b", "soc=Ascend310P3", "device=emulation"),
    ]


def test_no_device_is_opened_before_the_checks(tiny_onnx, monkeypatch):
    monkeypatch.setattr(TARGETS["onnxruntime"], "open", lambda *_: pytest.fail("opened"))
    chosen = choose_model(ModelRequest(tiny_onnx))
    assert chosen.config == TINY_CONFIG and chosen.cut == "fpn"
