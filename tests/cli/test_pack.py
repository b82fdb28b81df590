"""`pack` and `verify PACK`: a packed model runs elsewhere, without PyTorch, and says whether it computes right."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from factories import CHECKOUT
from formats import require_valid
from runs import start_own_verbs_here

import yolact_ascend
from yolact_ascend.cli.main import main
from yolact_ascend.cli.orchestration import run_stages
from yolact_ascend.cli.pack import _find_onnx
from yolact_ascend.errors import ArtifactError
from yolact_ascend.files import sha256_file
from yolact_ascend.folders import LEDGER
from yolact_ascend.host.pack import EXPECTED, MANIFEST, read_manifest, require_whole
from yolact_ascend.models.config import DEMO_CONFIG
from yolact_ascend.pipeline.demo import WEIGHTS
from yolact_ascend.targets.folder import VERDICT, WorkFolder

WITHOUT_TORCH = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Blocker())
sys.path.insert(0, sys.argv[1])
from yolact_ascend.cli.main import main
raise SystemExit(main(sys.argv[2:]))
"""


def compile_demo(folder: Path, **words: str) -> WorkFolder:
    settings = {"out": folder, "config": DEMO_CONFIG, "weights": WEIGHTS, "bs": "2", "device": "emulation", **words}
    settings["coco"] = "nowhere"  # else this is the demo, which draws its scenes
    with pytest.MonkeyPatch.context() as patch:
        start_own_verbs_here(patch)
        run_stages([*(f"{key}={value}" for key, value in settings.items()), "to=compile"])
    return WorkFolder(folder)


@pytest.fixture(scope="module")
def work(exported_elsewhere, tmp_path_factory) -> WorkFolder:
    """The demo's network, exported, and compiled by the stand-in of atc in float16."""
    folder = tmp_path_factory.mktemp("pack") / "work"
    exported_elsewhere(folder)
    return compile_demo(folder)


@pytest.fixture(scope="module")
def packs(work, tmp_path_factory) -> dict[str, Path]:
    """The packs of the .onnx and the .om, unpacked from their zips in another place, under another name."""
    folder, elsewhere = tmp_path_factory.mktemp("made"), tmp_path_factory.mktemp("elsewhere")
    for name, model in (("onnx", work.onnx), ("om", work.model(2, ".om"))):
        assert main(["pack", str(model), str(folder / name), "--zip", "--device=auto"]) == 0
        with zipfile.ZipFile(folder / f"{name}.zip") as archive:
            archive.extractall(elsewhere)
        (elsewhere / name).rename(elsewhere / f"moved_{name}")
    return {name: elsewhere / f"moved_{name}" for name in ("onnx", "om")}


@pytest.fixture
def spoiled(packs, tmp_path) -> Path:
    """A copy of the .onnx's pack, to be spoiled."""
    return Path(shutil.copytree(packs["onnx"], tmp_path / "spoiled"))


def verify(pack, folder, *words):
    code = main(["verify", str(pack), f"--out={folder}", *words])
    return code, require_valid(json.loads((folder / VERDICT).read_text()), "verify")


def statuses(record):
    return {check["name"]: check["status"] for check in record["checks"]}


@pytest.mark.parametrize("name", ["onnx", "om"])
def test_an_unpacked_demo_is_equal_without_torch(packs, tmp_path, name):
    words = ["verify", str(packs[name]), f"--out={tmp_path / 'v'}", *(["--device=emulation"] if name == "om" else [])]
    command = [sys.executable, "-c", WITHOUT_TORCH, str(CHECKOUT), *words]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "EQUAL to the pack's expected values within the precision" in done.stdout
    assert (
        f"{7 if name == 'onnx' else 8} files, byte for byte" in done.stdout
        and "10 of 10 sure detections" in done.stdout
    )


