"""mAP of the demo model on held-out scenes by every engine, precision and cut, with preprocessing inside or not.

.venv/bin/python benchmarks/demo_accuracy.py --out results_accuracy [--images 100]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from tabulate import tabulate
from tqdm import tqdm

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from yolact_ascend.detection.evaluate import Evaluation, evaluate  # noqa: E402
from yolact_ascend.detection.results import Findings  # noqa: E402
from yolact_ascend.errors import UsageError  # noqa: E402
from yolact_ascend.files import make_folder, write_json  # noqa: E402
from yolact_ascend.host.inference import detect_batch  # noqa: E402
from yolact_ascend.images.coco import CocoDataset, load_dataset  # noqa: E402
from yolact_ascend.images.decode import decode_image  # noqa: E402
from yolact_ascend.images.layout import find_split  # noqa: E402
from yolact_ascend.models.config import CONFIGS, DEMO_CONFIG  # noqa: E402
from yolact_ascend.models.detector import load_detector  # noqa: E402
from yolact_ascend.models.export import export_onnx  # noqa: E402
from yolact_ascend.models.families import find_cut  # noqa: E402
from yolact_ascend.models.inputs import FLOAT32, UINT8, input_tensor  # noqa: E402
from yolact_ascend.models.weights import load_network  # noqa: E402
from yolact_ascend.pipeline.demo import SEED, WEIGHTS  # noqa: E402
from yolact_ascend.process import Runner  # noqa: E402
from yolact_ascend.scenes.scenes import draw_dataset  # noqa: E402
from yolact_ascend.targets.registry import TARGETS  # noqa: E402
from yolact_ascend.targets.target import CompileJob, DeviceRequest, Engine, batches  # noqa: E402
from yolact_ascend.timings import Timings  # noqa: E402
from yolact_ascend.training.score import NetworkEngine  # noqa: E402

CONFIG = CONFIGS[DEMO_CONFIG]
BATCH_SIZE = 4
CHOSEN = ("candidates", "detections")  # cuts whose graph chooses
# name -> target, precision, input, cut; the network in PyTorch comes before them
VARIANTS = {
    "ONNX": ("onnxruntime", "fp32", FLOAT32, "fpn"),
    **{f"ONNX, {cut}": ("onnxruntime", "fp32", FLOAT32, cut) for cut in ("heads", "boxes", *CHOSEN)},
    ".om fp32": ("ascend", "fp32", FLOAT32, "fpn"),
    ".om fp16": ("ascend", "fp16", FLOAT32, "fpn"),
    ".om fp16, AIPP": ("ascend", "fp16", UINT8, "fpn"),
    **{f".om fp16, {cut}": ("ascend", "fp16", FLOAT32, cut) for cut in ("heads", "boxes", *CHOSEN)},
    ".om fp16, AIPP, detections": ("ascend", "fp16", UINT8, "detections"),
    **{
        f"OpenVINO {precision}, {cut}": ("openvino", precision, FLOAT32, cut)
        for precision in ("fp32", "bf16", "fp16")
        for cut in ("fpn", "heads", "boxes", *CHOSEN)
    },
    "OpenVINO fp32, embed=1": ("openvino", "fp32", UINT8, "fpn"),
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
    for cut in dict.fromkeys(variant[3] for variant in VARIANTS.values()):
        export_onnx(WEIGHTS, CONFIG, out / f"{cut}.onnx", cut=cut)
    scores = {"torch": score(NetworkEngine(load_network(WEIGHTS, CONFIG), CONFIG, "cpu"), dataset, "torch")}
    for number, (name, (target, precision, dtype, cut)) in enumerate(VARIANTS.items()):
        try:
            engine = compile_and_open(target, precision, dtype, out / f"{cut}.onnx", out / str(number))
        except UsageError as error:  # such as bfloat16 on a CPU without it
            print(f"{name}: left out. {error}", file=sys.stderr)
            continue
        with engine:
            scores[name] = score(engine, dataset, name)
    tables = {
        name: {task: score.table for task, score in evaluation.scores.items()} for name, evaluation in scores.items()
    }
    rows = [
        [name, *(f"{table[task][column]:.2f}" for task in CONFIG.tasks for column in ("all", "50", "75"))]
        for name, table in tables.items()
    ]
    head = ["engine", *(f"{task} {column}" for task in CONFIG.tasks for column in ("all", ".50", ".75"))]
    print(tabulate(rows, head, tablefmt="pipe", disable_numparse=True))
    write_json(out / "accuracy.json", {"images": arguments.images, "mAP": tables})
    print(json.dumps({"written": str(out / "accuracy.json")}))


def compile_and_open(target: str, precision: str, dtype: str, onnx: Path, folder: Path) -> Engine:
    """Compile the ONNX as a run would, and open it."""
    make_folder(folder)
    found = TARGETS[target].find(DeviceRequest())
    found.require_precision(precision)
    job = CompileJob(
        onnx,
        folder / f"demo{found.model_suffix}",
        BATCH_SIZE,
        precision,
        (input_tensor(CONFIG),),
        (input_tensor(CONFIG, dtype),),
        CONFIG.preprocessing,
    )
    with (folder / "lock").open("w") as lock:
        found.compile(job, Runner(lock.fileno(), os.environ), folder / "compile.log")
    return found.open(job.model, found.npus[0])


def score(engine: Engine, dataset: CocoDataset, name: str) -> Evaluation:
    """Detect in every image through an engine, and score."""
    detector = load_detector(WEIGHTS, CONFIG, find_cut(engine.outputs, CONFIG))
    images, findings = dataset.select(), Findings(CONFIG.category_ids)
    for batch in batches(tqdm(images, desc=name, unit="image"), BATCH_SIZE):
        pixels = [decode_image(image.path) for image in batch]
        sizes = [(image.height, image.width) for image in batch]
        for image, found in zip(batch, detect_batch(pixels, engine, detector, Timings().timed, sizes)):
            findings.add(image.image_id, found)
    found_by_task = {task: findings.entries(task) for task in CONFIG.tasks}
    return evaluate(dataset.annotations, [image.image_id for image in images], found_by_task)


if __name__ == "__main__":
    main()
