"""`stream`: images through preparing, the device and detecting in overlapping stages, in memory, nothing on disk."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from tqdm import tqdm

from yolact_ascend.detection.detections import Detections
from yolact_ascend.detection.results import Findings, ResultsFiles
from yolact_ascend.errors import DatasetError
from yolact_ascend.host.inference import input_dtype
from yolact_ascend.host.preprocess import prepare_image
from yolact_ascend.images.coco import CocoDataset, CocoImage
from yolact_ascend.images.pictures import look_at
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.family import Detector
from yolact_ascend.models.inputs import OWN_SIZE, UINT8
from yolact_ascend.slots import Slots, open_slots
from yolact_ascend.targets.compiled import COMPILE_IN_FLOAT32
from yolact_ascend.targets.target import Engine, Timing, batches
from yolact_ascend.tensors import TensorSpec
from yolact_ascend.timings import Timings
from yolact_ascend.workers import Workers, in_order, open_workers

if TYPE_CHECKING:
    from yolact_ascend.detection.evaluate import Evaluation

NAMED = 5  # images that a message lists
AHEAD = 2  # images for each worker that are prepared or detected, beyond the batches for the devices


class Found(NamedTuple):
    """One image of a stream: its detections, or None and why it has none."""

    image: CocoImage
    detections: Detections | None
    failure: str = ""


@dataclass
class Spent:
    """What a stream took: the host's work, and when each batch was on a device, by device."""

    host: Timings = field(default_factory=Timings)
    devices: list[list[Timing]] = field(default_factory=list)


