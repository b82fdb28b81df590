"""Shards through one open model, each to its part: what every worker does, whoever gives it the numbers."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Union

from yolact_ascend.environment import visible_cards
from yolact_ascend.host.overlap import Detected, Spent
from yolact_ascend.images.reader import PictureSource
from yolact_ascend.scale.manifest import Image
from yolact_ascend.scale.parts import Row, part_of
from yolact_ascend.scale.plan import Planned
from yolact_ascend.scale.reading import Reader
from yolact_ascend.tables import counted
from yolact_ascend.workers import Workers

if TYPE_CHECKING:
    from yolact_ascend.host.model import Model

MOST_PACKED = 2  # shards that wait for their parts, before the stream does
NEWS_S = 10.0  # between two news of a stream that finds something
LEAD = 2  # shards that a worker of a cluster knows at least: one that it works on, and the next


@dataclass(frozen=True)
class Opened:
    """Where a model is open, and how many shards its worker is to know."""

    host: str
    device: str
    pid: int
    card: str = ""  # that whoever started this process gave to it; "" where nobody did
    lead: int = LEAD

    @classmethod
    def here(cls, device: str, lead: int = LEAD) -> Opened:
        """Return where this process is."""
        return cls(platform.node(), device, os.getpid(), visible_cards(), lead)

    def describe(self) -> str:
        """Return where that is, in words that differ from those of other workers."""
        return f"{self.host}, {self.device}, {f'card {self.card}' if self.card else f'process {self.pid}'}"


@dataclass(frozen=True)
class Done:
    """A shard whose part is in its place."""

    shard: int
    images: int
    failed: int
    failure: str = ""  # the first that failed, and why

    def describe_failures(self) -> str:
        """Return a sentence about the images that failed."""
        return (
            f"{self.failed} of {counted(self.images, 'image')} of shard {self.shard} failed; the first: {self.failure}"
        )


@dataclass(frozen=True)
class Going:
    """Images of shards without a part were found: how many there are by now."""

    images: int


News = Union[Done, Going]


class Tools(NamedTuple):
    """What shards are done with: an open model, the reader of the source, and a process that packs parts."""

    model: Model
    reader: Reader
    packer: Workers


def do_shards(
    planned: Planned, tools: Tools, shards: Iterator[int], spent: Spent, workers: int | None = None
) -> Iterator[News]:
    """Do shards as their numbers come, and give each when its part is written; `spent` is filled on the way.

    Between them, `Going` is given about each `NEWS_S` seconds, as long as images are found.
    Numbers are taken some batches ahead. Where there are none for the moment, the iteration ends; begin another.
    Raises ArtifactError when a store is lost or full, ToolError when a device or worker fails.
    """
    while True:
        first = next(shards, None)
        if first is None:
            return
        stream = _Stream(planned, tools, first, shards)
        with contextlib.closing(tools.model.overlap(stream.sources(), spent, workers)) as found:
            yield from stream.commit(found)


class _Stream:
    """Shards one after the other, which all are whole batches; a short one is the last, and the next begins anew.

    So the batches of a shard are the same, whatever was done before it.
    """

    def __init__(self, planned: Planned, tools: Tools, first: int, shards: Iterator[int]) -> None:
        self._planned, self._tools, self._first, self._shards = planned, tools, first, shards
        self._begun: deque[tuple[int, list[Image]]] = deque()
        self._packed: deque[tuple[int, Future[Packed]]] = deque()
        self._found = 0  # images without a part
        self._told_at = time.monotonic()

    def sources(self) -> Iterator[PictureSource]:
        """Give the pictures of the shards."""
        shard: int | None = self._first
        while shard is not None:
            images = self._planned.images(shard)
            self._begun.append((shard, images))
            for image, source in zip(images, self._tools.reader.read_all(images)):
                yield dataclasses.replace(source, truth=image.truth_for(self._planned.plan.scoring))
            if len(images) < self._planned.plan.shard_size:
                return
            shard = next(self._shards, None)

    def commit(self, found: Iterator[Detected]) -> Iterator[News]:
        """Have the part of each shard packed beside the stream, and write it."""
        there: list[Detected] = []
        for detected in found:
            there.append(detected._replace(source=_NOTHING))  # its pixels are not needed any more
            self._found += 1
            shard, images = self._begun[0]
            if len(there) == len(images):
                call = self._tools.packer.submit(pack, images, there)
                self._packed.append((shard, call))
                self._begun.popleft()
                there = []
            if self._packed and (self._packed[0][1].done() or len(self._packed) > MOST_PACKED):
                yield self._write()
            elif time.monotonic() - self._told_at >= NEWS_S:
                self._told_at = time.monotonic()
                yield Going(self._found)
        while self._packed:
            yield self._write()

    def _write(self) -> Done:
        shard, call = self._packed.popleft()
        packed = self._tools.packer.result(call)
        self._planned.commit(shard, packed.part)
        self._found, self._told_at = self._found - packed.images, time.monotonic()
        return Done(shard, packed.images, packed.failed, packed.failure)


_NOTHING = PictureSource(b"", "")


class Packed(NamedTuple):
    """A part that is not written yet."""

    part: bytes
    images: int
    failed: int
    failure: str  # the first; "" where none failed


def pack(images: list[Image], found: list[Detected]) -> Packed:
    """Return a shard's part: it takes as long as some images, so in a process of its own."""
    rows = rows_of_shard(images, found)
    failed = [row for row in rows if row.detections is None]
    return Packed(part_of(rows).to_pybytes(), len(rows), len(failed), failed[0].error if failed else "")


def rows_of_shard(images: list[Image], found: list[Detected]) -> list[Row]:
    """Return the rows of a shard's part."""
    return [
        Row(image.image_id, image.entry.name, each.size, each.detections, each.failure, each.matched)
        for image, each in zip(images, found)
    ]
