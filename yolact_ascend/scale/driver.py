"""The actors of a run on a Ray cluster: who gets which shard, and what happens to those that are lost or hang."""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

from yolact_ascend.errors import ToolError, UsageError, YolactAscendError
from yolact_ascend.scale.actor import NPU, Job, ShardWorker, Size
from yolact_ascend.scale.course import Course
from yolact_ascend.scale.places import RESUME
from yolact_ascend.scale.plan import Planned
from yolact_ascend.scale.run import Worked
from yolact_ascend.scale.work import LEAD, Done, Going, News, Opened
from yolact_ascend.tables import counted

MOST_DEATHS = 3  # of actors with the same shard
LOOK_S = 1.0  # between two looks at what is done
ROOM_S = 10.0  # that a cluster may look for room before a user is told
# How long an actor may give no news, by its call (docs/scale.md). Those that plan or open a model, and may compile it
# first, give none meanwhile; an actor whose host is not known yet waits for room, as long as others use the cluster.
LIMITS_S = {"host": math.inf, "plan": 3600.0, "open": 3600.0, "do": 600.0, "close": 600.0}
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class SilentError(ToolError):
    """An actor gives no news any more."""

    @classmethod
    def of(cls, call: str) -> SilentError:
        """Return the error of a call that is not answered in its time."""
        return cls(f"It gave no news for {LIMITS_S[call]:g} s: its process, device or store hangs.")


@dataclass
class _Actor:
    handle: Any
    given: deque[int] = field(default_factory=deque)  # shards that are not done yet
    host: str = ""  # "": Ray has found no place for it yet
    place: Opened | None = None  # None: its model is not open yet
    call: str = "host"  # that it was asked last
    asked_at: float = 0.0

    def is_silent(self) -> bool:
        """Whether its call takes too long."""
        return time.monotonic() - self.asked_at > LIMITS_S[self.call]


def plan_on_host(job: Job, size: Size, say: Callable[[str], None]) -> Any:
    """Have an actor put the plan into its place, and return the actor; one that is lost meanwhile is replaced."""
    for deaths in range(1, MOST_DEATHS + 1):
        handle = start(job, size)
        try:
            _wait_for_room(handle, size, say)
            for warning in _answer(handle.plan.remote(), "plan"):
                say(f"warning: {warning}")
            return handle
        except (RayActorError, SilentError) as error:
            _end(handle)
            lost = f"lost before there was a plan: {describe_loss(error)}"
            if deaths < MOST_DEATHS:
                say(f"warning: a worker was {lost} It is replaced.")
    raise ToolError(f"{MOST_DEATHS} workers were {lost}")


def _wait_for_room(handle: Any, size: Size, say: Callable[[str], None]) -> None:
    call = handle.host.remote()
    if not ray.wait([call], num_returns=1, timeout=ROOM_S)[0]:
        say(f"The cluster has no room for a worker yet, which needs {size.describe()}. Waiting.")
    result(call)


def _answer(call: Any, name: str) -> Any:
    """Return what a call gave; raises SilentError when that takes too long, and as `result`."""
    if not ray.wait([call], num_returns=1, timeout=LIMITS_S[name])[0]:
        raise SilentError.of(name)
    return result(call)


