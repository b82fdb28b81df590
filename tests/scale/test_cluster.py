"""Shards on a real Ray cluster of two raylets: the same parts and files as without, whoever is killed.

`SCALE_KILLS=10` kills at ten moments of each kind in place of one (CONTRIBUTING.md).
"""

import contextlib
import os
import random
import re
import signal
import threading
import time

import pyarrow.parquet as pq
import pytest
from hosts import command, is_alive, kill, named_in_memory, parent, parts_in, start, wait_until

from yolact_ascend.cli.main import main
from yolact_ascend.scale import driver

pytestmark = [pytest.mark.needs("pyarrow", "ray"), pytest.mark.cluster, pytest.mark.filterwarnings("ignore")]
KILLS = int(os.environ.get("SCALE_KILLS") or 1)
VICTIMS = ["actor", "device", "raylet", "driver"] if KILLS > 1 else ["device actor driver"]  # the latter in one run
FIRST_S = 2.0  # an actor opens its model within about this


def require_whole(out, many):
    """Parts, their rows and the merged files are those of one process."""
    assert parts_in(out) == many.parts
    found = pq.read_table(out / "parts", columns=["image_id"])[0].to_pylist()
    planned = pq.read_table(out / "manifest.parquet", columns=["image_id"])[0].to_pylist()
    assert found == planned and len(set(planned)) == 2 * many.shards
    assert (out / "bbox_detections.json").read_bytes() == many.box
    assert (out / "mask_detections.json").read_bytes() == many.mask


@pytest.fixture
def words(hosts, many):
    yield lambda out, *more: many.words(out, f"--cluster={hosts.address}", *more)
    hosts.replace_lost()


@pytest.mark.parametrize("actors", [2] if KILLS == 1 else [1, 2, 8])
def test_an_interrupted_run_is_completed_to_the_files_of_one_process(actors, hosts, words, many, tmp_path, capsys):
    out = tmp_path / "out"
    process = start(words(out, f"--actors={actors}"))
    wait_until(lambda: list(out.glob("parts/part-*")), "the first part")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and f"of {many.shards} shards are done. Finished shards are kept" in said
    assert "Traceback" not in said
    assert main(words(out, f"--actors={actors}")) == 0
    require_whole(out, many)
    said = capsys.readouterr()
    assert re.match(rf"{2 * many.shards} images in {many.shards} shards, [1-9]\d* of them done before\.", said.err)
    assert 1 <= len(re.findall(r"shards? with", said.out)) <= actors  # one that opens late finds nothing to do


class TooLate(Exception):
    """The run had ended before its kill."""


def strike(kind, hosts, process, out, moment, many):
    """Kill one process of a run at a moment: a share of its opening, or of its parts.

    Returns the parts that were there, and the files in shared memory that had a name.
    """
    opening, share = moment
    if opening:
        wait_until(lambda: hosts.actors() or not is_alive(process.pid), "an actor")
        time.sleep(share * FIRST_S)
    else:
        count = 1 + int(share * (many.shards - 2))
        wait_until(lambda: len(list(out.glob("parts/part-*"))) >= count or not is_alive(process.pid), "parts")

    def victims():
        if kind == "driver":
            return [process.pid] if is_alive(process.pid) else []
        if kind == "raylet":
            return [pid for pid in hosts.raylets() if pid in map(parent, hosts.actors())]
        return hosts.actors() if kind == "actor" else [p for p in hosts.started() if "ascend/worker.py" in command(p)]

    wait_until(lambda: victims() or not is_alive(process.pid), kind)
    victim = next(iter(victims()), None)
    if victim is None:
        raise TooLate
    os.kill(victim, signal.SIGSTOP)  # so that what it has written is known
    written = {path: path.stat().st_ino for path in out.glob("parts/part-*")}
    named = named_in_memory([process.pid, *hosts.actors(), *hosts.started()])
    kill(victim)
    hosts.reap(victim)
    return written, named


def strike_all(kinds, seed, hosts, process, out, many, sooner):
    """Kill one process of each kind, the first perhaps while models are opened; return what `strike` does, of all."""
    random_, written, named = random.Random(seed), {}, set()
    for place, kind in enumerate(kinds):
        moment = (place == 0 and random_.random() < 0.3, (place + random_.random()) / len(kinds) * sooner)
        parts, names = strike(kind, hosts, process, out, moment, many)
        written, named = {**parts, **written}, named | names
        print(f"\n{kind}, {seed}: {'opening' if moment[0] else 'parts'} {moment[1]:.2f}, {len(parts)} parts there")
    return written, named


