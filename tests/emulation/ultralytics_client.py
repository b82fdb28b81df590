"""Ultralytics' export and predict, as its users call them; runs in Ultralytics' environment.

    python ultralytics_client.py MODEL.yaml FILE.json

Writes what its ONNX Runtime backend and its Ascend backend find in the same pictures: boxes [x1, y1, x2, y2, score,
class], and pixels of each mask. Weights are random, so the normalisations are fitted to these pictures first: otherwise
all scores are equal.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from ultralytics import YOLO

SIZE_PX = 320
SOC_VERSION = "Ascend310P3"
PICTURES = 4


def draw_picture(rng: np.random.Generator) -> torch.Tensor:
    """Draw smooth colours, [1,3,320,320] from 0 to 255."""
    coarse = torch.from_numpy(rng.integers(0, 256, (1, 3, 16, 16)).astype(np.float32))
    return torch.nn.functional.interpolate(coarse, (SIZE_PX, SIZE_PX), mode="bicubic").clamp(0, 255)


def fit_normalisations(network: torch.nn.Module, pictures: list[torch.Tensor]) -> None:
    """Set each BatchNorm's mean and variance to those of its inputs, and the scores' biases to less than one half."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
            module.reset_running_stats()
    network.train()
    with torch.no_grad():
        network(torch.cat(pictures) / 255)
        for level in network.model[-1].cv3:
            level[-1].bias.fill_(-1.5)
            level[-1].weight.mul_(0.25)
        for level in network.model[-1].cv2:
            level[-1].weight.mul_(0.25)
    network.eval()


def compile_in_float32(exported: Path, model: Path) -> str:
    """Compile the ONNX file that `model` was made of once more, without float16; gives a folder like `model`."""
    folder = Path(shutil.copytree(model, model.with_name(f"float32{model.name}")))
    [om] = folder.glob("*.om")
    flags = ["--framework=5", f"--soc_version={SOC_VERSION}", f"--input_shape=images:1,3,{SIZE_PX},{SIZE_PX}"]
    flags += [f"--model={exported}", f"--output={om.with_suffix('')}", "--precision_mode=must_keep_origin_dtype"]
    subprocess.run(["atc", *flags], check=True)
    return str(folder)


def predict(path: str, task: str, pictures: list[np.ndarray]) -> list[dict[str, list]]:
    """Boxes, and pixels of each mask, for each picture; iou=1 suppresses no box, so that none hides another."""
    model = YOLO(path, task=task)
    results = [model.predict(p, imgsz=SIZE_PX, conf=0.25, iou=1, max_det=999, verbose=False)[0] for p in pictures]
    return [
        {"boxes": result.boxes.data.tolist(), "mask_px": result.masks.data.sum(dim=(1, 2)).tolist()}
        for result in results
    ]


def main(config: str, output: Path) -> None:
    """Build, export twice, predict twice."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    yolo = YOLO(config)
    drawn = [draw_picture(rng) for _ in range(PICTURES)]
    fit_normalisations(yolo.model, drawn)
    rgb = [picture[0].permute(1, 2, 0).numpy().astype(np.uint8) for picture in drawn]
    pictures = [np.ascontiguousarray(picture[:, :, ::-1]) for picture in rgb]  # predict takes BGR arrays
    models = {
        "onnx": yolo.export(format="onnx", imgsz=SIZE_PX),
        "ascend": yolo.export(format="ascend", imgsz=SIZE_PX, name=SOC_VERSION),
    }
    models["ascend_float32"] = compile_in_float32(Path(models["onnx"]), Path(models["ascend"]))
    found = {name: predict(path, yolo.task, pictures) for name, path in models.items()}
    output.write_text(json.dumps({"models": models, **found}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
