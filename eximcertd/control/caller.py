"""The peer of a connection, from the kernel.

SO_PEERCRED and SO_PEERGROUPS give user, groups and process as they were when the peer connected
(socket(7), unix(7)). The login user behind sudo comes from /proc/PID/loginuid (audit), where the kernel keeps it and
the service can read it. It is a name in the ledger and gives no right.
"""

from __future__ import annotations

import pwd
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_CREDENTIALS = struct.Struct("3i")
_SO_PEERGROUPS: Final = 59
_MOST_GROUPS: Final = 256  # Python's getsockopt gives no more than 1,024 bytes
_UNSET: Final = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Caller:
    """The peer of a connection. groups: with the primary one. name: "alice", or "alice (via root)"."""

    uid: int
    gid: int
    pid: int
    groups: frozenset[int]
    name: str


def caller(connection: socket.socket) -> Caller:
    """Return the peer. Raises OSError if the kernel does not tell it."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    return Caller(uid, gid, pid, groups=_groups(connection) | {gid}, name=name_of(uid, pid))


def _groups(connection: socket.socket) -> frozenset[int]:
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4 * _MOST_GROUPS)
    except OSError:
        return frozenset()  # more groups than fit: none of them counts, which gives no right
    return frozenset(struct.unpack(f"{len(raw) // 4}I", raw))


def name_of(uid: int, pid: int) -> str:
    """Return the name of a process's user, with the login user behind it: "alice", "alice (via root)"."""
    login = _login_uid(uid, pid)
    own = _user_name(uid)
    return own if login in {None, uid} else f"{_user_name(login)} (via {own})"


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _login_uid(uid: int, pid: int) -> int | None:
    directory = Path("/proc") / str(pid)
    try:
        login = int((directory / "loginuid").read_text(encoding="ascii"))
        same = directory.stat().st_uid == uid  # else the peer has ended, and the number is another process's
    except (OSError, ValueError):
        return None
    return login if same and login != _UNSET else None
