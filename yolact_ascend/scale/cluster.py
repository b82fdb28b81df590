"""Shards on a Ray cluster: actors that each keep a stream open, and this process, which hands them shard numbers.

Only numbers and words cross Ray, never pixels. What is finished lies in the plan's place; nothing else is to be lost.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import ray
from ray._private import services
from tqdm import tqdm

from yolact_ascend.cores import count_cores
from yolact_ascend.environment import is_ray_encrypted, ray_address
from yolact_ascend.errors import ToolError, UsageError
from yolact_ascend.flags import JOINED_CLUSTER, LOCAL_CLUSTER
from yolact_ascend.host.loading import WEIGHTS_SUFFIXES, model_in
from yolact_ascend.scale.actor import NPU, Job, Size
from yolact_ascend.scale.driver import Driver, plan_on_host
from yolact_ascend.scale.places import find_place
from yolact_ascend.scale.plan import Planned, read_plan
from yolact_ascend.scale.run import Worked
from yolact_ascend.tables import counted
from yolact_ascend.targets.ascend.target import AscendTarget
from yolact_ascend.targets.ascend.tools import ON_EMULATION
from yolact_ascend.targets.registry import TARGETS

HEAD_S = 10.0  # that a head may take to answer
KIND_OF_FRAME, SETTINGS = 3, b"\x04"  # RFC 9113: where a frame's kind is (4.1), and which is a server's first (6.5)


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
            options.update(address="local", num_cpus=count_cores(), include_dashboard=False)  # whatever RAY_ADDRESS is
            options.update(_node_ip_address="127.0.0.1", _temp_dir=folder)
        else:
            options["address"] = "auto" if cluster == JOINED_CLUSTER else cluster
        try:
            if cluster != LOCAL_CLUSTER:
                require_head(address_of_host() if cluster == JOINED_CLUSTER else cluster)
            stack.callback(ray.shutdown)
            ray.init(**options)
        except (ConnectionError, RuntimeError, ValueError, OSError, OverflowError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise ToolError(
                f"Cannot use the cluster {cluster}: {reason}. Is it started, and of Ray {ray.__version__}? If it takes "
                "tokens only, set RAY_AUTH_MODE=token."
            ) from error
        yield


def address_of_host() -> str:
    """Return the address of the cluster that this host is in; raises UsageError for several, ConnectionError for none.

    Ray 2.60 would warn of several, and take the last that was started (`get_ray_address_from_environment`).
    """
    named, found = ray_address(), sorted(services.find_gcs_addresses())
    if named in ("", "auto") and len(found) > 1:
        raise UsageError(f"This host is in several clusters: {', '.join(found)}. Pass one, as --cluster={found[0]}.")
    return services.get_ray_address_from_environment(named or "auto", None)


def require_head(address: str) -> None:
    """Raise UsageError for what is no address, OSError when no head answers there: Ray 2.60 would try for minutes.

    A head speaks gRPC over HTTP/2, whose server sends its settings first (RFC 9113, 3.4). With TLS it waits for more.
    """
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():  # ray://, Ray's client, is another protocol
        raise UsageError(
            f"--cluster={address}: expected {LOCAL_CLUSTER}, {JOINED_CLUSTER}, or the head's HOST:PORT, such as "
            "10.0.0.1:6379."
        )
    with socket.create_connection((host, int(port)), timeout=HEAD_S) as connection:
        if is_ray_encrypted():
            return
        try:
            with connection.makefile("rb") as answer:
                frame = answer.read(KIND_OF_FRAME + 1)
        except socket.timeout:  # not a TimeoutError before Python 3.10
            raise ConnectionError(f"something listens there, but did not answer in {HEAD_S:g} s") from None
    if frame[KIND_OF_FRAME:] != SETTINGS:
        raise ConnectionError("what listens there is no head of Ray")


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
    first = plan_on_host(job, size, say)
    out = find_place(job.out)
    planned = Planned(out, read_plan(out))
    missing = planned.missing()
    say(planned.plan.describe_start(len(missing)))
    if not missing:
        return planned, []
    return planned, Driver(planned, job, size, say).run(first, missing)


def say_on_stderr(sentence: str) -> None:
    """Print a sentence beside the progress bars."""
    tqdm.write(sentence, file=sys.stderr)
