"""Callers that mean the control socket no good lose their own connection, and nothing of others."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from lab.twins import PORTION, Twin
from lab.wait import until

from eximcertd.control.client import Client
from eximcertd.control.connection_limiter import BOUNDS, Rank
from eximcertd.control.protocol import LARGEST_CALL, Call, encode_call
from eximcertd.control.rights import Rights
from eximcertd.control.server import Caller, Limits
from eximcertd.errors import (
    EximcertdError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
from lab.callers import INFO, OTHERS, as_nobody, ask, ask_first, connected, needs_root, once, reachable, replies


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0",
        b"GET / HTTP/1.1\r\n\r\n\0",
        pytest.param(os.urandom(5000) + b"\0", id="5000 random bytes"),
        b"[" * 100_000 + b"\0",
        b'{"method":"org.eximcertd.Status","parameters":{"a":"\\udfff"}}\0',
        b'{"method":',
    ],
    ids=lambda raw: repr(raw[:30]),
)
def test_garbage_loses_its_own_connection_and_no_other(twin: Twin, garbage: bytes) -> None:
    with Client(twin.path) as other:
        other.call("Status")
        assert [reply["error"] for reply in ask(twin.path, garbage + INFO)] == ["org.eximcertd.Usage"]
        other.call("Status")


def test_an_endless_message_is_cut_off(twin: Twin) -> None:
    with connected(twin.path) as peer, Client(twin.path) as other:
        sent = 0
        try:
            while sent < 4 * LARGEST_CALL:
                sent += peer.send(b"[" * (1 << 16))
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert sent < 4 * LARGEST_CALL
        assert [reply["error"] for reply in replies(peer)] == ["org.eximcertd.Usage"]
        other.call("Status")


def test_silence_is_hung_up_on(path: Path) -> None:
    with Twin(path, limits=Limits(idle=0.2, other_idle=0.2)), connected(path) as silent, connected(path) as slow:
        slow.sendall(INFO[:10])
        assert replies(silent) == []
        assert replies(slow) == []


def test_who_takes_no_answer_is_hung_up_on_and_others_are_served(path: Path) -> None:
    with Twin(path, limits=Limits(write=0.3)) as twin, connected(path) as deaf, Client(path) as other:
        for number in range(2 * PORTION):
            twin.see(f"{number:064X}")
        call = encode_call(Call("org.eximcertd.List", {"standings": [], "prefixes": []}, more=True))
        deaf.sendall(call * 20)
        other.call("Status")
        until(lambda: _hung_up(deaf), "the deaf one is hung up on")
        other.call("Status")


def _hung_up(peer: socket.socket) -> bool:
    try:
        return peer.send(b" ", socket.MSG_DONTWAIT) == 0
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_a_watcher_who_goes_away_is_noticed(path: Path) -> None:
    left = threading.Event()

    async def watch(_: Caller, __: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        try:
            yield {"events": []}
            await asyncio.Event().wait()
        finally:
            left.set()

    with Twin(path, limits=Limits(gone=0.05), methods={"Watch": watch}):
        with connected(path) as peer:
            peer.sendall(encode_call(Call("org.eximcertd.Watch", more=True)))
            assert replies(peer, 1) == [{"parameters": {"events": []}, "continues": True}]
            assert not left.wait(0.2), "it is still there"
        assert left.wait(10)


def test_a_thousand_connections_of_one_user_leave_room_for_others(path: Path) -> None:
    rank = Rank.ROOT if os.getuid() == 0 else Rank.APPROVER
    with Twin(path), ExitStack() as stack:
        peers = [stack.enter_context(connected(path)) for _ in range(1000)]
        for peer in peers[BOUNDS[rank].each :]:
            assert b"too many connections" in peer.recv(4096)
        with pytest.raises(EximcertdError, match="too many connections"):
            once(path, "Status")
        assert ask_first(peers[0])["product"] == "eximcertd", "the first ones are served"
    with Twin(path):
        once(path, "Status")


@needs_root
def test_callers_without_a_right_take_no_connection_of_those_who_have_one(tmp_path: Path) -> None:
    tmp_path = reachable(tmp_path)
    script = """
import socket, sys
peers = [socket.socket(socket.AF_UNIX) for _ in range(200)]
for peer in peers:
    peer.connect(sys.argv[1])
print("connected", flush=True)
sys.stdin.read()
"""
    with Twin(tmp_path / "control", rights=Rights()) as twin:
        crowd = subprocess.Popen(
            [sys.executable, "-c", script, str(twin.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            user=OTHERS,
            group=OTHERS,
            extra_groups=[],
        )
        with crowd:
            assert crowd.stdout is not None
            assert crowd.stdout.readline() == b"connected\n"
            once(twin.path, "Status")
            crowd.communicate()


@needs_root
def test_a_caller_without_a_right_cannot_send_a_large_call(tmp_path: Path) -> None:
    tmp_path = reachable(tmp_path)
    script = """
import socket, sys
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
try:
    peer.sendall(b" " * 100_000 + b"\\0")
except OSError:
    pass
print(peer.recv(65536).decode())
"""
    with Twin(tmp_path / "control", rights=Rights()) as twin:
        assert "it is longer than 65536 bytes" in as_nobody(script, str(twin.path))