class Driver:
    """Hands out shards; an actor that is lost or hangs gives its shards back."""

    def __init__(self, planned: Planned, job: Job, size: Size, say: Callable[[str], None]) -> None:
        self._planned, self._job, self._size, self._say = planned, job, size, say
        self._calls: dict[Any, _Actor] = {}  # what is waited for, one call of each actor at most
        self._idle: list[_Actor] = []
        self._deaths: Counter[int] = Counter()

    def run(self, first: Any, shards: Sequence[int]) -> list[Worked]:
        """Do the shards; return what each actor that lived to the end did."""
        self._left = deque(shards)
        count = min(self._size.actors, len(shards))
        for handle in [first, *(start(self._job, self._size) for _ in range(count - 1))]:
            self._ask(_Actor(handle), "host")
        total, done = sum(map(self._planned.plan.count, shards)), 0
        try:
            with Course(total) as self._course:
                while self._is_unfinished():
                    done += sum(map(self._is_done, self._news()))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{done} of {counted(len(shards), 'shard')} are done. {RESUME}") from None
        return list(self._close())

    def _is_unfinished(self) -> bool:
        return bool(self._left) or any(actor.given for actor in self._calls.values())

    def _ask(self, actor: _Actor, call: str, *words: Any) -> None:
        actor.call, actor.asked_at = call, time.monotonic()
        self._calls[getattr(actor.handle, call).remote(*words)] = actor

    def _news(self) -> Iterator[tuple[_Actor, News]]:
        """Wait a moment; give the news that there are, and replace actors that have none for too long."""
        ready, _ = ray.wait(list(self._calls), num_returns=1, timeout=LOOK_S)
        for call in ready:
            actor = self._calls.pop(call)
            news = self._take(actor, call)
            if news is not None:
                yield actor, news
        for call in [call for call, actor in self._calls.items() if actor.is_silent()]:
            actor = self._calls.pop(call)
            self._replace(actor, SilentError.of(actor.call))

    def _is_done(self, told: tuple[_Actor, News]) -> bool:
        """Show news, and tell what failed; returns whether a shard is done."""
        actor, news = told
        assert actor.place is not None
        self._course.add(actor.place, news)
        if isinstance(news, Going):
            return False
        if news.failed:
            self._say(f"warning: {news.describe_failures()}")
        return True

    def _take(self, actor: _Actor, call: Any) -> News | None:
        """Take the answer of a call, and ask the actor for what is next."""
        try:
            answer = result(call)
        except (RayActorError, ToolError) as error:  # it was killed, or lost its device
            self._replace(actor, error)
            return None
        if isinstance(answer, str):
            actor.host = answer
            self._ask(actor, "open")
            return None
        if isinstance(answer, Opened):
            actor.place = answer
        elif isinstance(answer, Done):
            actor.given.remove(answer.shard)
        self._feed(actor)
        return answer if isinstance(answer, (Done, Going)) else None

    def _feed(self, actor: _Actor) -> None:
        lead = actor.place.lead if actor.place else LEAD
        new = [self._left.popleft() for _ in range(min(lead - len(actor.given), len(self._left)))]
        actor.given.extend(new)
        if actor.given:
            self._ask(actor, "do", new)
        else:
            self._idle.append(actor)

    def _replace(self, actor: _Actor, error: Exception) -> None:
        """Give the shards of a lost actor to others, and start another actor; raises ToolError at the third time."""
        _end(actor.handle)
        where = f"on {actor.host}" if actor.host else "before it had a host"
        if actor.place is None:
            where += ", before its model was open" if actor.host else ""
        else:
            self._course.drop(actor.place)
        shard = actor.given[0] if actor.given else -1  # of an actor that could not start
        self._deaths[shard] += 1
        reason = describe_loss(error)
        if self._deaths[shard] >= MOST_DEATHS:
            named = f"with shard {shard}" if actor.given else "before a model was open"
            raise ToolError(f"{MOST_DEATHS} workers were lost {named}; the last {where}: {reason} {RESUME}")
        self._say(f"warning: a worker was lost {where}, and is replaced: {reason}")
        self._left.extendleft(reversed(actor.given))
        while self._idle and self._left:
            self._feed(self._idle.pop())
        self._ask(_Actor(start(self._job, self._size)), "host")

    def _close(self) -> Iterator[Worked]:
        """Have the actors close their models; of one that is lost now, only its log is lost."""
        calls = [(actor.handle, actor.handle.close.remote()) for actor in self._idle]
        for handle, call in calls:
            try:
                yield _answer(call, "close")
            except (RayActorError, SilentError) as error:
                _end(handle)
                self._say(f"warning: a worker was lost after its last shard, and has no log: {describe_loss(error)}")


def describe_loss(error: Exception) -> str:
    """Return why an actor was lost; raises UsageError when its host cannot even make one, so that no other could be.

    Ray names the error in the last of many lines, the host's address in the first (2.60, `ActorDiedError`).
    """
    lines = COLOURS.sub("", str(error)).splitlines() or [type(error).__name__]
    if "creation task" not in lines[0]:
        return lines[0]
    host = re.search(r"ip=([^,)]+)", lines[0])
    raise UsageError(
        f"The host {host[1] if host else '?'} cannot start a worker: {lines[-1].strip().rstrip('.')}. Install the same "
        "version of this package with its extra `cluster` for the Python that runs Ray there, or leave that host out."
    ) from error


def start(job: Job, size: Size) -> Any:
    """Start an actor, as soon as the cluster has room for it."""
    resources = {NPU: size.npus} if size.npus else {}
    return ray.remote(ShardWorker).options(num_cpus=size.cpus, resources=resources).remote(job)


def result(call: Any) -> Any:
    """Return what a call gave; raises the error itself, where Ray would add a traceback."""
    try:
        return ray.get(call)
    except RayTaskError as error:
        if isinstance(error.cause, YolactAscendError):
            raise error.cause from None
        raise


def _end(handle: Any) -> None:
    """End an actor that may be dead, or hang."""
    with contextlib.suppress(Exception):
        ray.kill(handle)
