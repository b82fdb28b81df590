"""A model of the Python API: engines and a detector, from pictures to what is found in them."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, overload

import numpy as np

from yolact_ascend.cores import count_cores
from yolact_ascend.detection.detections import Detections, keep_scores
from yolact_ascend.errors import DatasetError, UsageError
from yolact_ascend.flags import MAX_WORKERS
from yolact_ascend.host import arguments
from yolact_ascend.host.found import Found
from yolact_ascend.host.inference import detect_batch, input_dtype, prepare_batch, require_fit
from yolact_ascend.host.overlap import Detected, Spent, batches_ahead, overlap
from yolact_ascend.images.reader import Picture, PictureSource, take_picture
from yolact_ascend.models.config import ModelConfig
from yolact_ascend.models.family import Detector
from yolact_ascend.targets.layer_times import LayerTime, layer_times, require_layer_times
from yolact_ascend.targets.target import Engine, batches

AnyPicture = TypeVar("AnyPicture", bound=Picture)
ONE_PICTURE = (str, os.PathLike, bytes, bytearray, memoryview)
FRAMES_NDIM = 4  # of an array of several pictures [B,H,W,3]
Timed = Callable[[str], AbstractContextManager[Any]]


class Model:
    """A model in memory, on one device or several; `load` makes it. Use it in a `with` block, or call `close`.

    Threads may share it: each gets the answer to its own picture. Results are copies, and pictures are not changed.
    It stays in the process that loaded it.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        detector: Detector,
        batch_size: int | None = None,
        path: Path = Path(),
        devices: Sequence[str] = ("",),
        remark: str = "",
        close: Callable[[], object] = lambda: None,
    ) -> None:
        """Take engines of one model and the host's part behind it; `batch_size` is for a model that takes any.

        `devices` are those of the engines in words, which a `remark` on the model may follow.
        `close` is called once, at the end.
        """
        self.path = path
        self.devices = tuple(devices)  # each in words
        self.device = "; ".join(devices) + remark  # all of them
        self.batch_size: int = engines[0].batch_size or batch_size or 1
        self._engines, self._detector, self._close = engines, detector, close
        self._turns = itertools.cycle(range(len(engines)))
        self._changing = threading.Condition()
        self._is_closed, self._users = False, 0
        self._streams: weakref.WeakSet[Generator[Detected, None, None]] = weakref.WeakSet()
        self._pid = os.getpid()

    @property
    def config(self) -> ModelConfig:
        """The network as a value: its classes, its input, its anchors."""
        return self._detector.config

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes [K]."""
        return self.config.class_names

    @overload
    def __call__(self, picture: list[AnyPicture] | tuple[AnyPicture, ...]) -> list[Found]: ...

    @overload
    def __call__(self, picture: Picture) -> Found: ...

    def __call__(self, picture: Picture | list[AnyPicture] | tuple[AnyPicture, ...]) -> Found | list[Found]:
        """Return what is found in a picture; for a list of pictures, a list.

        A picture is a path, the bytes of a file, a BGR array uint8 [H,W,3] as OpenCV has it (or grey [H,W], or BGRA
        [H,W,4]), or a Pillow image.
        Raises DatasetError for a picture that cannot be read, UsageError after `close` and in a forked process,
        ArtifactError when the model's outputs are not finite, ToolError when a device fails.
        """
        self.require_open()
        if not isinstance(picture, (list, tuple)):
            return self.detect([take_picture(picture)])[0]
        found: list[Found] = []
        numbered = enumerate(picture, start=1)
        for batch in batches(numbered, self.batch_size):
            found += self.detect([take_picture(each, f"picture {number}") for number, each in batch])
        return found

    def detect(self, sources: Sequence[PictureSource], timed: Timed = contextlib.nullcontext) -> list[Found]:
        """Return what is found in a batch of pictures; `timed` counts "prepare", "infer" and "detect"."""
        pixels = [source.read() for source in sources]
        for image, source in zip(pixels, sources):
            require_fit(image, self.config, source.name)
        with self._used():
            batch = detect_batch(pixels, self._engines[next(self._turns)], self._detector, timed)
        shapes = (image.shape for image in pixels)
        return [
            self._found(detections, height, width, source)
            for detections, (height, width, _), source in zip(batch, shapes, sources)
        ]

    def stream(
        self,
        pictures: Iterable[Picture],
        *,
        workers: int | None = None,
        on_unreadable: Callable[[DatasetError], object] | None = None,
    ) -> Generator[Found, None, None]:
        """Give what is found in each picture, in order, as it comes; prepares, infers and detects at the same time.

        `pictures` is any iterable of what a call takes. No more than a few batches are taken from it in advance, and
        only those are in memory. `workers` are the processes for the host's work (default: all cores). A picture that
        cannot be read raises DatasetError at its place; with `on_unreadable`, that function gets the error instead,
        and the picture is left out. An exception of `pictures` comes after the results of the pictures before it.
        Raises like a call, and ToolError when a worker was killed.
        """
        self.require_open()
        is_array = isinstance(pictures, np.ndarray) and pictures.ndim < FRAMES_NDIM
        if isinstance(pictures, ONE_PICTURE) or is_array or not isinstance(pictures, Iterable):
            raise UsageError("stream() takes several pictures, such as a list of them. For one: model(picture).")
        if workers is not None:
            workers = arguments.read_whole("workers", workers, 1, MAX_WORKERS)
        return self._stream(pictures, workers, on_unreadable)

    def _stream(
        self,
        pictures: Iterable[Picture],
        workers: int | None,
        on_unreadable: Callable[[DatasetError], object] | None,
    ) -> Generator[Found, None, None]:
        total = len(pictures) if isinstance(pictures, (list, tuple)) else None
        with contextlib.closing(self.overlap(_take_all(pictures), Spent(), workers, total)) as all_found:
            for each in all_found:
                if each.detections is not None:
                    yield self._found(each.detections, *each.size, each.source)
                elif on_unreadable is None:
                    raise DatasetError(each.failure)
                else:
                    on_unreadable(DatasetError(each.failure))

    def images_ahead(self, workers: int | None = None) -> int:
        """Return how many images `overlap` takes before it gives the first."""
        return self.batch_size * batches_ahead(self._engines, self.batch_size, workers or count_cores())

    def overlap(
        self, sources: Iterable[PictureSource], spent: Spent, workers: int | None = None, total: int | None = None
    ) -> Generator[Detected, None, None]:
        """Give what `host.overlap` gives, on this model's engines: all detections, whatever their score."""
        if total == 0:
            return
        stream = overlap(
            self._engines, sources, self._detector, self.batch_size, workers or count_cores(), spent, total
        )
        self._streams.add(stream)
        with contextlib.closing(stream):
            while True:
                self.require_open()
                try:
                    detected = next(stream, None)
                except Exception:
                    self.require_open()  # another thread has closed it meanwhile, which is what happened
                    raise
                if detected is None:
                    return
                yield detected

    def require_layer_times(self) -> None:
        """Raise UsageError where `layer_times` has none to give, before any work."""
        self.require_open()
        require_layer_times(self._engines[0])

    def layer_times(self, picture: Picture) -> list[LayerTime]:
        """Return how long each layer takes for a picture, as the target's own profiler measures it, in its order.

        It runs apart, on a copy of the model, so that detecting stays as fast. Raises UsageError for a target without
        a profiler (`ascend`, `torch`), and like a call.
        """
        with self._used():
            engine = self._engines[0]
            pixels = [take_picture(picture).read()]
            return layer_times(engine, prepare_batch(pixels, self.config, input_dtype(engine, self.config)))

    def close(self) -> None:
        """Free the device; calls in other threads end before that, and streams stop. Closing again does nothing."""
        if os.getpid() != self._pid:  # the engine is the parent's
            return
        with self._changing:
            if self._is_closed:
                return
            self._is_closed = True
            self._changing.wait_for(lambda: self._users == 0)
        for stream in list(self._streams):
            with contextlib.suppress(ValueError):  # another thread is in it, and sees next that the model is closed
                stream.close()
        self._close()

    def require_open(self) -> None:
        """Raise UsageError after `close`, and in a process that was forked from the one that loaded the model."""
        if os.getpid() != self._pid:
            raise UsageError(
                f"{self._name} was loaded in process {self._pid}, and does not work in process {os.getpid()}, which "
                "was forked from it. Load it in each process, and start them by the method spawn or forkserver."
            )
        if self._is_closed:
            raise UsageError(f"{self._name} is closed. Load it again, or use it inside its with block.")

    @contextlib.contextmanager
    def _used(self) -> Iterator[None]:
        """Keep the model open inside the block."""
        self.require_open()
        with self._changing:
            self.require_open()
            self._users += 1
        try:
            yield
        finally:
            with self._changing:
                self._users -= 1
                self._changing.notify_all()

    def _found(self, detections: Detections, height: int, width: int, source: PictureSource) -> Found:
        kept = keep_scores(detections, self._detector.settings.score_threshold)
        return Found(kept, self.config, height, width, source)

    @property
    def _name(self) -> str:
        return f"The model {self.path}"

    def __enter__(self) -> Model:
        self.require_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> Any:
        raise UsageError(
            f"{self._name} cannot be pickled or copied: it holds a device. Pass its path, and load it in the other "
            "process."
        )

    def __repr__(self) -> str:
        state = ", closed" if self._is_closed else ""
        return f"<Model {self.path} on {self.device}, batches of {self.batch_size}{state}>"


def _take_all(pictures: Iterable[Picture]) -> Iterator[PictureSource]:
    """Give each picture as a source; one that is none fails when it is read."""
    for number, picture in enumerate(pictures, start=1):
        name = f"picture {number}"
        try:
            yield take_picture(picture, name)
        except DatasetError as error:
            yield PictureSource(np.empty((0, 0, 3), np.uint8), name, failure=str(error))