def test_a_pack_holds_all_that_running_needs(work, packs):
    manifest = require_valid(json.loads((packs["om"] / MANIFEST).read_text()), "pack")
    assert set(manifest["files"]) == {
        *("yolact_edge_bs2.om", "yolact_edge_bs2.om.json", "yolact_edge_heads.onnx", "labels.txt"),
        *("LICENSES.md", "README.md", "self_test/image.png", "self_test/expected.json"),
    }
    assert (manifest["precision"], manifest["batch_size"], manifest["target"]) == ("fp16", 2, "ascend")
    assert (packs["om"] / "labels.txt").read_text().split() == [
        *("ball", "crate", "star", "leaf", "ring", "gear", "capsule", "cross")
    ]
    assert "Apache-2.0: they are the demo's" in (packs["om"] / "LICENSES.md").read_text()
    readme = (packs["om"] / "README.md").read_text()
    assert "verify ." in readme and "--model=." in readme and len(readme.splitlines()) <= 12
    assert "computed_by" in json.loads((packs["om"] / EXPECTED).read_text())
    assert require_whole(packs["om"]) == packs["om"] / "yolact_edge_bs2.om"
    folder = str(work.root).encode()  # of the host that compiled it: nobody else's business; atc's own file is atc's
    files = [path for pack in packs.values() for path in pack.rglob("*.*") if path.suffix != ".om"]
    assert len(files) > 10 and not [path for path in files if folder in path.read_bytes()]


def test_a_pack_is_loaded_as_a_model(packs, tmp_path, monkeypatch):
    """By the API in Python, and by `predict` in the pack's folder as its README says."""
    expected = json.loads((packs["onnx"] / EXPECTED).read_text())["detections"]
    with yolact_ascend.load(packs["onnx"]) as model:
        found = model(packs["onnx"] / "self_test" / "image.png")
    assert [round(float(score), 6) for score in found.scores] == [round(entry["score"], 6) for entry in expected]
    assert list(found.class_names) == [entry["class_name"] for entry in expected]
    monkeypatch.chdir(packs["onnx"])
    assert main(["predict", "self_test/image.png", "--model=.", f"--save_path={tmp_path / 'out'}"]) == 0
    assert len(json.loads((tmp_path / "out" / "detections.json").read_text())["detections"]) == len(expected)


def test_the_same_model_gives_the_same_pack(work, packs, tmp_path):
    for name in ("a", "b"):
        assert main(["pack", str(work.onnx), str(tmp_path / name / "onnx"), "--zip"]) == 0
    first, second = (sha256_file(tmp_path / name / "onnx.zip") for name in ("a", "b"))
    assert first == second
    assert (tmp_path / "a" / "onnx" / MANIFEST).read_bytes() == (packs["onnx"] / MANIFEST).read_bytes()
    with zipfile.ZipFile(tmp_path / "a" / "onnx.zip") as archive:
        assert not [name for name in archive.namelist() if ".lock" in name or LEDGER in name]