def stream(
    engines: Sequence[Engine],
    images: Sequence[CocoImage],
    detector: Detector,
    batch_size: int,
    workers: int,
    spent: Spent,
) -> Generator[Found, None, None]:
    """Give what is found in each image, in their order, as it comes; `spent` is filled on the way.

    The batches take turns on the engines. No more are in memory than keep the workers busy. An image that
    cannot be decoded is given with its failure.
    Raises ToolError when a device or worker fails, ArtifactError when outputs are not finite.
    """
    spent.devices = [[] for _ in engines]
    dtype = input_dtype(engines[0], detector.config)
    workers = min(workers, len(images))
    of_all = -(-len(images) // batch_size)
    count = min(2 * len(engines) + -(-AHEAD * workers // batch_size), of_all)
    with contextlib.ExitStack() as stack:
        inputs = _own_size_inputs(images) if dtype == OWN_SIZE else engines[0].inputs
        slots = stack.enter_context(open_slots(count, batch_size, inputs, detector.outputs))
        pool = stack.enter_context(open_workers(workers, _start, slots, detector, dtype))
        threads = stack.enter_context(ThreadPoolExecutor(count))
        runner = _BatchRunner(slots, pool, engines, spent)
        numbered = enumerate(batches(images, batch_size))
        try:
            yield from tqdm(_in_order(threads, runner, numbered), desc="stream", unit="image", total=len(images))
        except BaseException:  # also when nobody wants the rest
            pool.cancel()
            raise


def _in_order(
    threads: ThreadPoolExecutor, runner: _BatchRunner, numbered: Iterable[tuple[int, list[CocoImage]]]
) -> Iterator[Found]:
    """Have as many batches on their way as there are slots; give the images of the oldest as soon as they are done."""
    for batch in in_order(lambda entry: threads.submit(runner.run_batch, *entry), numbered, runner.slots.count):
        yield from batch.result()


@dataclass(frozen=True)
class Streamed:
    """A finished stream: its scores, and what it took."""

    evaluation: Evaluation
    failed: tuple[CocoImage, ...]
    seconds: float  # from the start of the workers to the last detection; the models were loaded
    spent: Spent

    def to_json(self) -> dict[str, Any]:
        """Return the value as the scores file holds it."""
        return {
            **self.evaluation.to_json(),
            "host": self.spent.host.to_json(),
            "failed": [image.image_id for image in self.failed],
            "stream_seconds": round(self.seconds, 3),
        }

    def describe(self) -> str:
        """Return the speed, and what failed."""
        count = self.evaluation.images
        lines = [f"{count} images, {count / self.seconds:.2f} images/s from the files to the detections"]
        if self.failed:
            names = ", ".join(image.path.name for image in self.failed[:NAMED])
            lines.append(f"{len(self.failed)} more could not be decoded and are not scored: {names}")
        return "\n".join(lines)


def score_stream(
    found: Iterable[Found],
    dataset: CocoDataset,
    config: ModelConfig,
    files: Mapping[str, Path],
    spent: Spent,
) -> Streamed:
    """Write what a stream finds as COCO results files, by task, and score it.

    An image that failed is named, and not scored. When the user interrupts, the files hold the images done until then.
    Raises DatasetError when every image failed.
    """
    from yolact_ascend.detection.evaluate import evaluate  # here: the workers do without

    scored: list[int] = []
    failed: list[CocoImage] = []
    findings = Findings(config.category_ids)
    start = time.perf_counter()
    with ResultsFiles(files, config.category_ids) as results:
        try:
            for image, detections, failure in found:
                if detections is None:
                    failed.append(image)
                    tqdm.write(f"failed: {failure}", file=sys.stderr)
                    continue
                results.add(image.image_id, detections)
                findings.add(image.image_id, detections)
                scored.append(image.image_id)
        except KeyboardInterrupt:
            for number in (signal.SIGINT, signal.SIGTERM):  # the first was heard; now the files are finished
                signal.signal(number, signal.SIG_IGN)
            results.finish()
            raise KeyboardInterrupt(
                f"{' and '.join(map(str, files.values()))} hold the {len(scored)} images done so far; "
                "the same command begins with the first one again."
            ) from None
        seconds = time.perf_counter() - start
        if not scored:
            raise DatasetError(f"None of the {len(failed)} images could be decoded; the first: {failed[0].path}.")
    with spent.host.timed("eval"):
        evaluation = evaluate(dataset.truth, scored, {task: findings.entries(task) for task in files})
    return Streamed(evaluation, tuple(failed), seconds, spent)


class _BatchRunner:
    """Takes batches through preparing, device and detecting; its threads mostly wait for a worker or a device."""

    def __init__(self, slots: Slots, pool: Workers, engines: Sequence[Engine], spent: Spent) -> None:
        self.slots = slots
        self._pool = pool
        self._engines = engines
        self._spent = spent
        self._free: SimpleQueue[int] = SimpleQueue()
        for slot in range(slots.count):
            self._free.put(slot)
        self._turns = [threading.Lock() for _ in engines]
        self._counting = threading.Lock()

    def run_batch(self, number: int, images: Sequence[CocoImage]) -> list[Found]:
        """Prepare, infer and detect the images of a batch."""
        slot = self._free.get()
        try:
            failures = self._prepare(slot, images)
            if len(failures) < len(images):
                device = number % len(self._engines)
                with self._turns[device]:
                    timing = self._engines[device].infer_slot(self.slots, slot, len(images))
                self._spent.devices[device].append(timing)
            return self._detect(slot, images, failures)
        finally:
            self._free.put(slot)

    def _prepare(self, slot: int, images: Sequence[CocoImage]) -> dict[int, str]:
        """Put the images into the slot; return why those that cannot be read cannot, by their place."""
        failures = {}
        calls = [self._pool.submit(_prepare_in_worker, image, slot, place) for place, image in enumerate(images)]
        for place, call in enumerate(calls):
            try:
                spent = self._pool.result(call)
            except DatasetError as error:  # its place in the batch keeps what lay there before
                failures[place] = str(error)
                continue
            self._count(spent)
        return failures

    def _detect(self, slot: int, images: Sequence[CocoImage], failures: dict[int, str]) -> list[Found]:
        calls = {
            place: self._pool.submit(_detect_in_worker, slot, place, image)
            for place, image in enumerate(images)
            if place not in failures
        }
        found = []
        for place, image in enumerate(images):
            if place in failures:
                found.append(Found(image, None, failures[place]))
                continue
            detections, spent = self._pool.result(calls[place])
            self._count(spent)
            found.append(Found(image, detections))
        return found

    def _count(self, spent: Timings) -> None:
        with self._counting:
            self._spent.host.add(spent)


# Of this worker.
_slots: Slots
_detector: Detector
_dtype: str


def _start(slots: Slots, detector: Detector, dtype: str) -> None:
    global _slots, _detector, _dtype
    _slots, _detector, _dtype = slots, detector, dtype


def _prepare_in_worker(image: CocoImage, slot: int, place: int) -> Timings:
    timings = Timings()
    prepared = prepare_image(image, _detector.config.preprocessing, _dtype, timings)
    images, *sizes = _slots.images(slot)  # all families have one input
    pixels = np.frombuffer(np.ascontiguousarray(prepared), np.uint8)
    room = images[place].reshape(-1).view(np.uint8)
    room[: pixels.size] = pixels
    if sizes:
        sizes[0][place] = prepared.shape[:2]
    return timings


def _own_size_inputs(images: Sequence[CocoImage]) -> tuple[TensorSpec, TensorSpec]:
    """Return what a slot holds of an image of any size: its pixels, as many as the largest one has, and its size."""
    areas = [width * height for image in images for width, height in [look_at(image.path).shown]]
    return TensorSpec("pixels", (3 * max(areas),), UINT8), TensorSpec("size", (2,), "int32")


def _detect_in_worker(slot: int, place: int, image: CocoImage) -> tuple[Detections, Timings]:
    timings = Timings()
    outputs = [output[place] for output in _slots.results(slot)]
    found = _detector.detect(
        outputs, image.height, image.width, f"The outputs for {image.path}", f"{COMPILE_IN_FLOAT32}.", timings
    )
    return found, timings
