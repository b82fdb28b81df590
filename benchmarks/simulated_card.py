"""The stream beside a simulated card of N images/s: where the host becomes the limit. A simulation, not a card's speed.

    python benchmarks/simulated_card.py --coco DIR [--cut CUT] [--trained_model FILE] [--speeds 50 100 ...]
        [--cores 1 2] [--images 400] [--json FILE]

The card takes 1/N s for each image, one batch after the other, and then gives outputs that ONNX Runtime computed
before, of a few photographs in turn. All else is the real stream: files are decoded and resized to uint8, detections
are written as results files, in as many worker processes as cores. Their copies out of the card count as the host's
work. The first fifth of the images, in which the workers start, is left out. `host alone` is a card that takes no time;
`overlap` is the speed over the smaller of host and card, `core-ms` the CPU time of all processes per image. Memory is
the peak of all processes together (PSS).

Weights are random ones of ResNet-50 unless named; these find about 100 instances in every image, the most there can be.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests"), str(CHECKOUT / "benchmarks")]

from host_memory import MB, family, watch  # noqa: E402
from tabulate import tabulate  # noqa: E402

from yolact_ascend.cores import count_cores  # noqa: E402
from yolact_ascend.detection.results import ResultsFiles  # noqa: E402
from yolact_ascend.files import write_json  # noqa: E402
from yolact_ascend.host.overlap import Spent, overlap  # noqa: E402
from yolact_ascend.host.preprocess import prepare_image  # noqa: E402
from yolact_ascend.images.coco import CocoDataset, load_dataset  # noqa: E402
from yolact_ascend.images.layout import find_split  # noqa: E402
from yolact_ascend.images.reader import source_of_image  # noqa: E402
from yolact_ascend.models.config import DEFAULT_CONFIG, ModelConfig, get_config  # noqa: E402
from yolact_ascend.models.detector import load_detector  # noqa: E402
from yolact_ascend.models.inputs import FLOAT32, UINT8, input_tensors  # noqa: E402
from yolact_ascend.slots import Slots  # noqa: E402
from yolact_ascend.targets.folder import output_bin  # noqa: E402
from yolact_ascend.targets.target import OneByOne, Timing  # noqa: E402
from yolact_ascend.tensors import TensorSpec, read_tensor  # noqa: E402
from yolact_ascend.timings import Timings  # noqa: E402

REPLAYED = 16  # images whose outputs the card has
STARTING = 0.2  # of the images, in which the workers start
HOST = math.inf  # images/s of a card that takes no time


class SimulatedCard(OneByOne):
    """An engine that waits and then gives outputs from a folder, whatever it is asked."""

    def __init__(self, config: ModelConfig, outputs: Sequence[TensorSpec], folder: Path, images_per_s: float) -> None:
        self.inputs, self.outputs = tuple(input_tensors(config, UINT8)), tuple(outputs)
        self._image_s = 1 / images_per_s

        def replayed(image: int) -> list[np.ndarray]:
            return [np.array(read_tensor(output_bin(folder, image, k), spec)) for k, spec in enumerate(outputs)]

        self._images = itertools.cycle([replayed(image) for image in range(REPLAYED)])

    def infer_slot(self, slots: Slots, slot: int, count: int, images: Sequence[np.ndarray] | None = None) -> Timing:
        """Give the next outputs, after the time that the card takes for them."""
        start = time.perf_counter()
        for place in range(count):
            for batch, output in zip(slots.results(slot), next(self._images)):
                batch[place] = output
        end = start + count * self._image_s
        time.sleep(max(0.0, end - time.perf_counter()))
        return 1000 * start, 1000 * time.perf_counter()


def main() -> None:
    """Compute outputs, measure each speed on each number of cores in a process of its own, and print the tables."""
    args = parse_args()
    if args.speed is not None:
        print(json.dumps(measure(args)))
        return
    with tempfile.TemporaryDirectory(dir=args.scratch) as name:
        folder = Path(name)
        compute_outputs(args, folder)
        found = [
            run_alone(args, folder, cores, speed)
            for cores in args.cores
            for speed in (HOST, *args.speeds)
            if cores <= count_cores()
        ]
    host = {row["cores"]: row["images_per_s"] for row in found if row["card"] == HOST}
    for row in found:
        row["overlap"] = row["images_per_s"] / min(row["card"], host[row["cores"]])
    print(f"Simulated card, cut {args.cut}, {args.images} photographs, batch {args.batch_size}:")
    print(tabulate([format_row(row) for row in found], ["cores", "card", "images/s", "overlap", "core-ms", "peak MB"]))
    if args.json:
        rows = [{**row, "card": "none" if row["card"] == HOST else row["card"]} for row in found]
        write_json(args.json, {"simulation": True, "cut": args.cut, "images": args.images, "results": rows})


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coco", type=Path, required=True, help="COCO folder with val2017 and annotations")
    parser.add_argument("--config", default=DEFAULT_CONFIG)
    parser.add_argument("--cut", default="detections")
    parser.add_argument("--trained_model", type=Path, help="weights (default: random ones)")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--images", type=int, default=400, help="photographs that are streamed, the same ones again")
    parser.add_argument("--speeds", type=float, nargs="+", default=[25, 50, 75, 100, 150, 200, 300])
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--scratch", type=Path, help="where the outputs go, up to 0.2 GB")
    parser.add_argument("--json", type=Path, help="also write the result here")
    parser.add_argument("--outputs", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--speed", type=float, help=argparse.SUPPRESS)  # of one measurement, in this process
    return parser.parse_args()


def load_images(coco: Path) -> CocoDataset:
    """Return the photographs."""
    image_folder, annotation_file = find_split(coco)
    return load_dataset(annotation_file, image_folder)


def compute_outputs(args: argparse.Namespace, folder: Path) -> None:
    """Write the network's outputs for the first photographs."""
    import torch
    from factories import random_state_dict

    from yolact_ascend.models.export import export_onnx
    from yolact_ascend.targets.onnxruntime.engine import OnnxEngine

    config, weights, model = get_config(args.config), args.trained_model, folder / "model.onnx"
    if weights is None:
        weights = folder / "weights.pth"
        torch.save(random_state_dict(config), weights)
    export_onnx(weights, config, model, cut=args.cut)
    with OnnxEngine(model) as engine:
        for number, image in enumerate(load_images(args.coco).images[:REPLAYED]):
            inputs, _ = prepare_image(source_of_image(image), config, FLOAT32, Timings())
            for k, output in enumerate(engine.infer([array[None] for array in inputs])):
                output[0].tofile(output_bin(folder, number, k))


