"""What a process has used: processor time and resident memory, from /proc."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """``cpu`` in seconds since the process began, ``rss`` in bytes."""

    cpu: float
    rss: int


def usage(pid: int) -> Usage:
    """Raises OSError when there is no such process, or no /proc."""
    process = Path("/proc") / str(pid)
    # The name in field 2 may hold anything; after its bracket comes field 3. utime and stime are 14 and 15 (proc(5)).
    fields = (process / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    for line in (process / "status").read_text("utf-8", "replace").splitlines():
        if line.startswith("VmRSS:"):
            return Usage(cpu, int(line.split()[1]) * 1024)
    raise OSError(f"process {pid} has ended")


def own_cpu() -> float:
    """Seconds of processor time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def raise_descriptor_limit(wanted: int) -> int:
    """The soft limit of open files, raised towards ``wanted`` as far as the hard one allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft
