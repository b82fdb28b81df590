"""The driver of a cluster, on a played Ray: who gets which shard, and what happens when workers are lost."""

import os
from collections import deque
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray.exceptions import RayActorError

from yolact_ascend.errors import ArtifactError, ToolError, UsageError
from yolact_ascend.host.loading import ModelRequest
from yolact_ascend.scale import cluster
from yolact_ascend.scale.actor import Job, Opened, lead_of
from yolact_ascend.scale.cluster import Size
from yolact_ascend.scale.planning import ScaleRequest
from yolact_ascend.scale.work import Done
from yolact_ascend.targets.ascend.cards import VISIBLE_DEVICES, Chip, visible_chips
from yolact_ascend.targets.target import DeviceRequest


class Actor:
    """Does its shards in order; `fails(shard)` is an exception in place of the one that it is at, or None."""

    lead = 2
    most = 0  # shards that it has known at once

    def __init__(self, number, fails):
        self.number, self.fails, self.given, self.killed = number, fails, deque(), False
        names = {name: SimpleNamespace(remote=getattr(self, f"_{name}")) for name in ("plan", "open", "do", "close")}
        vars(self).update(names)

    def _plan(self):
        return self.fails("plan") or ["odd"]

    def _open(self):
        return self.fails(None) or Opened("host", "device", self.number, lead=self.lead)

    def _do(self, shards):
        self.given.extend(shards)
        self.most = max(self.most, len(self.given))
        return self.fails(self.given[0]) or Done(self.given.popleft(), 2, 0)

    def _close(self):
        return self.fails("close") or f"closed {self.number}"


class Ray:
    """Calls are answered in the order of the actors; a call is the list with its answer."""

    def __init__(self, monkeypatch, fails=lambda number, shard: None):
        self.actors, self.fails = [], fails
        played = SimpleNamespace(wait=self.wait, kill=lambda actor: setattr(actor, "killed", True))
        monkeypatch.setattr(cluster, "ray", played)
        monkeypatch.setattr(cluster, "_start", lambda job, size: self.start())
        monkeypatch.setattr(cluster, "_result", self.result)

    def start(self):
        number = len(self.actors)
        actor = Actor(number, lambda shard: self.fails(number, shard))
        for name in ("plan", "open", "do", "close"):
            real = getattr(actor, name).remote
            setattr(actor, name, SimpleNamespace(remote=lambda *words, real=real: Call(real(*words))))
        self.actors.append(actor)
        return actor

    def wait(self, calls, num_returns, timeout):
        return calls[:num_returns], calls[num_returns:]

    def result(self, call):
        if isinstance(call, Call) and isinstance(call.answer, Exception):
            raise call.answer
        return call.answer if isinstance(call, Call) else call


class Call:
    def __init__(self, answer):
        self.answer = answer


@pytest.fixture
def drive():
    said = []

    def drive(ray, actors, shards):
        planned = SimpleNamespace(plan=SimpleNamespace(count=lambda shard: 2))
        driver = cluster._Driver(planned, Job("o", ScaleRequest("s"), None), Size(actors, 1), said.append)
        return driver.run(ray.start(), shards), said

    return drive


def test_each_shard_is_done_once_by_as_many_actors_as_fit(drive, monkeypatch):
    done = []
    ray = Ray(monkeypatch, lambda number, shard: done.append((number, shard)) if isinstance(shard, int) else None)
    closed, said = drive(ray, 3, list(range(10)))
    assert sorted(shard for _, shard in done) == list(range(10))
    assert {number for number, _ in done} == {0, 1, 2} and len(ray.actors) == 3
    assert sorted(closed) == ["closed 0", "closed 1", "closed 2"] and said == []


@pytest.mark.parametrize(("ahead", "size", "lead"), [(24, 256, 2), (24, 48, 2), (24, 16, 4), (24, 8, 7)])
def test_an_actor_knows_twice_the_images_that_its_stream_takes_ahead(ahead, size, lead, drive, monkeypatch):
    assert lead_of(ahead, size) == lead
    monkeypatch.setattr(Actor, "lead", lead)
    ray = Ray(monkeypatch)
    drive(ray, 2, list(range(30)))
    assert [actor.most for actor in ray.actors] == [lead, lead]