def test_spoiled_heads_are_named_and_not_run(spoiled, tmp_path):
    heads = spoiled / "yolact_edge_heads.onnx"
    data = bytearray(heads.read_bytes())
    data[len(data) // 2] ^= 255
    heads.write_bytes(bytes(data))
    code, record = verify(spoiled, tmp_path / "v")
    assert code == 1 and statuses(record) == {"files": "FAIL", "outputs": "OK", "run": "FAIL"}
    assert record["cause"] == {"kind": "files", "text": "yolact_edge_heads.onnx is not the packed file"}
    assert "NOT EQUAL to the pack's expected values on ONNX Runtime on the CPU, from 'files' on" in record["line"]
    with pytest.raises(ArtifactError, match="is not whole: yolact_edge_heads.onnx is not the packed file. Copy the"):
        yolact_ascend.load(spoiled)


def test_a_spoiled_model_is_not_equal_by_so_much(spoiled, tmp_path):
    """One weight of the model is another: it still loads, and computes something else."""
    import onnx

    path = spoiled / "yolact_edge.onnx"
    model = onnx.load(path)
    weight = max(model.graph.initializer, key=lambda each: len(each.raw_data))
    values = np.frombuffer(weight.raw_data, np.float32).copy()
    values[: len(values) // 2] *= -1
    weight.raw_data = values.tobytes()
    onnx.save(model, path)
    code, record = verify(spoiled, tmp_path / "v")
    assert code == 1 and statuses(record)["files"] == statuses(record)["outputs"] == "FAIL"
    assert record["cause"]["text"] == "yolact_edge.onnx is not the packed file"
    outputs = next(check for check in record["checks"] if check["name"] == "outputs")
    worst = min(output["cosine_min"] for output in outputs["facts"]["outputs"])
    assert worst < 0.99 and f"lowest cosine {worst:.6f}" in outputs["text"]


def test_a_missing_file_is_named(spoiled, tmp_path):
    (spoiled / "labels.txt").unlink()
    code, record = verify(spoiled, tmp_path / "v")
    assert code == 1 and statuses(record) == {"files": "FAIL", "outputs": "OK", "detections": "OK"}
    assert "labels.txt is missing" in record["line"]


def test_another_precision_is_not_equal_and_named(work, tmp_path):
    """Packed in float32; then the .om and its side-car are those of float16."""
    exact = WorkFolder(Path(shutil.copytree(work.root, tmp_path / "exact", copy_function=shutil.copy2)))
    compile_demo(exact.root, precision="fp32")
    pack = tmp_path / "packed"
    assert main(["pack", str(exact.model(2, ".om")), str(pack), "--device=emulation"]) == 0
    assert verify(pack, tmp_path / "v", "--device=emulation")[0] == 0
    for name in ("yolact_edge_bs2.om", "yolact_edge_bs2.om.json"):
        shutil.copy(work.root / name, pack / name)
    code, record = verify(pack, tmp_path / "v", "--device=emulation")
    assert code == 1 and statuses(record) == {"files": "FAIL", "outputs": "FAIL", "detections": "OK"}
    outputs = next(check for check in record["checks"] if check["name"] == "outputs")
    assert outputs["facts"]["cause"] == {
        "kind": "precision",
        "text": "the model was compiled with fp16, and fp32 was packed",
    }


def test_other_heads_than_the_models_are_refused_by_pack(work, tmp_path, capsys):
    copied = WorkFolder(Path(shutil.copytree(work.root, tmp_path / "work")))
    (copied.root / "yolact_edge_heads.onnx").write_bytes(b"other")
    assert main(["pack", str(copied.onnx), str(tmp_path / "out")]) == 1
    assert "is not the heads of yolact_edge.onnx" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_folder_of_somebody_else_is_refused(work, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    assert main(["pack", str(work.onnx), str(out)]) == 2
    assert f"{out} is not empty (notes.txt), and no pack was made there. Choose another OUT." in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["notes.txt"]
    (tmp_path / "new.zip").write_text("mine")
    assert main(["pack", str(work.onnx), str(tmp_path / "new"), "--zip"]) == 2
    assert "new.zip was not made by an earlier run" in capsys.readouterr().err
    assert (tmp_path / "new.zip").read_text() == "mine"


def test_a_pack_takes_the_place_of_an_earlier_one(work, tmp_path):
    out = tmp_path / "out"
    picture = tmp_path / "own.bmp"
    cv2.imwrite(str(picture), np.full((40, 60, 3), 128, np.uint8))
    assert main(["pack", str(work.model(2, ".om")), str(out), "--device=emulation"]) == 0
    assert main(["pack", str(work.onnx), str(out), f"--image={picture}"]) == 0
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert names - {".lock", LEDGER} == {*read_manifest(out).files, MANIFEST}
    assert "self_test/image.bmp" in names and json.loads((out / EXPECTED).read_text())["detections"] == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda values: values.update(schema=2), "has schema 2, expected 1: a newer yolact-ascend made this pack"),
        (lambda values: values.pop("model"), "is damaged: "),
        (lambda values: values["files"].update({"../x": "0"}), "is damaged: it does not name the model and"),
        (lambda values: values.update(files=[]), "is damaged: it does not name the model and the pack's files"),
        (lambda values: values["files"].update({"x" * 5000: "0"}), "xxx is missing"),
    ],
    ids=["newer", "no model", "a way out", "no files", "a long name"],
)
def test_a_damaged_manifest_is_one_sentence(spoiled, capsys, tmp_path, spoil, said):
    values = json.loads((spoiled / MANIFEST).read_text())
    spoil(values)
    (spoiled / MANIFEST).write_text(json.dumps(values))
    assert main(["verify", str(spoiled), f"--out={tmp_path / 'v'}"]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"allowed": []}, "0 allowed for 6 outputs, expected as many"),
        ({"image": "/etc/passwd"}, "image '/etc/passwd' is no file of the pack"),
        ({"image": None}, "image None is no file of the pack"),
        ({"samples": [1.0, 2.0]}, "could not be broadcast"),
        ({"samples": ["a"] * 256}, "could not convert string to float"),
    ],
    ids=str,
)
def test_damaged_expected_values_are_never_equal(spoiled, capsys, tmp_path, change, said):
    """Also where pack.json has the hash of the damaged file."""
    expected, manifest = (json.loads((spoiled / name).read_text()) for name in (EXPECTED, MANIFEST))
    if "samples" in change:
        expected["outputs"][0].update(change)
    else:
        expected.update(change)
    (spoiled / EXPECTED).write_text(json.dumps(expected))
    manifest["files"][EXPECTED] = sha256_file(spoiled / EXPECTED)
    (spoiled / MANIFEST).write_text(json.dumps(manifest))
    code, record = verify(spoiled, tmp_path / "v")
    assert code == 1 and statuses(record) == {"files": "OK", "run": "FAIL"}
    assert "expected.json is damaged: " in record["line"] and said in record["line"]


