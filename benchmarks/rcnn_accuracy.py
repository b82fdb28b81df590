"""mAP of an R-CNN on drawn scenes: Detectron2's own evaluation of the weights, then each way of ours to run them.

    python benchmarks/rcnn_accuracy.py --out FOLDER [--weights FILE] [--config NAME] [--images 100] [--only TEXT]

Each way is a run (`python -m yolact_ascend run`) with its own work folder in FOLDER. Rerun the same command to resume:
what is done is not done again. Detectron2 takes part when DETECTRON2_DIR is set (CONTRIBUTING.md); its figures stay in
FOLDER. Prints a table, and writes accuracy.json (`--json FILE`: there).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from tabulate import tabulate

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests")]

from journal import commit_of  # noqa: E402

from yolact_ascend.files import make_folder, read_json, sha256_file, write_json  # noqa: E402
from yolact_ascend.images.layout import find_split  # noqa: E402
from yolact_ascend.models.config import CONFIGS  # noqa: E402
from yolact_ascend.models.weights import load_network  # noqa: E402
from yolact_ascend.pipeline.demo import SEED  # noqa: E402
from yolact_ascend.scenes.scenes import draw_dataset  # noqa: E402
from yolact_ascend.targets.openvino.runtime import capabilities  # noqa: E402

DEMO = "mask_rcnn_demo_config"
SCENES = "scenes"
COLUMNS = ("all", "50", "75")
# Detectron2 pads to a square of the canvas, too: the reference; and to multiples of 32, as it does by itself.
DETECTRON2, AS_IT_IS = "Detectron2, on our canvas", "Detectron2, padded to multiples of 32"
# name -> settings of the run; the canvas is the config's where none is named
WAYS = {
    "torch": ["target=torch"],
    "ONNX Runtime": ["target=onnxruntime"],
    "OpenVINO fp32": ["target=openvino", "precision=fp32"],
    "OpenVINO bf16": ["target=openvino", "precision=bf16"],
    "OpenVINO fp16": ["target=openvino", "precision=fp16"],
    "emulated .om fp32, operators=ascend": ["target=ascend", "precision=fp32", "operators=ascend"],
    "emulated .om fp16, operators=ascend": ["target=ascend", "precision=fp16", "operators=ascend"],
    "emulated .om fp16, operators=ascend_unaligned": ["target=ascend", "precision=fp16", "operators=ascend_unaligned"],
    "emulated .om fp16, operators=onnx": ["target=ascend", "precision=fp16", "operators=onnx"],
}
SHAPES = {  # canvases on ONNX Runtime, as parts of the config's own height and width, and how pictures fit onto them
    "ONNX Runtime, canvas 1.25 times as large": (1.25, 1.25, "max"),
    "ONNX Runtime, fit=window": (1.0, 1.0, "window"),
    "ONNX Runtime, canvas 0.75 times as high, fit=window": (0.75, 1.0, "window"),
}
CELL = 32  # a canvas is a multiple of it


def main() -> None:
    """Draw, evaluate by Detectron2, run each way, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--config", default=DEMO)
    parser.add_argument("--weights", type=Path, help="default: those of the config that come with this repository")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--only", default="", help="only the ways with this text in their name")
    parser.add_argument("--json", type=Path, help="default: accuracy.json in --out")
    arguments = parser.parse_args()
    config = CONFIGS[arguments.config]
    weights = (arguments.weights or CHECKOUT / config.source.url).resolve()
    scenes = arguments.out / SCENES
    if not scenes.is_dir():
        draw_dataset(scenes, 0, arguments.images, SEED)
    scores, left_out = {}, {}
    for name, words in all_ways(config.preprocessing.height_px, config.preprocessing.width_px).items():
        if arguments.only not in name:
            continue
        try:
            if name in (DETECTRON2, AS_IT_IS):
                scores[name] = score_detectron2(config.name, weights, arguments.out, name == DETECTRON2)
            else:
                settings = [*words, f"config={config.name}", f"weights={weights}", f"coco={scenes}"]
                scores[name] = score_run(settings, arguments.out / folder_name(name))
        except LeftOut as error:
            left_out[name] = str(error)
    print(table_of(scores))
    for name, reason in left_out.items():
        print(f"- {name}: left out. {reason}")
    write_json(
        arguments.json or arguments.out / "accuracy.json",
        {
            "commit": commit_of(CHECKOUT),
            "config": config.name,
            "weights_sha256": sha256_file(weights),
            "images": arguments.images,
            "mAP": scores,
            "left_out": left_out,
        },
    )


