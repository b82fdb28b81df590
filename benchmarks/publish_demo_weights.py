"""Put the weights of a finished training of a demo config into weights/, with the scores that a test checks.

.venv/bin/python benchmarks/publish_demo_weights.py --training data/training --drawn data/drawn --seed 1
    [--earlier DIR] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from yolact_ascend.detection.tasks import MASK  # noqa: E402
from yolact_ascend.files import sha256_file, write_json  # noqa: E402
from yolact_ascend.images.coco import CocoDataset, load_dataset  # noqa: E402
from yolact_ascend.images.layout import find_split  # noqa: E402
from yolact_ascend.models.classes import config_of, read_config  # noqa: E402
from yolact_ascend.models.weights import load_network, write_weights  # noqa: E402
from yolact_ascend.scenes.scenes import draw_dataset  # noqa: E402
from yolact_ascend.training.curve import draw_curve  # noqa: E402
from yolact_ascend.training.score import score_network  # noqa: E402
from yolact_ascend.training.train import TrainingFiles, summarise  # noqa: E402

FIRST = 40  # held-out scenes that the test draws and scores


def main() -> None:
    """Score, copy, and write the note beside the weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--training", type=Path, required=True, help="--save_path of the training")
    parser.add_argument("--drawn", type=Path, required=True, help="the data set that it was trained and scored on")
    parser.add_argument("--seed", type=int, required=True, help="of that data set")
    parser.add_argument(
        "--earlier", type=Path, nargs="*", default=[], help="trainings before it, whose weights it started from"
    )
    parser.add_argument("--first", type=int, default=FIRST, help="held-out scenes that the test draws and scores")
    parser.add_argument("--out", type=Path, help="weights file to write (default: that of the config in weights/)")
    arguments = parser.parse_args()
    files = TrainingFiles(arguments.training)
    config = read_config(files.weights, config_of(None, files.weights))
    network = load_network(files.weights, config)
    image_folder, annotation_file = find_split(arguments.drawn, "val2017")
    every = score_network(network, config, load_dataset(annotation_file, image_folder))
    first = score_network(network, config, draw_first(arguments.training, arguments.first, arguments.seed))
    weights = arguments.out or CHECKOUT / config.source.url
    weights.parent.mkdir(exist_ok=True)
    write_weights(network, config, weights)
    log = join_logs([*arguments.earlier, arguments.training])
    scored = {"step": log[-1]["step"], **summarise(every)}
    draw_curve([*log, scored], weights.with_name(f"{weights.stem}_curve.png"))
    note = {
        "config": config.name,
        "seed": arguments.seed,
        "sha256": sha256_file(weights),
        "all": summarise(every),
        "all_tables": {task: score.table for task, score in every.scores.items()},
        "by_size_mask_map": dict(zip(("small", "medium", "large"), every.scores[MASK].summary[3:6])),
        "first": summarise(first),
    }
    write_json(weights.with_suffix(".json"), note)
    print(json.dumps(note, indent=2))


def draw_first(folder: Path, count: int, seed: int) -> CocoDataset:
    """Draw the first held-out scenes of the demo's data set again, into a folder inside `folder`."""
    scenes = folder / f"first_{count}"
    draw_dataset(scenes, train_images=1, val_images=count, seed=seed)
    image_folder, annotation_file = find_split(scenes, "val2017")
    return load_dataset(annotation_file, image_folder)


def join_logs(trainings: list[Path]) -> list[dict]:
    """Return the logs of trainings one after the other, their steps counted on."""
    entries: list[dict] = []
    for folder in trainings:
        begun = entries[-1]["step"] if entries else 0
        lines = TrainingFiles(folder).log.read_text().splitlines()
        entries += [{**entry, "step": begun + entry["step"]} for entry in map(json.loads, lines)]
    return entries


if __name__ == "__main__":
    main()
