"""Shards on a Ray cluster: actors that each keep a stream open, and this process, which hands them shard numbers.

Only numbers and words cross Ray, never pixels. What is finished lies in the plan's place; nothing else is to be lost.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError
from tqdm import tqdm

from yolact_ascend.cores import count_cores
from yolact_ascend.errors import ToolError, UsageError, YolactAscendError
from yolact_ascend.flags import JOINED_CLUSTER, LOCAL_CLUSTER
from yolact_ascend.host.loading import WEIGHTS_SUFFIXES, model_in
from yolact_ascend.scale.actor import LEAD, Job, Opened, ShardWorker
from yolact_ascend.scale.course import Course
from yolact_ascend.scale.places import RESUME, find_place
from yolact_ascend.scale.plan import Planned, read_plan
from yolact_ascend.scale.run import Worked
from yolact_ascend.scale.work import Done
from yolact_ascend.tables import counted
from yolact_ascend.targets.ascend.target import AscendTarget
from yolact_ascend.targets.ascend.tools import ON_EMULATION
from yolact_ascend.targets.registry import TARGETS

NPU = "NPU"  # Ray's own name of a card: ray/_private/accelerators/npu.py
MOST_DEATHS = 3  # of actors with the same shard
LOOK_S = 1.0  # between two looks at what is done
HEAD_S = 10.0  # that a head may take to answer


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


@contextlib.contextmanager
def joined(cluster: str) -> Iterator[None]:
    """Start a cluster on this host, on the loopback interface alone, or join the one that is named.

    Raises ToolError when that fails.
    """
    with contextlib.ExitStack() as stack:
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if cluster == LOCAL_CLUSTER:
            folder = tempfile.mkdtemp(prefix="ray-")
            stack.callback(shutil.rmtree, folder, ignore_errors=True)  # Ray's processes may still write to it
            options.update(num_cpus=count_cores(), include_dashboard=False)
            options.update(_node_ip_address="127.0.0.1", _temp_dir=folder)
        else:
            options["address"] = "auto" if cluster == JOINED_CLUSTER else cluster
        try:
            if cluster not in (LOCAL_CLUSTER, JOINED_CLUSTER):
                require_head(cluster)
            stack.callback(ray.shutdown)
            ray.init(**options)
        except (ConnectionError, RuntimeError, ValueError, OSError, OverflowError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise ToolError(
                f"Cannot use the cluster {cluster}: {reason}. Is it started, and of Ray {ray.__version__}? If it takes "
                "tokens only, set RAY_AUTH_MODE=token."
            ) from error
        yield


def require_head(address: str) -> None:
    """Raise UsageError for what is no address, OSError when nothing answers there: Ray 2.60 would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():  # ray://, Ray's client, is another protocol
        raise UsageError(
            f"--cluster={address}: expected {LOCAL_CLUSTER}, {JOINED_CLUSTER}, or the head's HOST:PORT, such as "
            "10.0.0.1:6379."
        )
    socket.create_connection((host, int(port)), timeout=HEAD_S).close()


