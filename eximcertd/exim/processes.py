"""Processes as /proc shows them (proc(5)). Each value is as old as the moment at which it was read."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")
_LONGEST = 1 << 16
_KERNEL = "2"


class Process(NamedTuple):
    """What every user may see of a process.

    users: real, effective and saved user id. parent: process id. started: seconds since the machine's start, to a
    hundredth. caught, ignored: masks of signals. depth: of PID namespaces; 1 outside of containers.
    """

    pid: int
    users: tuple[int, ...]
    parent: int
    started: float
    caught: int
    ignored: int
    depth: int

    def catches(self, number: int) -> bool:
        """Tell whether it has a handler for a signal."""
        return bool(self.caught >> (number - 1) & 1)

    def ignores(self, number: int) -> bool:
        """Tell whether it ignores a signal."""
        return bool(self.ignored >> (number - 1) & 1)


def read(pid: int | str, name: str) -> str:
    """Return the first 64 KiB of a file of a process, "" if the process has ended or is hidden."""
    try:
        descriptor = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    raw = bytearray()
    try:
        while len(raw) < _LONGEST and (portion := os.read(descriptor, _LONGEST - len(raw))):
            raw += portion
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    return raw.decode("utf-8", "backslashreplace")


def process(pid: int) -> Process | None:
    """Return what a process is now; None if it has ended, is a zombie, or is hidden."""
    status = dict(re.findall(r"^(\w+):\s*(.*)$", read(pid, "status"), re.MULTILINE))
    stat = read(pid, "stat").rpartition(")")[2].split()
    try:
        if stat[0] in {"Z", "X"}:
            return None
        return Process(
            pid,
            tuple(map(int, status["Uid"].split()[:3])),
            int(stat[1]),
            int(stat[19]) / TICKS,
            int(status["SigCgt"], 16),
            int(status["SigIgn"], 16),
            len(status.get("NSpid", "1").split()),
        )
    except (KeyError, IndexError, ValueError):
        return None


def arguments(pid: int) -> list[str]:
    """Return the command line of a process, its own name first.

    None if it has ended, is hidden, is the kernel's, or is just being replaced by another program.
    """
    return read(pid, "cmdline").split("\0")[:-1]


def of_the_kernel(pid: int) -> bool:
    """Tell whether a process is a thread of the kernel."""
    return _KERNEL in {str(pid), *read(pid, "stat").rpartition(")")[2].split()[1:2]}


def all_ids() -> list[int]:
    """Return the ids of all processes that can be seen."""
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208 - pathlib is slow to import


def hidden() -> bool:
    """Tell whether other users' processes are hidden (mount option hidepid, or a service's ProtectProc)."""
    return not read(1, "status")


def holder(inode: str) -> int | None:
    """Return the lowest process that holds a socket, as far as the caller may see its descriptors."""
    for pid in sorted(all_ids()):
        try:
            with os.scandir(f"/proc/{pid}/fd") as entries:
                if any(os.readlink(entry.path) == f"socket:[{inode}]" for entry in entries):  # noqa: PTH115 - see above
                    return pid
        except OSError:
            continue
    return None
