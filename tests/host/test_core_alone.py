"""The core alone, as on a card's host without PyTorch, onnx and ONNX Runtime, runs models whose heads are inside."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from factories import CHECKOUT, TINY_CONFIG, compile_model, write_coco

from yolact_ascend.cli.main import main
from yolact_ascend.extras import CORE, PACKAGES
from yolact_ascend.files import sha256_file
from yolact_ascend.models.families import cut_outputs
from yolact_ascend.models.host_part import heads_file
from yolact_ascend.models.inputs import input_tensor
from yolact_ascend.targets.compiled import Need, describe_model, write_sidecar
from yolact_ascend.targets.described import read_description

EXTRAS = sorted({module for extra in PACKAGES if extra != CORE for module in PACKAGES[extra].values()} - {"setuptools"})
FILES = {"predict": ["detections.json"], "stream": ["bbox.json", "mask.json", "scores.json"]}
FLAGS = {
    "predict": lambda coco, out: [str(coco / "val2017"), f"--save_path={out}"],
    "stream": lambda coco, out: [
        *(f"--coco={coco}", "--workers=2", f"--scores_file={out}/scores.json"),
        *(f"--bbox_det_file={out}/bbox.json", f"--mask_det_file={out}/mask.json"),
    ],
}


@pytest.fixture(scope="module")
def model(tiny_heads_onnx, emulation):
    return compile_model(tiny_heads_onnx, emulation, "heads_bs2")


@pytest.fixture
def core_alone(tmp_path):
    """Runs a verb in a Python that has no module of an extra; the stand-in of the card is another process.

    The processes that it starts have no PyTorch either (a folder on PYTHONPATH, which the stand-ins would read, too).
    """
    folder = tmp_path / "none"
    folder.mkdir()
    for name in ("torch", "matplotlib"):
        (folder / f"{name}.py").write_text(f"raise ImportError('{name} is not needed here')\n")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({EXTRAS!r})); sys.path.insert(0, {str(CHECKOUT)!r})\n"
        "from yolact_ascend.cli.main import main\n"
        "if __name__ == '__main__': sys.exit(main(sys.argv[1:]))"
    )
    env = {**os.environ, "PYTHONPATH": str(folder)}

    def run(*words):
        return subprocess.run(
            [sys.executable, "-c", code, *words], env=env, capture_output=True, text=True, check=False
        )

    return run


@pytest.mark.parametrize("verb", FLAGS)
def test_a_model_with_its_heads_inside_needs_the_core_alone(model, tiny_weights, core_alone, verb, tmp_path):
    coco = write_coco(tmp_path / "coco", TINY_CONFIG)
    words = [f"--model={model}", f"--weights={tiny_weights}", f"--config={TINY_CONFIG.name}", "--device=emulation"]
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    done = core_alone(verb, *FLAGS[verb](coco, ours), *words)
    assert done.returncode == 0, done.stderr
    assert main([verb, *FLAGS[verb](coco, theirs), *words]) == 0
    assert json.loads((ours / FILES[verb][0]).read_text())
    for name in FILES[verb]:
        if name != "scores.json":  # it has times
            assert (ours / name).read_bytes() == (theirs / name).read_bytes()


def test_a_model_without_its_heads_says_what_it_needs(compiled, tiny_weights, core_alone, tmp_path):
    coco = write_coco(tmp_path / "coco", TINY_CONFIG)
    words = [f"--model={compiled}", f"--weights={tiny_weights}", f"--config={TINY_CONFIG.name}", "--device=emulation"]
    done = core_alone("predict", *FLAGS["predict"](coco, tmp_path / "out"), *words)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(
        "Pass the model that was exported or compiled, with its heads beside it: --model=FILE."
    )


def test_heads_beside_the_model_need_onnx_runtime(compiled, tiny_onnx, core_alone, tmp_path):
    coco = write_coco(tmp_path / "coco", TINY_CONFIG)
    model, description = Path(shutil.copy(compiled, tmp_path)), read_description(tiny_onnx)
    shutil.copy(heads_file(tiny_onnx), tmp_path)
    hashes = sha256_file(tiny_onnx), description.weights_sha256
    tensors = (input_tensor(TINY_CONFIG),), cut_outputs(TINY_CONFIG, "fpn")
    need = Need("ascend", {}, *hashes, 2, TINY_CONFIG.name, "fpn", "fp32", *tensors)
    write_sidecar(model, describe_model(model, need, description, [], "atc"))
    done = core_alone("predict", *FLAGS["predict"](coco, tmp_path / "out"), f"--model={model}", "--device=emulation")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(
        "onnxruntime is not installed for " + f"{sys.executable}. Run bash scripts/setup.sh, and then .venv/bin/python."
    )
