"""Devices, workers and hosts of the benchmarks of `scale`: all of them simulated, on this machine's loopback interface.

Ray starts its workers in processes of their own, which import this file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "benchmarks")]

import pyarrow.parquet as pq  # noqa: E402
from scale_merge import replay  # noqa: E402
from simulated_card import SimulatedCard  # noqa: E402

from yolact_ascend.environment import silence_ray  # noqa: E402

silence_ray(is_alone=True)  # before Ray is imported

from yolact_ascend.detection.thresholds import EVALUATION_SETTINGS  # noqa: E402
from yolact_ascend.host.loading import ChosenModel, ModelRequest, choose_model  # noqa: E402
from yolact_ascend.scale import actor, cluster, driver  # noqa: E402
from yolact_ascend.scale.actor import Job, ShardWorker  # noqa: E402
from yolact_ascend.scale.places import find_place  # noqa: E402
from yolact_ascend.scale.plan import Planned, read_plan  # noqa: E402
from yolact_ascend.scale.work import Done, News, Opened  # noqa: E402
from yolact_ascend.targets.onnxruntime.target import OnnxRuntimeTarget  # noqa: E402

SPEED_FILE = "speed.txt"  # beside the model: images/s of a simulated device
MOMENTS = "moments"  # a folder beside --out: when each worker's model was open, and its shards were done
REPLAYED_PART = "replayed.parquet"  # beside --out


class Device(SimulatedCard):
    """A simulated card as a model opens it."""

    batch_size = None
    metadata: ClassVar[dict[str, str]] = {}

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class SimulatedTarget(OnnxRuntimeTarget):
    """Opens simulated devices, whose outputs lie beside the model."""

    def __init__(self, chosen: ChosenModel) -> None:
        super().__init__()
        self._config = chosen.config
        assert chosen.cut is not None
        self._outputs = chosen.make_detector(chosen.cut, EVALUATION_SETTINGS).outputs

    def open(self, model: Path, npu: int) -> Any:
        return Device(self._config, self._outputs, model.parent, float((model.parent / SPEED_FILE).read_text()))


def choose_simulated(request: ModelRequest) -> ChosenModel:
    """Choose a model that a simulated device runs."""
    chosen = choose_model(request)
    return dataclasses.replace(chosen, target=SimulatedTarget(chosen))


class TimedWorker(ShardWorker):
    """A worker that writes down when it did what."""

    def open(self) -> Opened:
        """Open the model."""
        opened = super().open()
        self._note("open", 0)
        return opened

    def do(self, shards: Sequence[int]) -> News | None:
        """Do shards."""
        news = super().do(shards)
        if isinstance(news, Done):
            self._note("shard", news.images)
        return news

    def _note(self, what: str, images: int) -> None:
        folder = Path(self._job.out).parent / MOMENTS
        folder.mkdir(exist_ok=True)
        with (folder / str(os.getpid())).open("a") as file:
            file.write(json.dumps([time.time(), what, images]) + "\n")


class SimulatedWorker(TimedWorker):
    """A worker with a simulated device."""

    def open(self) -> Opened:
        """Open the model on it."""
        actor.choose_model = choose_simulated
        return super().open()


class ReplayingWorker(ShardWorker):
    """A worker without a model: it writes the detections of one shard under the ids of each."""

    def plan(self) -> tuple[str, ...]:
        """Take the plan that is there."""
        return ()

    def open(self) -> Opened:
        """Read the part."""
        out = find_place(self._job.out)
        self._planned = Planned(out, read_plan(out))
        self._table = pq.read_table(Path(self._job.out).parent / REPLAYED_PART)
        return Opened("replayed", "no device", os.getpid())

    def do(self, shards: Sequence[int]) -> Done | None:
        """Write one more part."""
        self._given.extend(shards)
        if not self._given:
            return None
        shard = self._given.popleft()
        replay(self._planned, shard, self._table)
        return Done(shard, self._planned.plan.count(shard), 0)

    def close(self) -> None:  # type: ignore[override]
        """There is nothing to close."""


@contextlib.contextmanager
def two_hosts(cores: int) -> Iterator[str]:
    """Give the address of a cluster: a head without cores, and two raylets of so many."""
    from ray.cluster_utils import Cluster

    os.environ["PYTHONPATH"] = os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "benchmarks")])  # for Ray's workers
    options = {"node_ip_address": "127.0.0.1", "include_dashboard": False, "object_store_memory": 80 * 2**20}
    hosts = Cluster(initialize_head=True, head_node_args={**options, "num_cpus": 0})
    try:
        for _ in range(2):
            hosts.add_node(**options, num_cpus=cores)
        yield hosts.address
    finally:
        hosts.shutdown()


def run_workers(kind: type[ShardWorker], job: Job, actors: int, address: str) -> None:
    """Do a job on a cluster with workers of a kind."""
    driver.ShardWorker = kind  # type: ignore[misc]
    with cluster.joined(address):
        cluster.run_on_cluster(job, actors, lambda _: None)


def moments_of(out: Path) -> dict[str, list[tuple[float, str, int]]]:
    """Return what each worker wrote down, by its process."""
    folder = out.parent / MOMENTS
    found = folder.iterdir() if folder.is_dir() else ()
    return {file.name: [tuple(json.loads(line)) for line in file.read_text().splitlines()] for file in found}


def repeat_photographs(coco: Path, count: int, folder: Path) -> tuple[Path, Path]:
    """Make a data set of so many images, links to those of another with their annotations; return folder and file."""
    from yolact_ascend.images.layout import find_split

    image_folder, annotation_file = find_split(coco)
    data = json.loads(annotation_file.read_text())
    truth: dict[int, list[dict[str, Any]]] = {}
    for entry in data["annotations"]:
        truth.setdefault(entry["image_id"], []).append(entry)
    images, annotations = [], []
    (folder / "images").mkdir(parents=True)
    for number, image in zip(range(count), itertools.cycle(data["images"])):
        name = f"{number:06d}_{Path(image['file_name']).name}"
        (folder / "images" / name).symlink_to((image_folder / image["file_name"]).resolve())
        images.append({**image, "id": number, "file_name": name})
        for entry in truth.get(image["id"], []):
            annotations.append({**entry, "image_id": number, "id": len(annotations) + 1})
    file = folder / "annotations.json"
    file.write_text(json.dumps({**data, "images": images, "annotations": annotations}))
    return folder / "images", file