def run_alone(args: argparse.Namespace, folder: Path, cores: int, speed: float) -> dict:
    """Measure one speed in a new process; return what it found and its peak of memory."""
    names = ["coco", "config", "cut", "batch_size", "images", *(["trained_model"] if args.trained_model else [])]
    words = [f"--{name}={getattr(args, name)}" for name in names]
    command = [sys.executable, __file__, *words, f"--cores={cores}", f"--speed={speed}", f"--outputs={folder}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    course = watch(process)
    assert process.stdout is not None
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with exit code {process.returncode}.")
    return {**json.loads(process.stdout.read()), "peak_mb": max(size for _, size in course) / MB}


def measure(args: argparse.Namespace) -> dict:
    """Stream the photographs through a card of one speed, on the first cores of this machine."""
    [cores] = args.cores
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    config, images = get_config(args.config), load_images(args.coco).images
    detector = load_detector(args.trained_model or Path(), config, args.cut)
    card = SimulatedCard(config, detector.outputs, args.outputs, args.speed)
    spent, ends = Spent(), []
    # The last of a batch, whose images come together.
    start = max(0, int(STARTING * args.images) // args.batch_size * args.batch_size - 1)
    sources = [source_of_image(images[number % len(images)]) for number in range(args.images)]
    files = {task: args.outputs / f"{task}.json" for task in config.tasks}
    with ResultsFiles(files, config.category_ids) as results:
        found = overlap([card], sources, detector, args.batch_size, cores, spent, len(sources))
        for number, (_, _, detections, failure) in enumerate(found):
            if detections is None:
                raise SystemExit(failure)
            results.add(number, detections)
            ends.append(time.perf_counter())
            if number == start:
                started_s = cpu_seconds()
            if number == args.images - 1:
                cpu_s = cpu_seconds() - started_s
    images_done = len(ends) - 1 - start
    return {
        **{"cores": cores, "card": args.speed, "images_per_s": images_done / (ends[-1] - ends[start])},
        **{"core_ms": 1000 * cpu_s / images_done, "core_ms_of_steps": spent.host.ms_per_image()},
    }


def cpu_seconds() -> float:
    """Return the CPU time of this process, its workers and those that have ended, so far."""
    total = 0
    for pid in family(os.getpid()):
        with contextlib.suppress(OSError):  # it has ended
            total += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
    return total / os.sysconf("SC_CLK_TCK")


def format_row(row: dict) -> list[str]:
    """Return a row of the table."""
    card = "host alone" if row["card"] == HOST else f"{row['card']:g}"
    numbers = (f"{row['images_per_s']:.1f}", f"{row['overlap']:.0%}", f"{row['core_ms']:.1f}", f"{row['peak_mb']:.0f}")
    return [str(row["cores"]), card, *numbers]


if __name__ == "__main__":
    main()