@pytest.mark.parametrize("number", range(KILLS))
@pytest.mark.parametrize("victims", VICTIMS)
def test_a_kill_loses_nothing(victims, number, hosts, words, many, tmp_path):
    kinds = victims.split()
    for attempt in range(6):
        out = tmp_path / f"{attempt}"
        process = start(words(out))
        try:
            written, named = strike_all(kinds, f"{victims} {number}", hosts, process, out, many, 0.5**attempt)
            break
        except TooLate:
            _, said = process.communicate()
    else:
        pytest.fail(f"All moments are too late: {said}")
    _, said = process.communicate(timeout=120)
    assert "Traceback" not in said, said
    if "driver" in kinds:
        assert process.returncode == -signal.SIGKILL
        wait_until(lambda: not hosts.actors(), "the end of the actors")
        process = start(words(out))
        _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    require_whole(out, many)
    redone = [path.name for path, inode in written.items() if path.stat().st_ino != inode]
    assert len(redone) <= len(kinds), redone
    wait_until(lambda: not hosts.left(), hosts.left)
    assert not [path for path in named if path.exists()]
    print(f"{len(redone)} redone, {said.count('warning: a worker was lost')} warnings")


@pytest.mark.parametrize("number", range(KILLS))
def test_a_zombie_changes_nothing(number, hosts, words, many, tmp_path):
    """Workers of a raylet that is killed go on for some seconds (11 s were seen with Ray 2.60)."""
    count = 1 + random.Random(f"zombie {number}").randrange(many.shards // 2)
    for attempt in range(6):
        out = tmp_path / f"{attempt}"
        process = start(words(out))
        wait_until(lambda out=out: len(list(out.glob("parts/part-*"))) >= count, "parts")
        zombie = hosts.actors()[0]
        raylet = parent(zombie)
        kill(raylet)
        hosts.reap(raylet)
        with contextlib.suppress(ProcessLookupError):
            os.kill(zombie, signal.SIGSTOP)  # not before: the kernel ends stopped processes that become orphans
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
        require_whole(out, many)
        if is_alive(zombie):  # it looks for its raylet each second, and may have been quicker
            break
        hosts.replace_lost()
    else:
        pytest.fail("each has ended with its raylet")
    os.kill(zombie, signal.SIGCONT)
    wait_until(lambda: not is_alive(zombie) and not hosts.left(), "the end of the zombie")
    require_whole(out, many)


def test_a_worker_that_hangs_is_ended_and_replaced(hosts, words, many, tmp_path, capsys, monkeypatch):
    """Its raylet lives, so that Ray sees nothing; a stopped process is one whose store or device never answers."""
    monkeypatch.setitem(driver.LIMITS_S, "do", 5.0)
    out, stopped = tmp_path / "out", []

    def stop():
        wait_until(lambda: list(out.glob("parts/part-*")), "the first part")
        stopped.append(hosts.actors()[0])
        os.kill(stopped[0], signal.SIGSTOP)

    stopping = threading.Thread(target=stop)
    stopping.start()
    assert main(words(out)) == 0
    stopping.join()
    assert "and is replaced: It gave no news for 5 s: its process, device or store hangs." in capsys.readouterr().err
    require_whole(out, many)
    wait_until(lambda: not is_alive(stopped[0]) and not hosts.left(), "the end of the stopped worker")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1", "error: Cannot use the cluster 127.0.0.1:1: [Errno 111] Connection refused. Is it started"),
        ("127.0.0.1:99999", "error: Cannot use the cluster 127.0.0.1:99999: "),
        ("somewhere", "error: --cluster=somewhere: expected local, ray, or the head's HOST:PORT"),
        ("ray://127.0.0.1:10001", "error: --cluster=ray://127.0.0.1:10001: expected local, ray, or the head"),
    ],
)
def test_a_cluster_that_is_not_there_is_said(many, tmp_path, capsys, address, said):
    assert main(many.words(tmp_path / "out", f"--cluster={address}")) in (1, 2)
    assert capsys.readouterr().err.startswith(said)
