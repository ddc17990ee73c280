"""Callers of a control socket: programs that we did not write, other users, and the client of eximcertctl."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from eximcertd.control.client import Client
from lab.daemon import program

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

INFO = b'{"method":"org.varlink.service.GetInfo"}\0'
OTHERS = 0 if os.getuid() else 65534
"""Somebody else's user id: nobody's, as seen by root."""
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")


@contextmanager
def connected(path: Path) -> Iterator[socket.socket]:
    """Connect as a program that we did not write would."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
        peer.settimeout(10)
        yield peer


def replies(peer: socket.socket, count: int | None = None) -> list[dict[str, Any]]:
    """Read so many replies, or all until the server hangs up."""
    raw = b""
    while count is None or raw.count(b"\0") < count:
        try:
            portion = peer.recv(1 << 16)
        except ConnectionResetError:
            break  # it hung up before it had read all that we sent
        if not portion:
            break
        raw += portion
    return [json.loads(message) for message in raw.split(b"\0")[:-1]]


def ask(path: Path, raw: bytes) -> list[dict[str, Any]]:
    """Send this, and nothing more; return every reply."""
    with connected(path) as peer:
        try:
            peer.sendall(raw)
            peer.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        return replies(peer)


def once(path: Path, method: str, *, timeout: float = 10.0) -> Any:
    """Ask once, as eximcertctl does, and hang up."""
    with Client(path, timeout=timeout) as client:
        return client.call(method)


def as_nobody(script: str, *arguments: str) -> str:
    """Run a Python text as another user, in no group of ours, and return what it printed."""
    done = _by_nobody([sys.executable, "-c", script, *arguments])
    done.check_returncode()
    return done.stdout


def ctl_as_nobody(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run eximcertctl as another user, in no group of ours."""
    return _by_nobody([program("eximcertctl"), *arguments])


def _by_nobody(command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, user=OTHERS, group=OTHERS, extra_groups=[]
    )


def ask_first(peer: socket.socket) -> Any:
    """Ask over a connection that is there already."""
    peer.sendall(INFO)
    return replies(peer, 1)[0]["parameters"]


def reachable(directory: Path) -> Path:
    """Let other users through to a directory of pytest's, and return it."""
    for parent in (directory, *directory.parents):
        if parent.stat().st_uid == os.getuid() and parent.name != "tmp" and len(parent.parts) > 2:
            parent.chmod(parent.stat().st_mode | 0o011)
    return directory
