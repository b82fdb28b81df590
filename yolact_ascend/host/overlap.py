"""Pictures through preparing, the device and detecting in overlapping stages, in memory: what streams are made of."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import NamedTuple, Union

import numpy as np

from yolact_ascend.detection.detections import Detections
from yolact_ascend.detection.image_matches import Matched, Truth, match_timed
from yolact_ascend.errors import DatasetError
from yolact_ascend.host.inference import input_dtype
from yolact_ascend.host.preprocess import prepare_image
from yolact_ascend.images.reader import PictureSource
from yolact_ascend.models.family import Detector
from yolact_ascend.models.inputs import OWN_SIZE
from yolact_ascend.slots import Slots, open_slots
from yolact_ascend.targets.compiled import COMPILE_IN_FLOAT32
from yolact_ascend.targets.target import Engine, Timing, batches
from yolact_ascend.timings import Timings
from yolact_ascend.workers import Workers, in_order, open_workers

AHEAD = 2  # images for each worker that are prepared or detected, beyond the batches for the devices
Size = tuple[int, int]  # height and width in pixels


class Detected(NamedTuple):
    """One picture of a stream: its detections at `size`, or None and why it has none.

    Where the source came with its truth, `matched` is how these agree.
    """

    source: PictureSource
    size: Size
    detections: Detections | None
    failure: str = ""
    matched: Matched | None = None


@dataclass
class Spent:
    """What a stream took: the host's work, and when each batch was on a device, by device."""

    host: Timings = field(default_factory=Timings)
    devices: list[list[Timing]] = field(default_factory=list)