def test_a_side_car_of_another_file_is_refused_by_pack(work, tmp_path, capsys):
    """An .onnx states itself what it is, but precision and batch size of a pack come from the side-car."""
    model = tmp_path / "a.onnx"
    shutil.copy(work.onnx, model)
    shutil.copy(work.root / "yolact_edge_heads.onnx", tmp_path)
    shutil.copy(work.root / "yolact_edge_bs2.om.json", tmp_path / "a.onnx.json")
    assert main(["pack", str(model), str(tmp_path / "out")]) == 1
    assert "a.onnx is not the file that a.onnx.json describes" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["predict", ""], ["verify", ""], ["pack", "", "out"], ["pack", "m.om", ""]], ids=str)
def test_an_empty_word_is_not_the_current_folder(words, capsys, tmp_path, monkeypatch):
    """As a variable of the shell is that was never set."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(words)
    assert "'': expected a path" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_what_is_no_pack_is_refused(tmp_path, capsys):
    assert main(["verify", str(tmp_path), f"--out={tmp_path / 'v'}"]) == 2
    assert "is not a packed model: there is no pack.json in it. Pass a folder that" in capsys.readouterr().err
    assert main(["verify", str(tmp_path / "a.zip"), f"--out={tmp_path / 'v'}"]) == 2
    assert "Unpack it first." in capsys.readouterr().err


@pytest.mark.parametrize(("metadata", "is_reference"), [({}, True), ({"operators": "ascend"}, False)])
def test_an_onnx_that_only_a_card_computes_is_no_reference(tmp_path, metadata, is_reference):
    onnx = pytest.importorskip("onnx")
    exported = tmp_path / "yolact_edge.onnx"
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], []))
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, exported)
    found = _find_onnx(tmp_path / "m.om", sha256_file(exported))
    assert found == (exported if is_reference else None)
