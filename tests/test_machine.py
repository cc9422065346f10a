"""What a machine has for workers, within its control groups."""

import os
from pathlib import Path

import pytest

from fmnist_mlp.engines.machine import available_cores, available_memory_bytes


def test_this_machine_has_cores_and_memory():
    assert 1 <= available_cores() <= (os.cpu_count() or 1)
    if Path("/proc/meminfo").exists():
        assert available_memory_bytes() > 2**20


def write_files(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 64),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 64),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "10000 100000\n"}, 1),
        # a group around ours is the narrower
        (
            {
                "proc/self/cgroup": "0::/a b/c\n",
                "sys/fs/cgroup/a b/cpu.max": "300000 100000\n",
                "sys/fs/cgroup/a b/c/cpu.max": "max 100000\n",
            },
            3,
        ),
        # version 1, in a container whose path is the host's
        (
            {
                "proc/self/cgroup": "5:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "400000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            4,
        ),
        (
            {
                "proc/self/cgroup": "1:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            64,
        ),
    ],
)
def test_cores_within_a_quota(tmp_path, monkeypatch, files, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    assert available_cores(write_files(tmp_path, files)) == cores


@pytest.mark.parametrize(
    ("files", "size_bytes"),
    [
        ({}, None),
        ({"proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    5000 kB\n"}, 5000 * 1024),
        (
            {
                "proc/meminfo": "MemAvailable: 5000 kB\n",
                "proc/self/cgroup": "0::/job\n",
                "sys/fs/cgroup/memory.max": "max\n",
                "sys/fs/cgroup/job/memory.max": "1000000\n",
                "sys/fs/cgroup/job/memory.current": "300000\n",
                "sys/fs/cgroup/job/memory.stat": "anon 1\ninactive_file 50000\n",
            },
            750_000,
        ),
        (
            {
                "proc/meminfo": "MemAvailable: 5000 kB\n",
                "proc/self/cgroup": "4:memory:/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "1000000\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "300000\n",
                "sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 20000\n",
            },
            720_000,
        ),
    ],
)
def test_memory_within_a_limit(tmp_path, files, size_bytes):
    assert available_memory_bytes(write_files(tmp_path, files)) == size_bytes
