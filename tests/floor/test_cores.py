"""How many cores a process may use: affinity, and the quotas of control groups in both versions."""

import os
import platform
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from factories import CHECKOUT

from yolact_ascend.cores import count_cores, cpu_quotas, describe_cpu

V1 = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    "32 31 0:29 {root} {mount} rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
)
V2 = "30 23 0:26 {root} {mount} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


def pretend(folder, mountinfo, cgroup, root="/", **files):
    """Write what /proc/self says, and control groups with these files; return the folder that stands for /proc/self."""
    mount = folder / "cpu groups"
    for name, text in files.items():
        path = mount / name.replace("__", "/").replace("_max", ".max").replace("cfs_", "cpu.cfs_")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    (folder / "mountinfo").write_text(mountinfo.format(root=root, mount=str(mount).replace(" ", "\\040")))
    (folder / "cgroup").write_text(cgroup)
    return folder


@pytest.mark.parametrize(
    ("mountinfo", "cgroup", "more", "quotas"),
    [
        (V2, "0::/\n", {}, []),
        (V2, "0::/\n", {"cpu_max": "max 100000"}, []),
        (V2, "0::/\n", {"cpu_max": "150000 100000"}, [1.5]),
        (V2, "0::/a/b\n", {"a__b__cpu_max": "max 100000", "a__cpu_max": "50000 100000"}, [0.5]),
        (V2, "0::/a/b\n", {"a__b__cpu_max": "200000 100000", "a__cpu_max": "50000 100000"}, [2, 0.5]),
        (V2, "0::/a\n", {"a__cpu_max": "not numbers"}, []),
        (V2, "0::/a\n", {"b__cpu_max": "50000 100000"}, []),
        (V1, "4:cpu,cpuacct:/\n0::/\n", {"cfs_quota_us": "-1", "cfs_period_us": "100000"}, []),
        (V1, "4:cpu,cpuacct:/a\n", {"a__cfs_quota_us": "50000", "a__cfs_period_us": "100000"}, [0.5]),
        (V1, "4:memory:/a\n", {"a__cfs_quota_us": "50000", "a__cfs_period_us": "100000"}, []),
        # Docker without a namespace of its own: the path is the host's, and the mount shows the container's group.
        (V1, "4:cpu:/docker/1f\n", {"root": "/docker/1f", "cfs_quota_us": "300", "cfs_period_us": "100"}, [3]),
        (V1, "4:cpu:/other\n", {"root": "/docker/1f", "cfs_quota_us": "300", "cfs_period_us": "100"}, [3]),
        (V2, "0::/../..\n", {"cpu_max": "150000 100000"}, [1.5]),
        ("", "", {}, []),
    ],
)
def test_quotas_are_read_from_the_groups_of_the_process_and_those_above(tmp_path, mountinfo, cgroup, more, quotas):
    assert list(cpu_quotas(pretend(tmp_path, mountinfo, cgroup, **more))) == quotas


@pytest.mark.parametrize(("quota", "cores"), [("50000", 1), ("100000", 1), ("150000", 2), ("900000", 3), ("max", 3)])
def test_a_quota_is_rounded_up_and_no_more_than_the_cores_that_there_are(tmp_path, monkeypatch, quota, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 5})
    assert count_cores(pretend(tmp_path, V2, "0::/\n", cpu_max=f"{quota} 100000")) == cores


def test_where_nothing_is_said_the_cores_count(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 5})
    assert count_cores(tmp_path) == 3


@pytest.fixture
def half_a_core():
    """A real control group with half a core, and the file that takes processes into it."""
    parent = Path("/sys/fs/cgroup/cpu")
    v1 = parent.is_dir()
    group = (parent if v1 else parent.parent) / f"yolact-ascend-{uuid.uuid4().hex}"
    try:
        group.mkdir()
        file, text = ("cpu.cfs_quota_us", "50000") if v1 else ("cpu.max", "50000 100000")
        (group / file).write_text(text)
    except OSError as error:
        if group.is_dir():
            group.rmdir()
        pytest.skip(f"control groups cannot be made here: {error}")
    yield group / "cgroup.procs"
    group.rmdir()


def test_a_real_control_group_counts(half_a_core):
    code = (
        f"import os, pathlib, sys; sys.path.insert(0, {str(CHECKOUT)!r})\n"
        f"pathlib.Path({str(half_a_core)!r}).write_text(str(os.getpid()))\n"
        "from yolact_ascend.cores import count_cores; print(count_cores())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 sse avx fma\n\nprocessor\t: 1\nflags\t\t: avx512f\n", " avx avx2 fma"),
        ("processor\t: 0\nFeatures\t: fp asimd evtstrm asimddp\n", " asimd asimddp"),  # aarch64
        ("", ""),
    ],
)
def test_a_processor_is_told_by_its_instructions(text, said, tmp_path):
    (tmp_path / "cpuinfo").write_text(text)
    assert describe_cpu(tmp_path / "cpuinfo") == f"{platform.machine()}{said}"
