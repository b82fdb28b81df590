"""What the Python API costs beside what it stands on: `model.stream` and the verb `stream`, a call and its parts.

    python benchmarks/python_api.py --model FILE --images DIR --annotations FILE [--rounds 5] [--calls 100]

Each round measures both in turn, on the same images and the same model; ratios are within a round. Wall time, and the
CPU time of this process and its workers. For an idle machine.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

import numpy as np  # noqa: E402
from tabulate import tabulate  # noqa: E402

from yolact_ascend.detection.thresholds import EVALUATION_SETTINGS  # noqa: E402
from yolact_ascend.host.inference import detect_batch, input_dtype  # noqa: E402
from yolact_ascend.host.loading import ModelRequest, choose_model  # noqa: E402
from yolact_ascend.host.model import Model  # noqa: E402
from yolact_ascend.host.overlap import Spent  # noqa: E402
from yolact_ascend.host.stream import score_stream, scored_sources  # noqa: E402
from yolact_ascend.images.coco import CocoDataset, load_dataset  # noqa: E402
from yolact_ascend.images.decode import decode_image  # noqa: E402
from yolact_ascend.images.pictures import verify  # noqa: E402
from yolact_ascend.images.transforms import prepare_pixels  # noqa: E402
from yolact_ascend.models.config import ModelConfig  # noqa: E402

Used = tuple[float, float]  # wall and CPU seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=100)
    arguments = parser.parse_args()
    chosen = choose_model(ModelRequest(arguments.model))
    dataset, config = verify(
        load_dataset(arguments.annotations, arguments.images), chosen.config, False, arguments.limit
    )
    with chosen.open(EVALUATION_SETTINGS) as model:
        print(model, f"{len(dataset.images)} images")
        print(compare_streams(model, dataset, config, arguments.rounds))
        print(compare_calls(model, dataset, arguments.calls))


def compare_streams(model: Model, dataset: CocoDataset, config: ModelConfig, rounds: int) -> str:
    """Return a table of images/s; the verb's time ends with its last detection, before the scores."""
    paths = [image.path for image in dataset.images]

    def by_verb() -> Used:
        spent = Spent()
        sources = scored_sources(dataset, config)
        with tempfile.TemporaryDirectory() as folder:
            files = {task: Path(folder, f"{task}.json") for task in config.tasks}
            start = used()
            with contextlib.closing(model.overlap(sources, spent, None, len(paths))) as found:
                streamed = score_stream(found, dataset, config, files, spent)
            _, cpu = since(start)
        return streamed.seconds, cpu - spent.host.seconds["eval"]

    def by_api() -> Used:
        start = used()
        for _ in model.stream(paths):
            pass
        return since(start)

    verb, api = in_turns(by_verb, by_api, rounds)
    rows = [
        (
            name,
            *(len(paths) / statistics.median(wall for wall, _ in found) for found in [seconds]),
            cpu_ms(seconds, paths),
        )
        for name, seconds in (("verb stream", verb), ("model.stream", api))
    ]
    ratio = statistics.median(ours / its for (its, _), (ours, _) in zip(verb, api))
    cpu = statistics.median(ours / its for (_, its), (_, ours) in zip(verb, api))
    table = tabulate(rows, headers=("", "images/s", "CPU ms per image"), floatfmt=".2f")
    return f"\n{table}\nmodel.stream / verb: {1 / ratio:.3f} of its images/s, {cpu:.3f} of its CPU time\n"


class Replaying:
    """Engine that gives outputs it has computed before: what differs between runs of a network would hide the rest."""

    def __init__(self, model: Model, pixels: np.ndarray) -> None:
        engine = model._engines[0]
        self.inputs, self.outputs, self.batch_size = engine.inputs, engine.outputs, engine.batch_size
        dtype = input_dtype(engine, model.config)
        self._found = engine.infer([prepare_pixels(pixels, model.config.preprocessing, dtype)[None]])

    def infer(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the outputs of the picture."""
        return self._found


def compare_calls(model: Model, dataset: CocoDataset, calls: int) -> str:
    """Return what a call of the model takes beyond preparing, engine and detector, for pixels that are decoded."""
    detector = model._detector
    wall, cpu, whole = [], [], []
    for number in range(calls):
        pixels = decode_image(dataset.images[number % len(dataset.images)].path)
        engine = Replaying(model, pixels)
        replaying = Model([engine], detector)  # type: ignore[list-item]

        def parts(engine: Replaying = engine, pixels: np.ndarray = pixels) -> Used:
            start = time.perf_counter(), time.process_time()
            detect_batch([pixels], engine, detector, contextlib.nullcontext)  # type: ignore[arg-type]
            return time.perf_counter() - start[0], time.process_time() - start[1]

        def call(replaying: Model = replaying, pixels: np.ndarray = pixels) -> Used:
            start = time.perf_counter(), time.process_time()
            replaying(pixels)
            return time.perf_counter() - start[0], time.process_time() - start[1]

        their, ours = in_turns(parts, call, 5)
        wall.append(1000 * (min(each for each, _ in ours) - min(each for each, _ in their)))
        cpu.append(1000 * (min(each for _, each in ours) - min(each for _, each in their)))
        whole.append(1000 * min(each for each, _ in their))
    medians = map(statistics.median, (wall, cpu, whole))
    return "a call beyond its parts: {:.2f} ms wall, {:.2f} ms CPU; the parts without the network: {:.1f} ms".format(
        *medians
    )


def in_turns(first: Callable[[], Used], second: Callable[[], Used], rounds: int) -> tuple[list[Used], list[Used]]:
    """Measure both in each round; every other round begins with the second."""
    found: tuple[list[Used], list[Used]] = ([], [])
    for number in range(rounds):
        pairs = [(first, found[0]), (second, found[1])]
        for measure, results in reversed(pairs) if number % 2 else pairs:
            results.append(measure())
    return found


def used() -> Used:
    """Return the time now, and the CPU time so far of this process and of its children that have ended."""
    times = os.times()
    return time.perf_counter(), sum(times[:4])


def since(start: Used) -> Used:
    """Return wall and CPU seconds since then."""
    return tuple(now - then for now, then in zip(used(), start))  # type: ignore[return-value]


def cpu_ms(seconds: list[Used], images: list[Path]) -> float:
    """Return the median CPU time per image in ms."""
    return 1000 * statistics.median(cpu for _, cpu in seconds) / len(images)


if __name__ == "__main__":
    main()
