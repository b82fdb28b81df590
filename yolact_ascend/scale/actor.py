"""What runs on a host of a Ray cluster: one open model, whose stream takes the numbers of shards as they come."""

from __future__ import annotations

import contextlib
import platform
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from yolact_ascend.errors import UsageError
from yolact_ascend.host.loading import ChosenModel, ModelRequest, choose_model
from yolact_ascend.host.overlap import Spent
from yolact_ascend.scale.places import absolute, find_place
from yolact_ascend.scale.plan import Plan, Planned, differences, place_plan, read_plan
from yolact_ascend.scale.planning import ScaleRequest, batch_size_of, describe_engine, hash_model, prepare_plan
from yolact_ascend.scale.run import Worked, open_tools, write_log
from yolact_ascend.scale.work import Done, News, Opened, do_shards


@dataclass(frozen=True)
class Job:
    """What an actor needs to know; all of it can be sent to another host. Models lie under the same path on each."""

    out: str
    request: ScaleRequest
    model: ModelRequest
    workers: int | None = None  # processes for the host's work; None: as many as Ray grants cores

    def absolute(self) -> Job:
        """Return the same, of paths that do not depend on the current folder: an actor has its cluster's."""
        request, model = self.request, self.model
        names = [model.config, model.classes]  # of files, or not
        config, classes = (name and (absolute(name) if Path(name).is_file() else name) for name in names)
        file, weights = request.annotation_file, model.weights
        return replace(
            self,
            out=absolute(self.out),
            request=replace(request, source=absolute(request.source), annotation_file=file and file.absolute()),
            model=replace(
                model,
                path=model.path.absolute(),
                weights=weights and weights.absolute(),
                config=config,
                classes=classes,
            ),
        )


def lead_of(ahead: int, shard_size: int) -> int:
    """Return how many shards an actor is to know whose stream takes so many images ahead.

    With fewer, the stream would end, and begin anew with new processes: so twice as many images, and one shard.
    """
    return 1 + -(-2 * ahead // shard_size)


NPU = "NPU"  # Ray's own name of a card: ray/_private/accelerators/npu.py


@dataclass(frozen=True)
class Size:
    """How many actors, and what each needs."""

    actors: int
    cpus: float  # less than 1 where there are more actors than cores
    npus: int = 0

    @property
    def processes(self) -> int:
        """How many processes or threads an actor may have."""
        return max(1, int(self.cpus))

    def describe(self) -> str:
        """Return what one actor needs."""
        return f"{self.cpus:g} CPU" + (f" and {self.npus} {NPU}" if self.npus else "")


class ShardWorker:
    """An actor; its calls come one after the other, and the stream goes on between them."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._given: deque[int] = deque()
        self._stack = contextlib.ExitStack()
        self._spent, self._done, self._start = Spent(), list[Done](), 0.0
        self._news: Iterator[News] = iter(())

    def host(self) -> str:
        """Return the name of this host: the first call, which is answered when Ray has found a place for the actor."""
        return platform.node()

    def plan(self) -> tuple[str, ...]:
        """Put the plan into its place, on a host that has the model and its device; return what is odd."""
        prepared = prepare_plan(self._job.request, choose_model(self._job.model))
        place_plan(find_place(self._job.out), prepared.plan, prepared.images)
        return prepared.warnings

    def open(self) -> Opened:
        """Open the model; raises UsageError when model, engine, libraries or CPU are not those of the plan."""
        out = find_place(self._job.out)
        self._planned = Planned(out, read_plan(out))
        chosen = choose_model(self._job.model)
        require_same(self._planned.plan, chosen)
        self._tools = self._stack.enter_context(open_tools(self._planned, chosen, self._job.request.source))
        self._start = time.perf_counter()
        lead = lead_of(self._tools.model.images_ahead(self._job.workers), self._planned.plan.shard_size)
        return Opened.here(self._tools.model.device, lead)

    def do(self, shards: Sequence[int]) -> News | None:
        """Take further shards, and return when there is news of them; None when there is no shard left."""
        self._given.extend(shards)
        news = next(self._news, None)
        if news is None and self._given:
            numbers = iter(lambda: self._given.popleft() if self._given else None, None)
            self._news = do_shards(self._planned, self._tools, numbers, self._spent, self._job.workers)
            news = next(self._news, None)
        if isinstance(news, Done):
            self._done.append(news)
        return news

    def close(self) -> Worked:
        """Close the model, and return and log what was done."""
        worked = Worked.of(self._done, time.perf_counter() - self._start, self._spent, self._tools.model)
        self._stack.close()
        write_log(self._planned.out, worked)
        return worked


def require_same(plan: Plan, chosen: ChosenModel) -> None:
    """Raise UsageError that names the host when it would compute with something else than the plan states."""
    engine, model = describe_engine(chosen, batch_size_of(chosen)), hash_model(chosen)
    there = (*differences(plan.engine, engine), *differences(plan.model, model))
    differing = [f"{name} is {now}, planned {planned}" for name, planned, now in there]
    if differing:
        raise UsageError(
            f"The host {platform.node()} differs from the plan: {'; '.join(differing)}. Its results could differ, too: "
            "make it equal, or leave it out of the cluster."
        )