def test_no_more_actors_are_started_than_there_are_shards(drive, monkeypatch):
    ray = Ray(monkeypatch)
    drive(ray, 8, [4, 5])
    assert len(ray.actors) == 2


def test_shards_of_a_lost_worker_are_done_by_others(drive, monkeypatch):
    done = []

    def fails(number, shard):
        if number == 0 and shard == 1:
            return RayActorError(error_msg="The actor died.\nwith details")
        if isinstance(shard, int):
            done.append(shard)
        return None

    ray = Ray(monkeypatch, fails)
    _, said = drive(ray, 1, [0, 1, 2, 3])
    assert done == [0, 1, 2, 3] and len(ray.actors) == 2 and ray.actors[0].killed
    assert said == ["warning: a worker was lost on host, and is replaced: The actor died."]


def test_a_shard_that_ends_three_workers_ends_the_run(drive, monkeypatch):
    ray = Ray(monkeypatch, lambda number, shard: ToolError("The device failed.") if shard == 2 else None)
    with pytest.raises(ToolError, match=r"3 workers were lost with shard 2; the last on host: The device failed\."):
        drive(ray, 1, [0, 1, 2])
    assert len(ray.actors) == 3


def test_workers_that_cannot_open_the_model_end_the_run(drive, monkeypatch):
    ray = Ray(monkeypatch, lambda number, shard: ToolError("There is no card.") if shard is None else None)
    with pytest.raises(ToolError, match=r"3 workers were lost before a model was open; the last before its model"):
        drive(ray, 2, [0, 1, 2])


DIED = RayActorError(error_msg="The actor died.\nwith details")


@pytest.mark.parametrize("lost", [0, 2, 3])
def test_a_worker_that_is_killed_as_it_plans_is_replaced(lost, monkeypatch):
    ray, said = Ray(monkeypatch, lambda number, shard: DIED if shard == "plan" and number < lost else None), []
    if lost == 3:
        with pytest.raises(ToolError, match=r"3 workers were lost before there was a plan: The actor died\."):
            cluster._plan(None, None, said.append)
        return
    assert cluster._plan(None, None, said.append) is ray.actors[lost]
    one = "warning: a worker was lost before there was a plan: The actor died. It is replaced."
    assert said == [*[one] * lost, "warning: odd"]


def test_of_a_worker_that_is_killed_as_it_closes_only_the_log_is_lost(drive, monkeypatch):
    ray = Ray(monkeypatch, lambda number, shard: DIED if (number, shard) == (0, "close") else None)
    closed, said = drive(ray, 2, [0, 1, 2])
    assert closed == ["closed 1"]
    assert said == ["warning: a worker was lost after its last shard, and has no log: The actor died."]


def test_what_no_other_worker_could_do_better_ends_the_run_at_once(drive, monkeypatch):
    ray = Ray(monkeypatch, lambda number, shard: ArtifactError("The disk is full.") if shard == 1 else None)
    with pytest.raises(ArtifactError, match="The disk is full"):
        drive(ray, 2, [0, 1, 2])
    assert len(ray.actors) == 2


CARDS, HOST = {"CPU": 16, "NPU": 4}, {"CPU": 8}


@pytest.mark.parametrize(
    ("model", "device", "hosts", "actors", "size"),
    [
        ("a.om", "auto", [CARDS, HOST, CARDS], None, Size(8, 4, 1)),
        ("a.om", "npu", [CARDS], 3, Size(3, 4, 1)),
        ("a.om", "npu", [CARDS], 9, Size(4, 4, 1)),
        ("a.om", "emulation", [CARDS], None, Size(1, 16)),
        ("a.onnx", "auto", [{"memory": 1}, HOST, HOST], None, Size(2, 8)),
        ("a.onnx", "auto", [HOST, HOST], 3, Size(3, 4)),
        ("a.onnx", "auto", [{"CPU": 2}], 8, Size(8, 0.25)),
    ],
)
def test_a_card_has_one_worker_and_its_share_of_the_cores(model, device, hosts, actors, size, monkeypatch):
    listed = [{"Alive": True, "Resources": each} for each in hosts] + [{"Alive": False, "Resources": CARDS}]
    monkeypatch.setattr(cluster, "ray", SimpleNamespace(nodes=lambda: listed))
    job = Job("o", ScaleRequest("s"), ModelRequest(Path(model), devices=DeviceRequest(device)))
    assert cluster.size_of_cluster(job, actors) == size
    assert size.processes == max(1, int(size.cpus))


