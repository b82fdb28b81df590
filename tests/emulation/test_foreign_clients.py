"""Clients that nobody of this project wrote, on the installed stand-ins.

- ULTRALYTICS_DIR: a virtual environment with Ultralytics that has `format=ascend` (8.4.190 was tried). It does not
  change: the stand-ins are installed into a new one, which finds Ultralytics in it.
- LPRNET_GUIDE_DIR: the folder ACL_PyTorch/built-in/cv/LPRNet_for_PyTorch of Ascend/ModelZoo-PyTorch, and LPRNet_Pytorch
  cloned into it as its first step says (commit 7c97666). A copy is used.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from .conftest import Result, Run
from .installation import build_wheel, make_environment, run_installed

HERE = Path(__file__).resolve().parent
CLIENT = HERE / "ultralytics_client.py"
BATCH = 4
COMPARED = 50  # batches
CLEAR_SCORE = 0.3  # the client asks for 0.25: float16 moves scores at the threshold to its other side


def folder_of(variable: str) -> Path:
    """Return the folder that `variable` names; skips the test where it names none."""
    if not os.environ.get(variable):
        pytest.skip(f"{variable} is not set (CONTRIBUTING.md, Tests that need more)")
    return Path(os.environ[variable]).resolve()


def installed(folder: Path, python: str = "", **more: str) -> Run:
    """Install the stand-ins into a new environment in `folder`, and run commands in `folder`."""
    wheel = build_wheel(folder)
    environment = make_environment(folder / "environment", wheel, *([python] if python else []))
    return run_installed(environment, folder, **more)


def succeed(result: Result) -> Result:
    """Return the result of a command that ended with code 0."""
    assert result.code == 0, result.stdout + result.stderr
    return result


@pytest.mark.ultralytics
@pytest.mark.parametrize("config", ["yolo26n-seg.yaml"])
def test_ultralytics_finds_the_same_boxes_as_with_onnx_runtime(config: str, tmp_path: Path) -> None:
    """ultralytics/utils/export/ascend.py calls atc; ultralytics/nn/backends/ascend.py calls ais_bench's InferSession.

    Without float16 its Ascend backend finds the same numbers. In float16, which its export always asks for, boxes move:
    PyTorch's float16 moves these by as much (95 % within 0.3 to 0.5 px).
    """
    python = str(folder_of("ULTRALYTICS_DIR") / "bin" / "python")
    offline = {"YOLO_OFFLINE": "true", "YOLO_CONFIG_DIR": str(tmp_path), "YOLO_AUTOINSTALL": "false"}
    run = installed(tmp_path, python, **offline)
    succeed(run("python3", CLIENT, config, "found.json"))
    found = json.loads((tmp_path / "found.json").read_text())
    assert [Path(path).suffix or Path(path).name for path in found["models"].values()] == [
        ".onnx",
        "yolo26n-seg_ascend_model",
        "float32yolo26n-seg_ascend_model",
    ]
    assert sum(len(picture["boxes"]) for picture in found["onnx"]) > 100
    assert found["ascend_float32"] == found["onnx"]

    moved = []
    for expected, half in zip(found["onnx"], found["ascend"]):
        wanted, boxes = np.array(expected["boxes"]), np.array(half["boxes"])
        wanted = wanted[wanted[:, 4] > CLEAR_SCORE]
        distances = np.abs(wanted[:, None, :4] - boxes[None, :, :4]).max(axis=2)  # [N,M]
        moved.extend(distances.min(axis=1))
    median, most = np.median(moved), np.quantile(moved, 0.95)
    print(f"parity: boxes of {config} equal ONNX Runtime's without float16; in float16, ", end="")
    print(f"{len(moved)} boxes are {median:.2f} px away (median), 95 % within {most:.2f} px")
    assert 0 < median <= 0.25 and most <= 0.5


def commands_of(guide: str, start: str) -> list[str]:
    """Return the lines of the guide that begin with `start`, with its placeholders replaced."""
    lines = [line.strip() for line in guide.splitlines() if line.strip().startswith(start)]
    values = {"{batchsize}": BATCH, "${batch_size}": BATCH, "{chip_name}": "310P3"}
    values["${om_model_path}"] = f"models/LPRNet_bs{BATCH}.om"
    for name, value in values.items():
        lines = [line.replace(name, str(value)) for line in lines]
    return lines


@pytest.mark.lprnet
def test_the_lprnet_guide_reads_its_number_plates(tmp_path: Path) -> None:
    """Its atc and ais_bench commands as they are typed, in the umask that ais_bench of 2025 asks for.

    Inputs get other names: that ais_bench, unlike that of 2023, refuses Chinese letters in paths. The guide
    measured 88.3 to 90.2 % on a 310P3 for batches of 1 to 64 (its network takes means over the whole batch).
    """
    import onnxruntime

    work = shutil.copytree(folder_of("LPRNET_GUIDE_DIR"), tmp_path / "guide", ignore=shutil.ignore_patterns(".git"))
    guide = (work / "README.md").read_text()
    everything = installed(tmp_path)

    def script(line: str) -> Result:
        return succeed(everything("python3", HERE / "lprnet_guide.py", *line.split()[1:], cwd=work))

    def typed(line: str) -> Result:
        return succeed(everything("bash", "-c", f"umask 027; {line}", cwd=work))

    script(commands_of(guide, "python3 LPRNet_preprocess.py")[0])
    script(commands_of(guide, "python3 LPRNet_pth2onnx.py")[0])
    shutil.copy(work / "LPRNet.onnx", work / "LPRNet_mod.onnx")  # see lprnet_guide.py
    typed(commands_of(guide, "python3 -m onnxsim")[0])
    bins = work / "prep_data"
    plates = sorted(path.stem for path in bins.iterdir())
    for index, plate in enumerate(plates):
        (bins / f"{plate}.bin").rename(bins / f"{index:04}.bin")

    typed("mkdir models result")
    [atc], [infer, loop] = commands_of(guide, "atc "), commands_of(guide, "python3 -m ais_bench")
    assert "ATC run success" in typed(atc).stdout
    typed(infer)
    assert "throughput" in typed(loop.replace("--loop=1000", "--loop=10")).stdout

    [output] = [path for path in (work / "result").iterdir() if path.is_dir()]
    inputs, outputs = (
        np.stack([np.fromfile(path, np.float32) for path in sorted(f.glob("*.bin"))]) for f in (bins, output)
    )
    session = onnxruntime.InferenceSession(work / "LPRNet.onnx", providers=["CPUExecutionProvider"])
    batches = inputs[: BATCH * COMPARED].reshape(COMPARED, BATCH, 3, 24, 94)
    expected = np.concatenate([session.run(None, {"input": batch})[0] for batch in batches]).reshape(
        BATCH * COMPARED, -1
    )
    worst = np.abs(outputs[: len(expected)] - expected).max() / np.abs(expected).max()
    for index, plate in enumerate(plates):
        (output / f"{index:04}_0.bin").rename(output / f"{plate}_0.bin")
    last = script(f"python3 LPRNet_postprocess.py result/{output.name}").stdout
    accuracy = float(re.search(r"Test Accuracy: ([\d.]+)", last).group(1))
    print(f"parity: LPRNet reads {accuracy:.1%} of {len(plates)} plates in batches of {BATCH}; ", end="")
    print(f"its guide on a 310P3: 89.6 %. Outputs differ from ONNX Runtime's by {worst:.1e} of the largest")
    # Ten layers, each of which rounds to 11 bits: 2**-11 is 5e-4.
    assert 0 < worst <= 10 * 2**-11
    assert len(plates) == 1000 and abs(accuracy - 0.896) <= 0.01