def overlap(
    engines: Sequence[Engine],
    sources: Iterable[PictureSource],
    detector: Detector,
    batch_size: int,
    workers: int,
    spent: Spent,
    total: int | None = None,
) -> Generator[Detected, None, None]:
    """Give what is found in each picture, in their order, as it comes; `spent` is filled on the way.

    The batches take turns on the engines, each of which computes `at_once` of them side by side. No more are in memory
    than keep engines and workers busy, and no more pictures are taken from `sources` than that; `total` is how many
    there are, where that is known. A picture that cannot be decoded is given with its failure. An exception of
    `sources` comes after the pictures before it.
    Raises ToolError when a device or worker fails, ArtifactError when outputs are not finite.
    """
    spent.devices = spent.devices or [[] for _ in engines]  # a stream may go on where another has ended
    dtype = input_dtype(engines[0], detector.config)
    workers = workers if total is None else min(workers, total)
    count = batches_ahead(engines, batch_size, workers)
    count = count if total is None else min(count, -(-total // batch_size))
    with contextlib.ExitStack() as stack:
        # Pictures of any size come from this process: a slot has one size.
        inputs = () if dtype == OWN_SIZE else engines[0].inputs
        slots = stack.enter_context(open_slots(count, batch_size, inputs, detector.outputs))
        pool = stack.enter_context(open_workers(workers, _start, slots, detector, dtype))
        threads = stack.enter_context(ThreadPoolExecutor(count))
        runner = _BatchRunner(slots, pool, engines, detector, dtype, spent)
        ended: list[Exception] = []
        numbered = enumerate(batches(_until_failure(sources, ended), batch_size))
        try:
            yield from _in_order(threads, runner, numbered)
        except BaseException:  # also when nobody wants the rest
            pool.cancel()
            raise
    if ended:
        raise ended[0]


def batches_ahead(engines: Sequence[Engine], batch_size: int, workers: int) -> int:
    """Return how many batches a stream has on their way: as many as keep engines and workers busy."""
    return 2 * sum(engine.at_once for engine in engines) + -(-AHEAD * workers // batch_size)


def _until_failure(sources: Iterable[PictureSource], ended: list[Exception]) -> Iterator[PictureSource]:
    """Give the sources until there is no more, or an exception, which is put into `ended`."""
    try:
        yield from sources
    except Exception as error:  # whatever a caller's iterable raises
        ended.append(error)


def _in_order(
    threads: ThreadPoolExecutor, runner: _BatchRunner, numbered: Iterable[tuple[int, list[PictureSource]]]
) -> Iterator[Detected]:
    """Have as many batches on their way as there are slots; give the images of the oldest as soon as they are done."""
    for batch in in_order(lambda entry: threads.submit(runner.run_batch, *entry), numbered, runner.slots.count):
        yield from batch.result()


Prepared = Union[Size, str]  # of one picture: its own size, or why it cannot be read


class _BatchRunner:
    """Takes batches through preparing, device and detecting; its threads mostly wait for a worker or a device."""

    def __init__(
        self,
        slots: Slots,
        pool: Workers,
        engines: Sequence[Engine],
        detector: Detector,
        dtype: str,
        spent: Spent,
    ) -> None:
        self.slots = slots
        self._pool = pool
        self._engines = engines
        self._detector = detector
        self._dtype = dtype
        self._spent = spent
        self._free: SimpleQueue[int] = SimpleQueue()
        for slot in range(slots.count):
            self._free.put(slot)
        self._turns = [threading.Semaphore(engine.at_once) for engine in engines]
        self._counting = threading.Lock()

    def run_batch(self, number: int, sources: Sequence[PictureSource]) -> list[Detected]:
        """Prepare, infer and detect the pictures of a batch."""
        slot = self._free.get()
        try:
            own_size: list[np.ndarray] = []
            prepared = self._prepare(slot, sources, own_size)
            if not all(isinstance(each, str) for each in prepared):
                device = number % len(self._engines)
                images = [each[None] for each in own_size] or None  # such models take one at a time
                with self._turns[device]:
                    timing = self._engines[device].infer_slot(self.slots, slot, len(sources), images)
                self._spent.devices[device].append(timing)
            return self._detect(slot, sources, prepared)
        finally:
            self._free.put(slot)

    def _prepare(self, slot: int, sources: Sequence[PictureSource], own_size: list[np.ndarray]) -> list[Prepared]:
        """Put the pictures into the slot, or into `own_size` where the model takes them in their own.

        The place of one that cannot be read keeps what lay there before.
        """
        calls: dict[int, Future[tuple[Size, Timings]]] = {}
        if self._dtype != OWN_SIZE:
            for place, source in enumerate(sources):
                if source.is_encoded:
                    calls[place] = self._pool.submit(_prepare_in_worker, source, slot, place)
        prepared: list[Prepared] = []
        for place, source in enumerate(sources):
            try:
                if place in calls:
                    size, spent = self._pool.result(calls[place])
                else:  # pixels: to send them to a worker takes as long as the work
                    size, spent = self._prepare_here(source, slot, place, own_size)
            except DatasetError as error:
                prepared.append(str(error))
                continue
            self._count(spent)
            prepared.append(size)
        return prepared

    def _prepare_here(
        self, source: PictureSource, slot: int, place: int, own_size: list[np.ndarray]
    ) -> tuple[Size, Timings]:
        if self._dtype != OWN_SIZE:
            return _prepare(self.slots, self._detector, self._dtype, source, slot, place)
        timings = Timings()
        inputs, size = prepare_image(source, self._detector.config, self._dtype, timings)
        own_size.extend(inputs)
        return size, timings

    def _detect(self, slot: int, sources: Sequence[PictureSource], prepared: Sequence[Prepared]) -> list[Detected]:
        sizes = {place: sources[place].size or own for place, own in enumerate(prepared) if not isinstance(own, str)}
        calls = {
            place: self._pool.submit(_detect_in_worker, slot, place, size, sources[place].name, sources[place].truth)
            for place, size in sizes.items()
        }
        found = []
        for place, (source, own) in enumerate(zip(sources, prepared)):
            if isinstance(own, str):
                found.append(Detected(source, (0, 0), None, own))
                continue
            detections, matched, spent = self._pool.result(calls[place])
            self._count(spent)
            found.append(Detected(source, sizes[place], detections, matched=matched))
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


def _prepare_in_worker(source: PictureSource, slot: int, place: int) -> tuple[Size, Timings]:
    return _prepare(_slots, _detector, _dtype, source, slot, place)


def _prepare(
    slots: Slots, detector: Detector, dtype: str, source: PictureSource, slot: int, place: int
) -> tuple[Size, Timings]:
    """Put the network's inputs for a picture into its place of a slot; returns the picture's own size."""
    timings = Timings()
    inputs, size = prepare_image(source, detector.config, dtype, timings)
    for batch, prepared in zip(slots.images(slot), inputs):
        room = batch[place].reshape(-1).view(np.uint8)
        room[:] = np.frombuffer(np.ascontiguousarray(prepared), np.uint8)
    return size, timings


def _detect_in_worker(
    slot: int, place: int, size: Size, name: str, truth: Truth | None
) -> tuple[Detections, Matched | None, Timings]:
    timings = Timings()
    outputs = [output[place] for output in _slots.results(slot)]
    found = _detector.detect(outputs, *size, f"The outputs for {name}", f"{COMPILE_IN_FLOAT32}.", timings)
    return found, match_timed(truth, found, timings), timings