class LeftOut(Exception):
    """A way that cannot run here; the text says why."""


def all_ways(height_px: int, width_px: int) -> dict[str, list[str]]:
    """Return the settings of each way by its name; Detectron2's have none."""
    shaped = {
        name: ["target=onnxruntime", f"canvas={in_cells(height_px * down)}x{in_cells(width_px * right)}", f"fit={fit}"]
        for name, (down, right, fit) in SHAPES.items()
    }
    return {DETECTRON2: [], AS_IT_IS: [], **WAYS, **shaped}


def in_cells(side_px: float) -> int:
    """Return the nearest length that a canvas can have."""
    return max(1, round(side_px / CELL)) * CELL


def folder_name(name: str) -> str:
    """Return a name for the work folder of a way."""
    return "".join(letter if letter.isalnum() else "_" for letter in name.lower())


def score_run(settings: list[str], out: Path) -> dict[str, dict[str, float]]:
    """Run one way with stream=1, or take what an earlier run left; return its mAP by task and IoU."""
    if "precision=bf16" in settings and "BF16" not in capabilities("CPU"):
        raise LeftOut("This CPU has no bfloat16.")
    words = [*settings, f"out={out}", "stream=1", *(["device=emulation"] if "target=ascend" in settings else [])]
    command = [sys.executable, "-m", "yolact_ascend", "run", *words]
    print(f"$ {' '.join(command)}", file=sys.stderr, flush=True)
    done = subprocess.run(command, cwd=CHECKOUT, check=False, stdout=subprocess.DEVNULL)
    if done.returncode:
        raise LeftOut(f"The run ended with exit code {done.returncode}: {' '.join(words)}")
    (result,) = read_json(out / "report.json", "the report")["results"]
    return {task: {column: result[task][column] for column in COLUMNS} for task in ("box", "mask") if result.get(task)}


def score_detectron2(config_name: str, weights: Path, out: Path, on_canvas: bool) -> dict[str, dict[str, float]]:
    """Evaluate the weights by Detectron2, or take what an earlier evaluation of them left."""
    path = out / ("detectron2_on_canvas" if on_canvas else "detectron2") / "scores.json"
    sha256 = sha256_file(weights)
    if path.is_file():
        found = json.loads(path.read_text())
        if found["weights_sha256"] == sha256:
            return dict(found["mAP"])
    if not os.environ.get("DETECTRON2_DIR"):
        raise LeftOut("DETECTRON2_DIR is not set.")
    from detectron2_evaluation import evaluate_detectron2, load_into_detectron2

    config = CONFIGS[config_name]
    state = load_network(weights, config).state_dict()
    make_folder(path.parent)
    images, annotations = find_split(out / SCENES)
    canvas_px = config.preprocessing.width_px if on_canvas else 0
    scores = evaluate_detectron2(load_into_detectron2(config, state), images, annotations, path.parent, canvas_px)
    write_json(path, {"weights_sha256": sha256, "mAP": scores})
    return scores


def table_of(scores: dict[str, dict[str, dict[str, float]]]) -> str:
    """Return the table of all ways, with how far each is from Detectron2 where that was scored."""
    tasks = ("box", "mask")
    reference = scores.get(DETECTRON2)
    rows = []
    for name, tables in scores.items():
        row = [name, *(f"{tables[task][column]:.2f}" for task in tasks if task in tables for column in COLUMNS)]
        if reference:
            row += [f"{tables[task]['all'] - reference[task]['all']:+.2f}" for task in tasks if task in tables]
        rows.append(row)
    heads = ["way", *(f"{task} {column}" for task in tasks for column in COLUMNS), *(f"Δ {task}" for task in tasks)]
    return str(tabulate(rows, heads[: max(map(len, rows), default=1)], tablefmt="pipe", disable_numparse=True))


if __name__ == "__main__":
    main()