@pytest.mark.parametrize(
    ("model", "asked", "given"), [("a.onnx", None, 4), ("a.xml", 3, 3), ("a.om", None, None)], ids=str
)
def test_a_model_has_as_many_threads_as_ray_grants_cores(model, asked, given, monkeypatch):
    """Of a container's quota libraries do not know (ray-project/ray#28044); a card takes no threads."""
    seen = []
    monkeypatch.setattr(cluster, "size_of_cluster", lambda job, actors: Size(1, 4))
    monkeypatch.setattr(cluster, "_plan", lambda job, size, say: seen.append(job))
    monkeypatch.setattr(cluster, "read_plan", lambda out: SimpleNamespace(describe_start=str))
    monkeypatch.setattr(cluster.Planned, "missing", lambda planned: [])
    request = ModelRequest(Path(model), devices=DeviceRequest(threads=asked))
    cluster.run_on_cluster(Job("o", ScaleRequest("s"), request), None, print)
    assert (seen[0].model.devices.threads, seen[0].workers) == (given, 4)


def test_paths_do_not_depend_on_the_current_folder(tmp_path, monkeypatch):
    """An actor has the folder in which its host joined the cluster."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "names.txt").write_text("ball")
    model = ModelRequest(Path("a.onnx"), Path("a.pth"), "yolact_edge_demo_config", "names.txt")
    job = Job("out", ScaleRequest("photos", Path("a.json")), model).absolute()
    assert (job.out, job.request.source) == (f"{tmp_path}/out", f"{tmp_path}/photos")
    paths = (job.request.annotation_file, job.model.path, job.model.weights, job.model.classes)
    assert paths == (tmp_path / "a.json", tmp_path / "a.onnx", tmp_path / "a.pth", f"{tmp_path}/names.txt")
    assert job.model.config == "yolact_edge_demo_config"
    elsewhere = Job("s3://b/out", ScaleRequest("s3://b/photos"), ModelRequest(tmp_path / "a.onnx"))
    assert elsewhere.absolute() == elsewhere


@pytest.mark.parametrize(
    ("model", "resources", "said"),
    [
        ("a.om", HOST, "The cluster has no card: none of its 1 node has the resource NPU"),
        ("a.onnx", {"memory": 1}, "The cluster has no CPUs for a worker"),
        ("a.pth", HOST, "a.pth are weights, and hosts .* Pass --target=, one of ascend, .* or --model=FILE"),
    ],
)
def test_a_cluster_without_what_a_model_needs_is_refused(model, resources, said, monkeypatch):
    listed = [{"Alive": True, "Resources": resources}]
    monkeypatch.setattr(cluster, "ray", SimpleNamespace(nodes=lambda: listed))
    with pytest.raises(UsageError, match=said):
        cluster.size_of_cluster(Job("o", ScaleRequest("s"), ModelRequest(Path(model))), None)


@pytest.mark.parametrize(("word", "devices"), [("1,0", ["npu-smi's 1", "npu-smi's 0"]), ("0,9", ["npu-smi's 0", None])])
def test_an_actor_opens_device_0_of_the_one_card_that_ray_shows_it(word, devices, monkeypatch):
    """vllm-ascend#10227, verl#7507: CANN hides all cards where a list does not ascend, and drops unknown numbers.

    Ray's own code for NPUs (ray/_private/accelerators/npu.py) gives each actor a list of one.
    """
    from ray._private.accelerators.npu import NPUAcceleratorManager

    monkeypatch.setenv(VISIBLE_DEVICES, word)
    for number, device in zip(NPUAcceleratorManager.get_current_process_visible_accelerator_ids(), devices):
        NPUAcceleratorManager.set_current_process_visible_accelerator_ids([number])
        seen = {VISIBLE_DEVICES: os.environ[VISIBLE_DEVICES]}
        chips = [Chip(0, 0, "310P3"), Chip(1, 1, "310P3")]
        if device is None:
            with pytest.raises(ToolError, match="names no device that is there"):
                visible_chips(chips, seen)
        else:
            found, said = visible_chips(chips, seen)
            assert [chip.device_id for chip in found] == [0] and f"device 0 is {device}." in said
