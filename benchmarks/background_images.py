"""Whether images without objects teach: fine-tune the demo's weights with and without `background_negatives`.

    python benchmarks/background_images.py BACKGROUNDS --out FOLDER [--steps 100] [--seeds 0 1] [--negatives 0 6 24]

BACKGROUNDS is a folder of images that show none of the demo's classes, such as photographs. Half of them join drawn
scenes for training, the others are held out. Prints false positives (score >= 0.3) on each held-out image and mAP on
held-out scenes, before and after. The same command resumes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import cv2

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from torch import nn  # noqa: E402

from yolact_ascend.detection.thresholds import EVALUATION_SETTINGS  # noqa: E402
from yolact_ascend.host.inference import detect_batch  # noqa: E402
from yolact_ascend.images.coco import CocoDataset, load_dataset  # noqa: E402
from yolact_ascend.images.decode import decode_image, find_images  # noqa: E402
from yolact_ascend.models.config import CONFIGS, DEMO_CONFIG  # noqa: E402
from yolact_ascend.models.families import family_of  # noqa: E402
from yolact_ascend.models.weights import load_network  # noqa: E402
from yolact_ascend.scenes.scenes import draw_dataset  # noqa: E402
from yolact_ascend.timings import Timings  # noqa: E402
from yolact_ascend.training.recipe import Phase, Recipe  # noqa: E402
from yolact_ascend.training.samples import TrainingSet  # noqa: E402
from yolact_ascend.training.score import NetworkEngine, score_network  # noqa: E402
from yolact_ascend.training.train import TrainingFiles, train  # noqa: E402

CONFIG = CONFIGS[DEMO_CONFIG]
WEIGHTS = CHECKOUT / CONFIG.source.url
LEAST_SCORE = 0.3
TRAINING_SCENES, HELD_OUT_SCENES = 96, 200


def main() -> None:
    """Train with each rule and seed, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backgrounds", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--size", type=int, default=550)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--negatives", type=int, nargs="+", default=[0, 6, 24])
    parser.add_argument("--learning_rate", type=float, default=1e-4)
    arguments = parser.parse_args()
    dataset, scenes, held_out = make_data(arguments.backgrounds, arguments.out)
    print("| weights | seed | false positives an image | box mAP | mask mAP | minutes |\n|---|---|---:|---:|---:|---:|")
    print(row("as published", "", load_network(WEIGHTS, CONFIG), scenes, held_out, 0.0), flush=True)
    for seed in arguments.seeds:
        for negatives in arguments.negatives:
            folder = arguments.out / f"seed{seed}_negatives{negatives}"
            recipe = Recipe(
                (Phase(arguments.size, 8, arguments.steps),),
                learning_rate=arguments.learning_rate,
                warmup_steps=arguments.steps // 10,
                decay="cosine",
                clip_norm=10,
                background_negatives=negatives,
                seed=seed,
            )
            begin = time.monotonic()
            train(CONFIG, recipe, TrainingSet(dataset, CONFIG.category_ids), folder, pretrained=WEIGHTS, workers=1)
            minutes = (time.monotonic() - begin) / 60
            network = load_network(TrainingFiles(folder).weights, CONFIG)
            print(row(f"background_negatives={negatives}", str(seed), network, scenes, held_out, minutes), flush=True)


def make_data(backgrounds: Path, out: Path) -> tuple[CocoDataset, CocoDataset, list[Path]]:
    """Return scenes with half of the backgrounds to train on, held-out scenes, and held-out backgrounds."""
    drawn = out / "drawn"
    if not (drawn / "annotations").is_dir():
        with tempfile.TemporaryDirectory(dir=out.parent) as folder:
            draw_dataset(Path(folder) / "drawn", TRAINING_SCENES, HELD_OUT_SCENES, 7)
            add_backgrounds(find_images(backgrounds)[::2], Path(folder) / "drawn")
            shutil.copytree(Path(folder) / "drawn", drawn)
    load = {split: (drawn / "annotations" / f"instances_{split}.json", drawn / split) for split in SPLITS}
    return load_dataset(*load["train2017"]), load_dataset(*load["val2017"]), find_images(backgrounds)[1::2]


SPLITS = ("train2017", "val2017")


def add_backgrounds(pictures: list[Path], drawn: Path) -> None:
    """Put pictures without objects among the training scenes."""
    file = drawn / "annotations" / "instances_train2017.json"
    data = json.loads(file.read_text())
    for number, picture in enumerate(pictures, start=10**6):
        name = f"{number}{picture.suffix}"
        shutil.copy(picture, drawn / "train2017" / name)
        height, width = cv2.imread(str(picture)).shape[:2]
        data["images"].append({"id": number, "file_name": name, "width": width, "height": height})
    file.write_text(json.dumps(data))


def row(name: str, seed: str, network: nn.Module, scenes: CocoDataset, held_out: list[Path], minutes: float) -> str:
    """Return a line of the table."""
    engine = NetworkEngine(network, CONFIG, "cpu")
    detector = family_of(CONFIG).make_detector(CONFIG, engine.cut, None, EVALUATION_SETTINGS, 1)
    false_positives = 0
    for path in held_out:
        (found,) = detect_batch([decode_image(path)], engine, detector, Timings().timed)
        false_positives += int((found.scores >= LEAST_SCORE).sum())
    scores = score_network(network, CONFIG, scenes).scores
    box, mask = (scores[task].table["all"] for task in ("box", "mask"))
    return f"| {name} | {seed} | {false_positives / len(held_out):.2f} | {box:.2f} | {mask:.2f} | {minutes:.1f} |"


if __name__ == "__main__":
    main()
