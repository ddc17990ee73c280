"""SMTP sessions that began before Exim loaded its list: they use the old one until they end.

Exim's daemon forks a process for each session (Exim specification, chapter "Starting the daemon"). A session is
identified from /proc only; the answer of eximcertd gives no more than the time. Root ends only a process that has the
command line of a daemon of this configuration, belongs to Exim's user, and holds a TCP connection on a port of that
daemon.
"""

from __future__ import annotations

import ipaddress
import os
import re
import select
import signal
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from eximcertd.exim import processes
from eximcertd.exim.daemons import forked
from eximcertd.exim.listeners import named_ports

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from eximcertd.exim.daemons import EximFacts

_SLACK: Final = 0.02
"""Seconds; the kernel tells the start of a process to a hundredth."""

_LEAVE: Final = 5.0
"""Seconds in which a session has to end after SIGTERM."""


class OpenSession(NamedTuple):
    """A session's process. started: seconds since the machine's start. peer: the client's address, "" if hidden."""

    pid: int
    started: float
    peer: str


def older(facts: EximFacts, than: float) -> list[OpenSession]:
    """Return the sessions that began before a time (seconds since the epoch). Raises EximError if they are hidden."""
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    found = []
    for process in forked(facts):
        if process.user == 0 or boot + process.started > min(than, time.time()) + _SLACK:
            continue
        ports = named_ports(process.endpoints, facts.tls_ports)
        held = _sockets(process.pid)
        peer = next((address for inode, address in _peers(process.pid, ports) if held is None or inode in held), "")
        if peer:  # a queue runner has none
            found.append(OpenSession(process.pid, process.started, "" if held is None else peer))
    return found


def end(sessions: Iterable[OpenSession]) -> int:
    """End sessions with SIGTERM, wait until they are gone, and return how many are.

    Raises PermissionError if this user may not.
    """
    waiting: set[int] = set()
    gone = 0
    try:
        for session in sessions:
            try:
                handle = os.pidfd_open(session.pid)
            except ProcessLookupError:
                gone += 1
                continue
            waiting.add(handle)
            seen = processes.process(session.pid)
            if seen is not None and seen.started == session.started:  # else the id is another process's
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, signal.SIGTERM)
        return gone + _ended(waiting)
    finally:
        for handle in waiting:
            os.close(handle)


def _ended(handles: Collection[int]) -> int:
    """Return how many of these processes end in time."""
    left = set(handles)
    deadline = time.monotonic() + _LEAVE
    poll = select.poll()
    for handle in left:
        poll.register(handle, select.POLLIN)
    while left and (patience := deadline - time.monotonic()) > 0:
        for handle, _ in poll.poll(patience * 1000):
            poll.unregister(handle)
            left.discard(handle)
    return len(handles) - len(left)


def _sockets(pid: int) -> set[str] | None:
    """Return the inodes of a process's sockets; None where this user may not see them."""
    found = set()
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                target = re.fullmatch(r"socket:\[(\d+)\]", str(entry.readlink()))
                if target:
                    found.add(target[1])
    except PermissionError:
        return None
    except OSError:
        pass  # it has just ended
    return found


def _peers(pid: int, ports: Collection[int]) -> Iterable[tuple[str, str]]:
    """Yield inode and client's address of the TCP connections on these local ports, as proc(5) tells (net/tcp)."""
    for table in ("tcp", "tcp6"):
        with suppress(OSError), Path(f"/proc/{pid}/net/{table}").open(encoding="ascii") as rows:
            for columns in (row.split() for row in islice(rows, 1, None)):
                connected = not columns[2].endswith(":0000")
                if connected and int(columns[1].rpartition(":")[2], 16) in ports:
                    yield columns[9], _address(columns[2].partition(":")[0])


def _address(text: str) -> str:
    """Return an address that proc(5) spells as 32-bit words in the machine's byte order."""
    raw = b"".join(bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8))
    address = ipaddress.ip_address(raw)
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
