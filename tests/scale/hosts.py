"""A Ray cluster of two raylets as two hosts on 127.0.0.1, and who runs on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from yolact_ascend.slots import SHARED_MEMORY

MARK = "SCALE_TEST_CLUSTER"  # in the environment of the processes that actors start; those of others are left out
LIMIT_S = 60
# Ray 2.60 looks at each node every 3 s, and gives it up at the fifth failure (src/ray/common/ray_config_def.h).
QUICK_HEALTH = {"health_check_period_ms": 500, "health_check_failure_threshold": 4}


class Hosts:
    """The cluster: a head without cores, and two raylets of two cores each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.mark = f"{MARK}={os.getpid()}"
        os.environ[MARK] = str(os.getpid())
        self._options = {"node_ip_address": "127.0.0.1", "include_dashboard": False, "object_store_memory": 80 * 2**20}
        head = {**self._options, "num_cpus": 0, "_system_config": QUICK_HEALTH}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._nodes = [self._add() for _ in range(2)]
        self.address = self._cluster.address

    def _add(self):
        return self._cluster.add_node(**self._options, num_cpus=2)

    def raylets(self) -> list[int]:
        """Return the processes that stand for hosts."""
        return [process.pid for process in self._processes()]

    def _processes(self) -> list[subprocess.Popen]:
        return [node.all_processes["raylet"][0].process for node in self._nodes]

    def reap(self, pid: int) -> None:
        """Wait for a raylet that was killed: its workers ask whether its number is one of a process."""
        for process in self._processes():
            if process.pid == pid:
                process.wait()

    def left(self) -> list[str]:
        """Return the command lines of actors, and of what they have started."""
        return [command(pid).strip() for pid in (*self.actors(), *self.started())]

    def replace_lost(self) -> None:
        """Start a raylet in place of each that was killed."""
        for place, (node, pid) in enumerate(zip(self._nodes, self.raylets())):
            if not is_alive(pid):
                self._cluster.remove_node(node, allow_graceful=False)
                self._nodes[place] = self._add()

    def shutdown(self) -> None:
        """End all of it."""
        self._cluster.shutdown()
        del os.environ[MARK]

    def actors(self) -> list[int]:
        """Return the processes of our actors, on hosts that live."""
        raylets = self.raylets()
        return [pid for pid in pids() if command(pid).startswith("ray::ShardWorker") and parent(pid) in raylets]

    def started(self) -> list[int]:
        """Return the processes that actors have started, on the device, workers, and Python's for them."""
        mine = [pid for pid in pids() if self.mark in environment(pid) and parent(pid) != os.getpid()]
        return [pid for pid in mine if "multiprocessing" in command(pid) or "ascend/worker.py" in command(pid)]


def start(words: list[str], **options) -> subprocess.Popen:
    """Start a verb of ours."""
    line = [sys.executable, "-m", "yolact_ascend", *words]
    return subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, **options)


def wait_until(condition: Callable[[], object], what: str | Callable[[], object]) -> None:
    """Wait until a condition holds. Raises AssertionError, which names what was awaited, after `LIMIT_S` seconds."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(0.01)


def parts_in(out: Path) -> dict[str, bytes]:
    """Return the parts by name; a process that is killed while it writes one leaves a hidden file beside them."""
    return {path.name: path.read_bytes() for path in sorted((out / "parts").glob("part-*"))}


def kill(pid: int) -> None:
    """End a process as a lack of memory does."""
    os.kill(pid, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not waited for does not."""
    return _status(pid)[0] not in ("Z", "X", "")


def parent(pid: int) -> int:
    """Return the parent's number; 0 when the process has gone."""
    return int(_status(pid)[1])


def pids() -> Iterator[int]:
    """Give all processes that run."""
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and is_alive(int(path.name)))


def command(pid: int) -> str:
    """Return a process's command line."""
    return _read(pid, "cmdline").replace("\0", " ")


def environment(pid: int) -> list[str]:
    """Return a process's environment, as it was started with."""
    return _read(pid, "environ").split("\0")


def named_in_memory(processes: list[int]) -> set[Path]:
    """Return the files in shared memory that processes map and that have a name, but for Ray's object store."""
    words = {line.split()[-1] for pid in processes for line in _read(pid, "maps").splitlines()}
    named = {Path(word) for word in words if word.startswith(f"{SHARED_MEMORY}/")}
    return {path for path in named if path.exists() and not path.name.startswith("plasma")}


def _status(pid: int) -> tuple[str, str]:
    fields = _read(pid, "stat").rpartition(") ")[2].split(" ")
    return (fields[0], fields[1]) if len(fields) > 1 else ("", "0")


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""
