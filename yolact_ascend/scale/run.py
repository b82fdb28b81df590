"""A scaled run in this process: a plan in its place, the shards that are missing, a log, and the merge."""

from __future__ import annotations

import contextlib
import json
import platform
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tqdm import tqdm

from yolact_ascend.detection.thresholds import EVALUATION_SETTINGS
from yolact_ascend.errors import UsageError
from yolact_ascend.host.loading import ChosenModel
from yolact_ascend.host.overlap import Spent
from yolact_ascend.scale.course import Course
from yolact_ascend.scale.merge import Merged, merge
from yolact_ascend.scale.places import RESUME, Place
from yolact_ascend.scale.plan import Planned
from yolact_ascend.scale.reading import Reader
from yolact_ascend.scale.source import folder_of
from yolact_ascend.scale.work import Done, Opened, Tools, do_shards
from yolact_ascend.tables import counted
from yolact_ascend.targets.folder import DETECTIONS_OF
from yolact_ascend.workers import open_workers

if TYPE_CHECKING:
    from yolact_ascend.host.model import Model

LOGS = "logs"  # of workers: hosts, times
SCORES = "scores.json"


class Group(NamedTuple):
    """Which shards a worker does: each `step`-th one, from `first` on."""

    first: int
    step: int


@dataclass(frozen=True)
class Worked:
    """What one worker did."""

    place: Opened
    shards: int
    images: int
    failed: int
    seconds: float  # from the first shard's start to the last part; the model was open
    spent: Spent

    @classmethod
    def of(cls, done: Sequence[Done], seconds: float, spent: Spent, model: Model) -> Worked:
        """Return what this process did with a model that gave these shards."""
        images, failed = sum(each.images for each in done), sum(each.failed for each in done)
        return cls(Opened.here(model.device), len(done), images, failed, seconds, spent)

    def to_json(self) -> dict[str, Any]:
        """Return the value as a worker's log holds it."""
        return {
            "host": self.place.host,
            "device": self.place.device,
            "card": self.place.card,
            "pid": self.place.pid,
            "shards": self.shards,
            "images": self.images,
            "failed": self.failed,
            "seconds": round(self.seconds, 3),
            "host_work": self.spent.host.to_json(),
            "device_batches": [len(times) for times in self.spent.devices],
        }

    def describe(self) -> str:
        """Return what was done, and how fast."""
        where = f"{self.place.host}, {self.place.device}" + (f", card {self.place.card}" if self.place.card else "")
        speed = f", {self.images / self.seconds:.2f} images/s" if self.images else ""
        done = f"{counted(self.shards, 'shard')} with {counted(self.images, 'image')} done"
        batches = [len(times) for times in self.spent.devices]
        cards = f"; batches by device: {', '.join(map(str, batches))}" if len(batches) > 1 else ""
        return f"{where}: {done}{speed}{cards}."


@contextlib.contextmanager
def open_tools(planned: Planned, chosen: ChosenModel, source: str) -> Iterator[Tools]:
    """Open the model of a plan; raises UsageError when it takes other batches, and as `ChosenModel.open`."""
    with chosen.open(EVALUATION_SETTINGS) as model, open_workers(1) as packer:
        if model.batch_size != planned.plan.engine["batch_size"]:
            raise UsageError(
                f"{model.path} takes batches of {model.batch_size}, and its side-car does not say so. Pass "
                f"--batch_size={model.batch_size} and a new --out."
            )
        yield Tools(model, Reader(folder_of(source), model.config.preprocessing), packer)


def work(
    planned: Planned, chosen: ChosenModel, source: str, shards: Sequence[int], workers: int | None = None
) -> Worked:
    """Do shards on the devices of this process; raises as `do_shards`. After an interrupt, finished shards are kept."""
    spent, done = Spent(), list[Done]()
    with open_tools(planned, chosen, source) as tools:
        place = Opened.here(tools.model.device)
        start = time.perf_counter()
        try:
            with Course(sum(map(planned.plan.count, shards))) as course:
                for news in do_shards(planned, tools, iter(shards), spent, workers):
                    course.add(place, news, images_by_device(tools.model, spent))
                    if isinstance(news, Done):
                        done.append(news)
                        if news.failed:
                            tqdm.write(f"warning: {news.describe_failures()}", file=sys.stderr)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{len(done)} of {counted(len(shards), 'shard')} are done. {RESUME}") from None
    worked = Worked.of(done, time.perf_counter() - start, spent, tools.model)
    write_log(planned.out, worked)
    return worked


def images_by_device(model: Model, spent: Spent) -> dict[str, int]:
    """Return how many images each of several devices computed, short batches as whole ones; {} where there is one."""
    if len(model.devices) == 1:
        return {}
    return {name: len(times) * model.batch_size for name, times in zip(model.devices, spent.devices)}


def write_log(out: Place, worked: Worked) -> None:
    """Write what a worker did, beside those of others."""
    name = f"{platform.node()}-{uuid.uuid4().hex[:12]}.json"
    (out / LOGS / name).write((json.dumps(worked.to_json(), indent=2) + "\n").encode())


def shards_of(missing: Sequence[int], group: Group | None) -> list[int]:
    """Return which of the missing shards a worker does."""
    return [shard for shard in missing if group is None or shard % group.step == group.first]


def finish(planned: Planned) -> Merged:
    """Merge all parts into the plan's place: results files and scores.json."""
    with _results_folder(planned.out) as folder:
        merged = merge(planned, {task: folder / DETECTIONS_OF[task] for task in planned.plan.tasks})
    (planned.out / SCORES).write((json.dumps(merged.to_json(), indent=2) + "\n").encode())
    return merged


@contextlib.contextmanager
def _results_folder(out: Place) -> Iterator[Path]:
    """Give a local folder for results files; they are copied to the place if that is elsewhere."""
    if out.is_local:
        yield Path(out.path)
        return
    with tempfile.TemporaryDirectory(prefix="yolact-ascend-") as folder:
        yield Path(folder)
        for path in sorted(Path(folder).iterdir()):
            (out / path.name).copy_from(path)
