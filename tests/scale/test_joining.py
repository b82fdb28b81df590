"""Which cluster is joined, and how many actors fit into it."""

import contextlib
import inspect
import os
import socket
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray._private.node

from yolact_ascend import environment
from yolact_ascend.errors import ToolError, UsageError
from yolact_ascend.host.loading import ModelRequest
from yolact_ascend.scale import cluster
from yolact_ascend.scale.actor import Job, Size
from yolact_ascend.scale.planning import ScaleRequest
from yolact_ascend.targets.ascend.cards import VISIBLE_DEVICES, Chip, visible_chips
from yolact_ascend.targets.target import DeviceRequest

pytestmark = pytest.mark.needs("pyarrow", "ray")

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
    monkeypatch.setattr(cluster, "plan_on_host", lambda job, size, say: seen.append(job))
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


@pytest.mark.parametrize(
    ("found", "named", "said"),
    [
        ({"10.0.0.1:6379"}, "", "10.0.0.1:6379"),
        (
            {"10.0.0.2:6379", "10.0.0.1:6379"},
            "",
            "in several clusters: 10.0.0.1:6379, 10.0.0.2:6379. Pass one, as",
        ),
        ({"10.0.0.2:6379", "10.0.0.1:6379"}, "auto", "in several clusters"),
        ({"10.0.0.2:6379", "10.0.0.1:6379"}, "10.0.0.2:6379", "10.0.0.2:6379"),
        (set(), "", "Could not find any running Ray instance"),
    ],
)
def test_the_cluster_of_this_host_is_one_or_is_to_be_named(found, named, said, monkeypatch):
    monkeypatch.setattr(cluster.services, "find_gcs_addresses", lambda: frozenset(found))
    monkeypatch.setattr(cluster.services, "find_bootstrap_address", lambda folder: None)
    monkeypatch.setenv("RAY_ADDRESS", named)
    try:
        assert cluster.address_of_host() == said
    except (UsageError, ConnectionError) as error:
        assert said in str(error)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "something listens there, but did not answer in 0.2 s. Is it started"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "what listens there is no head of Ray"),
    ],
    ids=["silent", "other"],
)
def test_what_listens_and_is_no_head_is_said_at_once(answer, said, monkeypatch):
    monkeypatch.setattr(cluster, "HEAD_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def serve():
            with server.accept()[0] as connection, contextlib.suppress(ConnectionError):
                connection.sendall(answer)
                connection.recv(1)  # until the other side closes

        serving = threading.Thread(target=serve)
        serving.start()
        with pytest.raises(ToolError, match=f"Cannot use the cluster {address}: {said}"), cluster.joined(address):
            pass
        serving.join()


def test_of_an_encrypted_head_only_the_port_is_tried(monkeypatch):
    """A TLS server waits for the client's hello."""
    monkeypatch.setenv("RAY_USE_TLS", "1")
    monkeypatch.setattr(cluster, "HEAD_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        cluster.require_head(f"127.0.0.1:{server.getsockname()[1]}")


def test_a_cluster_of_this_host_alone_is_started_wherever_others_are(monkeypatch):
    """Ray 2.60 joins what RAY_ADDRESS names where no address is passed (`ray.init`)."""
    seen = {}
    monkeypatch.setattr(cluster, "ray", SimpleNamespace(init=lambda **words: seen.update(words), shutdown=lambda: None))
    with cluster.joined("local"):
        assert (seen["address"], seen["_node_ip_address"], seen["include_dashboard"]) == ("local", "127.0.0.1", False)
        assert Path(seen["_temp_dir"]).is_dir()
    assert not Path(seen["_temp_dir"]).exists()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="other versions of Ray: requirements-cluster.txt")
def test_ray_knows_the_limits_that_are_set_for_it(monkeypatch):
    tries, seconds = environment.LIMITS_OF_RAY
    monkeypatch.setenv(tries, "7")
    monkeypatch.setenv(seconds, "")
    monkeypatch.delenv(seconds)
    environment.limit_ray()
    assert (os.environ[tries], os.environ[seconds]) == ("7", "10")
    assert f'environ.get("{tries}")' in inspect.getsource(ray._private.node)
    assert getattr(ray._raylet.Config, seconds.removeprefix("RAY_"))() > 0
