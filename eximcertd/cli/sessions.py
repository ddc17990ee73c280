"""SMTP sessions that were open before Exim's list changed: they keep the old one until they end.

Exim's daemon makes a process for each session, a child of its own (Exim specification, chapter "The
runtime configuration file", daemon). All that is known of them comes from /proc.
"""

from __future__ import annotations

import ipaddress
import os
import re
import select
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_MOST: Final = 10_000
_SLACK: Final = 0.02
"""Seconds; the kernel tells starts to a hundredth. Who started in that time may be counted as older."""

_LEAVE: Final = 5.0
"""Seconds in which a session has to be gone after SIGTERM."""


class HiddenError(Exception):
    """The sessions cannot be seen from here; the text says why, in a clause."""


@dataclass(frozen=True, slots=True)
class Session:
    """A session's process. started: seconds since the epoch. peer: the client's address, "" if it is not told."""

    pid: int
    started: float
    peer: str


def older(daemon: int, than: float) -> list[Session]:
    """Return the sessions of Exim's daemon that began before a time (seconds since the epoch).

    Raises HiddenError if this user may not see them, or the daemon is not there.
    """
    if _stat(daemon) is None:
        raise HiddenError(f"Exim's daemon (process {daemon}) is gone, or hidden from this user")
    peers = _peers(daemon)
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    found = []
    for pid in _children(daemon):
        stat = _stat(pid)
        if stat is None or stat.parent != daemon or boot + stat.start > than + _SLACK:
            continue
        inodes = _sockets(pid)
        peer = next((peers[inode] for inode in inodes or () if inode in peers), "")
        if peer or inodes is None:  # who has no peer, such as a queue runner, is none
            found.append(Session(pid, boot + stat.start, peer))
    return found


def end(sessions: list[Session]) -> int:
    """End sessions, wait a little until they are gone, and return how many are.

    Raises PermissionError if this user may not.
    """
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    waiting: dict[int, int] = {}
    gone = 0
    try:
        for session in sessions:
            try:
                handle = os.pidfd_open(session.pid)
            except ProcessLookupError:
                gone += 1
                continue
            waiting[handle] = session.pid
            stat = _stat(session.pid)
            if stat is None or abs(boot + stat.start - session.started) > 1:
                continue  # its number is somebody else's by now
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGTERM)
        return gone + _leave(set(waiting))
    finally:
        for handle in waiting:
            os.close(handle)


def _leave(handles: set[int]) -> int:
    """Return how many of these processes end in time."""
    all_of_them = len(handles)
    deadline = time.monotonic() + _LEAVE
    poll = select.poll()
    for handle in handles:
        poll.register(handle, select.POLLIN)
    while handles and (left := deadline - time.monotonic()) > 0:
        for handle, _ in poll.poll(left * 1000):
            poll.unregister(handle)
            handles.discard(handle)
    return all_of_them - len(handles)


@dataclass(frozen=True, slots=True)
class _Stat:
    """parent: process id. start: seconds after the machine's start."""

    parent: int
    start: float


def _stat(pid: int) -> _Stat | None:
    try:
        fields = (_PROC / str(pid) / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return _Stat(int(fields[1]), int(fields[19]) / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError):
        return None


def _children(pid: int) -> list[int]:
    try:
        text = (_PROC / str(pid) / "task" / str(pid) / "children").read_text(encoding="ascii")
        return [int(child) for child in text.split()][:_MOST]
    except (OSError, ValueError):  # a kernel without CONFIG_PROC_CHILDREN
        found = [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal()]
        return [child for child in found if (stat := _stat(child)) is not None and stat.parent == pid]


def _sockets(pid: int) -> list[str] | None:
    """Return the inodes of a process's sockets; None where this user may not see them."""
    found = []
    try:
        for entry in (_PROC / str(pid) / "fd").iterdir():
            with suppress(FileNotFoundError):
                target = re.fullmatch(r"socket:\[(\d+)\]", str(entry.readlink()))
                if target:
                    found.append(target[1])
    except PermissionError:
        return None
    except OSError:
        return []  # it has just ended
    return found


def _peers(pid: int) -> dict[str, str]:
    """Return inode -> client's address for the TCP connections in a process's network namespace."""
    found = {}
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (_PROC / str(pid) / "net" / name).read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if not fields[2].endswith(":0000"):  # it has a peer
                    found[fields[9]] = _address(fields[2].partition(":")[0])
    return found


def _address(text: str) -> str:
    """Return the address that the kernel writes as 32-bit words in its own byte order."""
    raw = b"".join(bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8))
    address = ipaddress.ip_address(raw)
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
