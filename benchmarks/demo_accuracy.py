"""mAP of the demo model on held-out scenes by every engine: torch, ONNX, .om in float32 and float16, with AIPP.

.venv/bin/python benchmarks/demo_accuracy.py --out results_accuracy [--images 100]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from tabulate import tabulate
from tqdm import tqdm

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from yolact_ascend.detection.detections import bbox_results, detect, mask_results  # noqa: E402
from yolact_ascend.detection.evaluate import Evaluation, evaluate  # noqa: E402
from yolact_ascend.files import write_json  # noqa: E402
from yolact_ascend.images.coco import CocoDataset, find_split, load_dataset  # noqa: E402
from yolact_ascend.images.decode import decode_image  # noqa: E402
from yolact_ascend.images.transforms import TRANSFORMS  # noqa: E402
from yolact_ascend.models.config import CONFIGS, DEMO_CONFIG  # noqa: E402
from yolact_ascend.models.export import export_onnx, load_heads  # noqa: E402
from yolact_ascend.models.weights import load_network  # noqa: E402
from yolact_ascend.pipeline.demo import SEED, WEIGHTS  # noqa: E402
from yolact_ascend.process import run_tool  # noqa: E402
from yolact_ascend.scenes.scenes import draw_dataset  # noqa: E402
from yolact_ascend.targets.ascend.aipp import aipp_config  # noqa: E402
from yolact_ascend.targets.ascend.atc import atc_command  # noqa: E402
from yolact_ascend.targets.ascend.engine import DeviceEngine  # noqa: E402
from yolact_ascend.targets.ascend.tools import find_tools  # noqa: E402
from yolact_ascend.targets.onnxruntime.engine import OnnxEngine  # noqa: E402

CONFIG = CONFIGS[DEMO_CONFIG]
BATCH_SIZE = 4
Infer = Callable[[np.ndarray], list[np.ndarray]]
# name -> (engine's input, more words for atc; None: no .om)
VARIANTS: dict[str, tuple[str, dict[str, str] | None]] = {
    "torch": ("float32", None),
    "ONNX": ("float32", None),
    ".om fp32": ("float32", {"precision": "fp32"}),
    ".om fp16": ("float32", {"precision": "fp16"}),
    ".om fp16, AIPP": ("uint8", {"precision": "fp16"}),
}


def main() -> None:
    """Draw, export, compile, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for scenes, models and accuracy.json")
    parser.add_argument("--images", type=int, default=100, help="held-out scenes")
    arguments = parser.parse_args()
    out = arguments.out
    draw_dataset(out / "scenes", 0, arguments.images, SEED)
    image_folder, annotation_file = find_split(out / "scenes")
    dataset = load_dataset(annotation_file, image_folder)
    export_onnx(WEIGHTS, CONFIG, out / "demo.onnx")
    (out / "aipp.cfg").write_text(aipp_config())
    scores = {}
    with ExitStack() as stack:
        for name, (dtype, words) in VARIANTS.items():
            infer = open_engine(name, dtype, words, out, stack)
            scores[name] = score(infer, dtype, dataset, name)
    rows = [
        [name, *(f"{part.table[column]:.2f}" for part in (e.box, e.mask) for column in ("all", "50", "75"))]
        for name, e in scores.items()
    ]
    head = ["engine", "box all", "box .50", "box .75", "mask all", "mask .50", "mask .75"]
    print(tabulate(rows, head, tablefmt="pipe", disable_numparse=True))
    tables = {name: {"box": e.box.table, "mask": e.mask.table} for name, e in scores.items()}
    write_json(out / "accuracy.json", {"images": arguments.images, "mAP": tables})
    print(json.dumps({"written": str(out / "accuracy.json")}))


def open_engine(name: str, dtype: str, words: dict[str, str] | None, out: Path, stack: ExitStack) -> Infer:
    """Return what maps a batch of inputs to outputs; closed with `stack`."""
    if name == "torch":
        import torch

        network = load_network(WEIGHTS, CONFIG)

        def infer(images: np.ndarray) -> list[np.ndarray]:
            with torch.inference_mode():
                return [output.numpy() for output in network(torch.from_numpy(images))]

        return infer
    if words is None:
        return stack.enter_context(OnnxEngine(out / "demo.onnx")).infer
    tools = find_tools("auto")
    prefix = out / name.strip(".").replace(" ", "_").replace(",", "")
    config = out / "aipp.cfg" if dtype == "uint8" else None
    command = atc_command(out / "demo.onnx", prefix, BATCH_SIZE, tools.soc_version, words["precision"], config)
    run_tool(command, tools.env, prefix.with_suffix(".log"))
    return stack.enter_context(DeviceEngine(prefix.with_name(f"{prefix.name}.om"), tools)).infer


def score(infer: Infer, dtype: str, dataset: CocoDataset, name: str) -> Evaluation:
    """Run every image through an engine, detect on the host, and score."""
    heads = load_heads(WEIGHTS, CONFIG)
    images = dataset.select()
    boxes, masks = [], []
    for start in tqdm(range(0, len(images), BATCH_SIZE), desc=name, unit="batch"):
        batch = images[start : start + BATCH_SIZE]
        outputs = infer(np.stack([TRANSFORMS[dtype](decode_image(image.path)) for image in batch]))
        for image, *tensors in zip(batch, *outputs):
            *levels, protos = (np.ascontiguousarray(tensor) for tensor in tensors)
            found = detect(heads(levels), protos, image.height, image.width)
            boxes += bbox_results(found, image.image_id, CONFIG.category_ids)
            masks += mask_results(found, image.image_id, CONFIG.category_ids)
    return evaluate(dataset.annotations, [image.image_id for image in images], boxes, masks)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(str(error))
