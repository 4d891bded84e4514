"""Find out how many fits may run at a time: the CPU limit of the process, not of the machine."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def cpu_limit(root: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """Return the CPUs that this process may use, at least 1.

    The least of its affinity and of the quotas of its control group and that group's parents
    (version 2: `cpu.max`; version 1: `cpu.cfs_quota_us` and `cpu.cfs_period_us`), rounded up.
    """
    limits = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    limits += [math.ceil(quota) for folder in _folders(root, membership) if (quota := _quota(folder)) is not None]
    return max(1, min(limits))


def _folders(root: Path, membership: Path) -> Iterator[Path]:
    """List the folders that may limit this process, inside a container and outside."""
    for base, group in ((root, _group(membership, "")), (root / "cpu", _group(membership, "cpu"))):
        yield base
        here = base / group.lstrip("/")
        while here != base and base in here.parents:
            yield here
            here = here.parent


def _group(membership: Path, controller: str) -> str:
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return "/"
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controller in controllers.split(","):
            return path
    return "/"


def _quota(folder: Path) -> float | None:
    both = _words(folder / "cpu.max") or _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
    try:
        quota, period = (float(word) for word in both)
    except ValueError:
        return None
    return quota / period if quota > 0 and period > 0 else None


def _words(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").split()
    except OSError:
        return []