def size_of_cluster(job: Job, actors: int | None) -> Size:
    """Return how many actors fit: one for each card, or one for each host where a CPU computes.

    Raises UsageError where a model for a card finds none, and for weights that might become models of several targets.
    """
    if job.model.target is None and job.model.path.suffix in WEIGHTS_SUFFIXES:
        raise UsageError(
            f"{job.model.path} are weights, and hosts of a cluster may run them on different targets. Pass --target=, "
            "one of " + ", ".join(TARGETS) + ", or --model=FILE, which is exported or compiled before."
        )
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if is_of_ascend(job) and job.model.devices.device != ON_EMULATION:
        cards = [int(node.get(NPU, 0)) for node in nodes]
        if not sum(cards):
            raise UsageError(
                f"The cluster has no card: none of its {counted(len(nodes), 'node')} has the resource {NPU}. Start it "
                "where Ray sees /dev/davinci*, or with --resources='{\"NPU\": N}'; --device=emulation needs no card."
            )
        cpus = min(_whole(node.get("CPU", 1) / count) for node, count in zip(nodes, cards) if count)
        return Size(min(actors or sum(cards), sum(cards)), cpus, 1)
    nodes = [node for node in nodes if node.get("CPU")]  # a head may have none
    if not nodes:
        raise UsageError("The cluster has no CPUs for a worker. Add a host: ray start --address=HEAD.")
    per_node = -(-(actors or len(nodes)) // len(nodes))
    return Size(actors or len(nodes), min(_whole(node.get("CPU", 1) / per_node) for node in nodes))


def _whole(cpus: float) -> float:
    """Return a number that Ray takes: it has no halves above one."""
    return cpus if cpus < 1 else int(cpus)


def is_of_ascend(job: Job) -> bool:
    """Whether a model runs on an NPU, by its ending, or that of the one in its folder."""
    path = job.model.path
    if path.is_dir():
        path = model_in(path)
    return path.suffix == AscendTarget.model_suffix or job.model.target == AscendTarget.name


@dataclass
class _Actor:
    handle: Any
    given: deque[int] = field(default_factory=deque)  # shards that are not done yet
    place: Opened | None = None  # None: its model is not open yet


def run_on_cluster(job: Job, actors: int | None, say: Callable[[str], None]) -> tuple[Planned, list[Worked]]:
    """Plan on a host of the cluster, and do all shards that are missing; inside `joined`.

    `say` gets sentences on what happens. Raises what a worker raises when its host, the plan or a store is at fault;
    ToolError when one shard ends `MOST_DEATHS` actors. Other actors that are lost are replaced.
    """
    size = size_of_cluster(job, actors)
    job = replace(job, workers=job.workers or size.processes)
    if not is_of_ascend(job) and job.model.devices.threads is None:
        # Containers' quotas are not seen by all libraries (ray-project/ray#28044): threads are what Ray granted.
        job = replace(job, model=replace(job.model, devices=replace(job.model.devices, threads=size.processes)))
    first = _plan(job, size, say)
    out = find_place(job.out)
    planned = Planned(out, read_plan(out))
    missing = planned.missing()
    say(planned.plan.describe_start(len(missing)))
    if not missing:
        return planned, []
    return planned, _Driver(planned, job, size, say).run(first, missing)


def _plan(job: Job, size: Size, say: Callable[[str], None]) -> Any:
    """Have an actor put the plan into its place, and return the actor; one that is killed meanwhile is replaced."""
    for deaths in range(MOST_DEATHS):
        actor = _start(job, size)
        try:
            for warning in _result(actor.plan.remote()):
                say(f"warning: {warning}")
            return actor
        except RayActorError as error:
            lost = f"lost before there was a plan: {_first_line(error)}"
            if deaths + 1 < MOST_DEATHS:
                say(f"warning: a worker was {lost} It is replaced.")
    raise ToolError(f"{MOST_DEATHS} workers were {lost}")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


class _Driver:
    """Hands out shards; an actor that is lost gives its shards back."""

    def __init__(self, planned: Planned, job: Job, size: Size, say: Callable[[str], None]) -> None:
        self._planned, self._job, self._size, self._say = planned, job, size, say
        self._calls: dict[Any, _Actor] = {}  # what is waited for, one call of each actor at most
        self._idle: list[_Actor] = []
        self._deaths: Counter[int] = Counter()

    def run(self, first: Any, shards: Sequence[int]) -> list[Worked]:
        """Do the shards; return what each actor that lived to the end did."""
        self._left = deque(shards)
        count = min(self._size.actors, len(shards))
        for handle in [first, *(_start(self._job, self._size) for _ in range(count - 1))]:
            self._open(handle)
        total, done = sum(map(self._planned.plan.count, shards)), 0
        try:
            with Course(total) as course:
                while self._is_unfinished():
                    ready, _ = ray.wait(list(self._calls), num_returns=1, timeout=LOOK_S)
                    for call in ready:
                        actor = self._calls.pop(call)
                        finished = self._take(actor, call)
                        if finished is not None and actor.place is not None:
                            done += 1
                            course.add(actor.place, finished)
                            if finished.failed:
                                self._say(f"warning: {finished.describe_failures()}")
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{done} of {counted(len(shards), 'shard')} are done. {RESUME}") from None
        return list(self._close())

    def _close(self) -> Iterator[Worked]:
        """Have the actors close their models; of one that is killed now, only its log is lost."""
        for actor in self._idle:
            try:
                yield _result(actor.handle.close.remote())
            except RayActorError as error:
                self._say(f"warning: a worker was lost after its last shard, and has no log: {_first_line(error)}")

    def _is_unfinished(self) -> bool:
        return bool(self._left) or any(actor.given for actor in self._calls.values())

    def _open(self, handle: Any) -> None:
        self._calls[handle.open.remote()] = _Actor(handle)

    def _take(self, actor: _Actor, call: Any) -> Done | None:
        """Take the answer of a call, and give the actor its next shards."""
        try:
            answer = _result(call)
        except (RayActorError, ToolError) as error:  # it was killed, or lost its device
            self._replace(actor, error)
            return None
        if isinstance(answer, Done):
            actor.given.remove(answer.shard)
        elif isinstance(answer, Opened):
            actor.place = answer
        self._feed(actor)
        return answer if isinstance(answer, Done) else None

    def _feed(self, actor: _Actor) -> None:
        lead = actor.place.lead if actor.place else LEAD
        new = [self._left.popleft() for _ in range(min(lead - len(actor.given), len(self._left)))]
        actor.given.extend(new)
        if actor.given:
            self._calls[actor.handle.do.remote(new)] = actor
        else:
            self._idle.append(actor)

    def _replace(self, actor: _Actor, error: Exception) -> None:
        """Give the shards of a lost actor to others, and start another actor; raises ToolError at the third time."""
        with contextlib.suppress(Exception):
            ray.kill(actor.handle)
        where = f"on {actor.place.host}" if actor.place else "before its model was open"
        shard = actor.given[0] if actor.given else -1  # of an actor that could not start
        self._deaths[shard] += 1
        reason = _first_line(error)
        if self._deaths[shard] >= MOST_DEATHS:
            named = f"with shard {shard}" if actor.given else "before a model was open"
            raise ToolError(f"{MOST_DEATHS} workers were lost {named}; the last {where}: {reason} {RESUME}")
        self._say(f"warning: a worker was lost {where}, and is replaced: {reason}")
        self._left.extendleft(reversed(actor.given))
        while self._idle and self._left:
            self._feed(self._idle.pop())
        self._open(_start(self._job, self._size))


def _start(job: Job, size: Size) -> Any:
    resources = {NPU: size.npus} if size.npus else {}
    return ray.remote(ShardWorker).options(num_cpus=size.cpus, resources=resources).remote(job)


def _result(call: Any) -> Any:
    """Return what a call gave; raises the error itself, where Ray would add a traceback."""
    try:
        return ray.get(call)
    except RayTaskError as error:
        if isinstance(error.cause, YolactAscendError):
            raise error.cause from None
        raise


def say_on_stderr(sentence: str) -> None:
    """Print a sentence beside the progress bars."""
    tqdm.write(sentence, file=sys.stderr)
