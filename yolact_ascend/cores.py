"""How many cores this process may use: fewer than the machine has under taskset, and in containers."""

from __future__ import annotations

import math
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

# Sets of instructions, by Linux's names, with which libraries of neural networks compute in another order.
INSTRUCTIONS = (
    *("avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16"),
    *("asimd", "asimddp", "i8mm", "bf16", "sve"),
)


def count_cores(proc: Path = Path("/proc/self")) -> int:
    """Return how many cores this process may run on, at most as many as its CPU quota (cgroup) pays for, rounded up."""
    allowed = len(os.sched_getaffinity(0))
    return max(1, min([allowed, *map(math.ceil, cpu_quotas(proc))]))


def describe_cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's kind and which of `INSTRUCTIONS` it has: on equal ones libraries compute the same."""
    lines = (line.partition(":") for line in _read(cpuinfo).splitlines())
    words = next((value.split() for name, _, value in lines if name.strip() in ("flags", "Features")), [])
    return " ".join([platform.machine(), *(name for name in INSTRUCTIONS if name in words)])


def cpu_quotas(proc: Path) -> Iterator[float]:
    """Yield the quotas of this process's control groups, and of those above them, in cores."""
    for version, folder, top in _cpu_groups(proc):
        for group in [folder, *folder.parents]:
            quota = _read_quota(group, version)
            if quota is not None:
                yield quota
            if group == top:
                break


def _cpu_groups(proc: Path) -> Iterator[tuple[int, Path, Path]]:
    """Yield the version of cgroup, the folder of this process's group, and that of the highest group to be seen."""
    groups = dict(_group_paths(_read(proc / "cgroup")))
    for line in _read(proc / "mountinfo").splitlines():
        # 31 23 0:28 ROOT MOUNT_POINT OPTIONS … - TYPE SOURCE OPTIONS (man 5 proc)
        mount, _, rest = line.partition(" - ")
        fields, (kind, *_, options) = mount.split(" "), rest.split(" ")
        version = {"cgroup": 1, "cgroup2": 2}.get(kind)
        if version not in groups or (version == 1 and "cpu" not in options.split(",")):
            continue
        top = Path(re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), fields[4]))
        try:
            below = PurePosixPath(groups[version]).relative_to(fields[3])
        except ValueError:  # a container's mount shows its own group only, as the highest
            below = PurePosixPath()
        yield version, top / below, top


def _group_paths(text: str) -> Iterator[tuple[int, str]]:
    """Yield the version of cgroup and this process's path in it, from lines such as "1:cpu,cpuacct:/docker/1f"."""
    for line in text.splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            yield 2, path
        elif "cpu" in controllers.split(","):
            yield 1, path


def _read_quota(group: Path, version: int) -> float | None:
    """Return a group's quota in cores; None when it has none."""
    if version == 2:
        words = _read(group / "cpu.max").split()  # "150000 100000", or "max 100000"
    else:
        words = [_read(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]  # "-1": none
    if len(words) == 2 and all(word.isdigit() and int(word) > 0 for word in words):
        return int(words[0]) / int(words[1])
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:  # another system, or a group that is not shown here
        return ""
