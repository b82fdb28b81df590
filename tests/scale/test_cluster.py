"""Shards on a real Ray cluster of two raylets: the same parts as without, whoever is killed."""

import os
import signal
import subprocess
import sys
import time

import pytest

from yolact_ascend.cli.main import main
from yolact_ascend.scale.places import find_place
from yolact_ascend.scale.plan import Planned, read_plan

pytestmark = [pytest.mark.needs("pyarrow", "ray"), pytest.mark.cluster, pytest.mark.filterwarnings("ignore")]
COPIES = 6  # of each of the four images


@pytest.fixture(scope="module")
def photographs(streamed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    for path in streamed.images.iterdir():
        for copy in range(COPIES):
            (folder / f"{copy}_{path.name}").symlink_to(path)
    return folder


@pytest.fixture(scope="module")
def words(streamed, photographs):
    def words(out, *more):
        return [
            *("scale", str(photographs), f"--out={out}", f"--model={streamed.model}", "--bs=2", "--shard_size=2"),
            *("--workers=1", *more),
        ]

    return words


@pytest.fixture(scope="module")
def alone(words, tmp_path_factory):
    """The parts without a cluster."""
    out = tmp_path_factory.mktemp("alone") / "out"
    assert main(words(out)) == 0
    return parts_in(out)


def parts_in(out):
    return {path.name: path.read_bytes() for path in sorted((out / "parts").iterdir())}


def wait_until(condition, what):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def actors():
    found = subprocess.run(["pgrep", "-f", "^ray::ShardWorker"], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def start(command):
    return subprocess.Popen([sys.executable, "-m", "yolact_ascend", *command], stderr=subprocess.PIPE, text=True)


def test_two_hosts_write_the_parts_of_one_process(ray_cluster, words, alone, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(words(out, f"--cluster={ray_cluster.address}")) == 0
    assert parts_in(out) == alone
    said = capsys.readouterr()
    assert said.err.startswith("24 images in 12 shards, 0 of them done before.")
    assert said.out.count("ONNX Runtime on the CPU: ") == 2  # each host did some
    assert main(words(out, f"--cluster={ray_cluster.address}", "--bs=1")) == 2
    assert "is another plan: batch_size 2, now 1" in capsys.readouterr().err


def test_a_killed_worker_is_replaced(ray_cluster, words, alone, tmp_path):
    out = tmp_path / "out"
    process = start(words(out, f"--cluster={ray_cluster.address}", "--actors=1"))
    wait_until(lambda: list(out.glob("parts/part-*")), "the first part")
    os.kill(actors()[0], signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "warning: a worker was lost on" in said and "Traceback" not in said
    assert parts_in(out) == alone


def test_a_killed_driver_leaves_what_the_next_one_completes(ray_cluster, words, alone, tmp_path):
    out = tmp_path / "out"
    process = start(words(out, f"--cluster={ray_cluster.address}"))
    wait_until(lambda: list(out.glob("parts/part-*")), "the first part")
    process.kill()
    process.communicate()
    place = find_place(str(out))
    assert 0 < len(Planned(place, read_plan(place)).missing()) < 12
    wait_until(lambda: not actors(), "the end of the actors")
    assert main(words(out, f"--cluster={ray_cluster.address}")) == 0
    assert parts_in(out) == alone


def test_an_interrupt_says_what_is_done(ray_cluster, words, tmp_path):
    out = tmp_path / "out"
    process = start(words(out, f"--cluster={ray_cluster.address}"))
    wait_until(lambda: list(out.glob("parts/part-*")), "the first part")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "of 12 shards are done. Finished shards are kept" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1", "error: Cannot use the cluster 127.0.0.1:1: [Errno 111] Connection refused. Is it started"),
        ("127.0.0.1:99999", "error: Cannot use the cluster 127.0.0.1:99999: "),
        ("somewhere", "error: --cluster=somewhere: expected local, ray, or the head's HOST:PORT"),
        ("ray://127.0.0.1:10001", "error: --cluster=ray://127.0.0.1:10001: expected local, ray, or the head"),
    ],
)
def test_a_cluster_that_is_not_there_is_said(words, tmp_path, capsys, address, said):
    assert main(words(tmp_path / "out", f"--cluster={address}")) in (1, 2)
    assert capsys.readouterr().err.startswith(said)
