"""Asking the publisher from the daemon's side: whatever goes wrong is an answer, and says whether it was asked."""

from __future__ import annotations

import socket
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from lab.publishing import Publisher

from eximcertd.fingerprint import Fingerprint
from eximcertd.publish.client import ask
from eximcertd.publish.old_request import Answer, Request, encode_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lab.certificates import Identity
    from lab.exim import EximServer

VERIFY = Request(None)


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(tmp_path / "publish"))
        opened.listen()
        yield opened


def serve(listener: socket.socket, answer: Callable[[socket.socket], object]) -> threading.Thread:
    def once() -> None:
        connection, _ = listener.accept()
        with connection:
            answer(connection)

    thread = threading.Thread(target=once)
    thread.start()
    return thread


def publish_on(connection: socket.socket, publisher: Publisher) -> None:
    """Answer as the systemd socket does (Accept=yes): the program has the connection as input and output."""
    subprocess.run(publisher.command(), stdin=connection.fileno(), stdout=connection.fileno(), check=True)


def test_it_is_asked_over_a_socket(exim: EximServer, alice: Identity, listener: socket.socket, tmp_path: Path) -> None:
    publisher = Publisher(exim)
    thread = serve(listener, lambda connection: publish_on(connection, publisher))
    answer = ask(f"socket:{tmp_path}/publish", publisher.config, Request("list", (alice.fingerprint,)), 30)
    thread.join()
    assert (answer.outcome, answer.exim_pid) == ("live", exim.pid)


def test_it_is_asked_by_running_it(exim: EximServer, alice: Identity) -> None:
    publisher = Publisher(exim)
    answer = ask(f"command:{publisher.command()[0]}", publisher.config, Request("list", (alice.fingerprint,)), 30)
    assert answer.outcome == "live"
    assert ask("command:eximcertd-publish", publisher.config, VERIFY, 30).outcome == "verified"


def test_a_socket_that_nobody_serves_was_never_asked(tmp_path: Path) -> None:
    answer = ask(f"socket:{tmp_path}/none", tmp_path, VERIFY, 5)
    assert answer.outcome == "unreachable"
    assert "eximcertd-publish.socket" in answer.message


@pytest.mark.parametrize("program", ["no-such-program", "/nonexistent/eximcertd-publish"])
def test_a_program_that_is_not_there_was_never_asked(tmp_path: Path, program: str) -> None:
    answer = ask(f"command:{program}", tmp_path, VERIFY, 5)
    assert answer.outcome == "unreachable"
    assert program in answer.message


@pytest.mark.parametrize("raw", [b"", b"{}\n", b"hello\n", b'{"outcome":"live"}', b"\xff\0\n"])
def test_an_answer_that_cannot_be_read_may_mean_that_it_was_done(
    listener: socket.socket, tmp_path: Path, raw: bytes
) -> None:
    thread = serve(listener, lambda connection: connection.recv(1 << 16) and connection.send(raw))
    answer = ask(f"socket:{tmp_path}/publish", tmp_path, VERIFY, 5)
    thread.join()
    assert answer.outcome == "unknown"
    assert "no answer that can be read" in answer.message


def test_an_answer_that_does_not_come_is_not_waited_for_longer_than_the_limit(
    listener: socket.socket, tmp_path: Path
) -> None:
    done = threading.Event()
    thread = serve(listener, lambda _: done.wait(20))
    answer = ask(f"socket:{tmp_path}/publish", tmp_path, VERIFY, 0.2)
    done.set()
    thread.join()
    assert (answer.outcome, "within 0.2 s" in answer.message) == ("unknown", True)


def test_a_refusal_that_comes_before_the_request_was_read_is_heard(listener: socket.socket, tmp_path: Path) -> None:
    refusal = Answer("refused", "request", "too large")
    thread = serve(listener, lambda connection: connection.sendall(encode_answer(refusal)))
    large = Request("list", tuple(Fingerprint(f"{index:064X}") for index in range(100_000)))
    answer = ask(f"socket:{tmp_path}/publish", tmp_path, large, 10)
    thread.join()
    assert answer.outcome in {"refused", "unknown"}  # the kernel may drop it with what was not read


def program(directory: Path, script: str) -> str:
    path = directory / "publish.sh"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return f"command:{path}"


def test_a_program_that_fails_is_quoted(tmp_path: Path) -> None:
    answer = ask(program(tmp_path, "echo the reason >&2; exit 1"), tmp_path, VERIFY, 5)
    assert (answer.outcome, "the reason" in answer.message) == ("unknown", True)


def test_a_program_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    answer = ask(program(tmp_path, "sleep 60 & sleep 60"), tmp_path, VERIFY, 0.2)
    assert (answer.outcome, "within 0.2 s" in answer.message) == ("unknown", True)
