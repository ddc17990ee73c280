"""Asking the two programs: whatever goes wrong is an answer, and says whether they were asked."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from lab.publishing import Publisher

from eximcertd.fingerprint import Fingerprint
from eximcertd.publication.ask import ask_publish, ask_reload, decode_publish, decode_reload
from eximcertd.publish.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lab.certificates import Identity
    from lab.exim import EximServer

READ = Request("read")


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
    answer = ask_publish(
        f"socket:{tmp_path}/publish", publisher.config, Request("write list", None, (alice.fingerprint,)), 30
    )
    thread.join()
    assert (answer.outcome, answer.changed) == ("done", True)


def test_it_is_asked_by_running_it(exim: EximServer, alice: Identity) -> None:
    publisher = Publisher(exim)
    answer = ask_publish(
        f"command:{publisher.command()[0]}", publisher.config, Request("write list", None, (alice.fingerprint,)), 30
    )
    assert answer.outcome == "done"
    assert ask_publish("command:eximcertd-publish", publisher.config, READ, 30).outcome == "done"


def test_a_socket_that_nobody_serves_was_never_asked(tmp_path: Path) -> None:
    answer = ask_publish(f"socket:{tmp_path}/none", tmp_path, READ, 5)
    assert answer.outcome == "unreachable"
    assert "eximcertd-publish.socket" in answer.message


@pytest.mark.parametrize("program", ["no-such-program", "/nonexistent/eximcertd-publish"])
def test_a_program_that_is_not_there_was_never_asked(tmp_path: Path, program: str) -> None:
    answer = ask_publish(f"command:{program}", tmp_path, READ, 5)
    assert answer.outcome == "unreachable"
    assert program in answer.message


@pytest.mark.parametrize("raw", [b"", b"{}\n", b"hello\n", b'{"outcome":"live"}', b"\xff\0\n"])
def test_an_answer_that_cannot_be_read_may_mean_that_it_was_done(
    listener: socket.socket, tmp_path: Path, raw: bytes
) -> None:
    thread = serve(listener, lambda connection: connection.recv(1 << 16) and connection.send(raw))
    answer = ask_publish(f"socket:{tmp_path}/publish", tmp_path, READ, 5)
    thread.join()
    assert answer.outcome == "unknown"
    assert "cannot be read" in answer.message


def test_an_answer_that_does_not_come_is_not_waited_for_longer_than_the_limit(
    listener: socket.socket, tmp_path: Path
) -> None:
    done = threading.Event()
    thread = serve(listener, lambda _: done.wait(20))
    answer = ask_publish(f"socket:{tmp_path}/publish", tmp_path, READ, 0.2)
    done.set()
    thread.join()
    assert (answer.outcome, "within 0.2 s" in answer.message) == ("unknown", True)


def test_a_refusal_that_comes_before_the_request_was_read_is_heard(listener: socket.socket, tmp_path: Path) -> None:
    refusal = b'{"outcome":"refused","step":"request","message":"too large","found":null}\n'
    thread = serve(listener, lambda connection: connection.sendall(refusal))
    large = Request("write list", None, tuple(Fingerprint(f"{index:064X}") for index in range(100_000)))
    answer = ask_publish(f"socket:{tmp_path}/publish", tmp_path, large, 10)
    thread.join()
    assert answer.outcome in {"refused", "unknown"}  # the kernel may drop it with what was not read


def program(directory: Path, script: str) -> str:
    path = directory / "publish.sh"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return f"command:{path}"


def test_a_program_that_fails_is_quoted(tmp_path: Path) -> None:
    answer = ask_publish(program(tmp_path, "echo the reason >&2; exit 1"), tmp_path, READ, 5)
    assert (answer.outcome, "the reason" in answer.message) == ("unknown", True)


def test_a_program_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    answer = ask_publish(program(tmp_path, "sleep 60 & sleep 60"), tmp_path, READ, 0.2)
    assert (answer.outcome, "within 0.2 s" in answer.message) == ("unknown", True)


RELOADED = {
    "outcome": "loaded", "step": "", "message": "", "exim": "", "rewritten_by": None,
    "daemons": [{"pid": 7, "loaded_at": 1.5}], "timings": {"validate": 0.1},
}  # fmt: skip


def test_an_answer_of_the_reload_part_is_read_and_its_texts_are_escaped() -> None:
    answer = decode_reload(json.dumps(RELOADED | {"message": "\x1b[2J", "exim": "x" * 9999}).encode() + b"\n")
    assert (answer.outcome, answer.message, len(answer.exim)) == ("loaded", "\\x1b[2J", 2000)
    assert [(daemon.pid, daemon.loaded_at) for daemon in answer.daemons] == [(7, 1.5)]


@pytest.mark.parametrize(
    "odd",
    [
        {"outcome": "done"}, {"outcome": ["loaded"]}, {"outcome": None}, {"message": 7}, {"daemons": None},
        {"daemons": [7]}, {"daemons": [{"pid": "7", "loaded_at": 1}]}, {"daemons": [{"pid": -7, "loaded_at": 1}]},
        {"daemons": [{"pid": 1 << 40, "loaded_at": 1}]}, {"daemons": [{"pid": 7, "loaded_at": 1e300}]},
        {"daemons": [{"pid": 7, "loaded_at": float("nan")}]}, {"daemons": [{"pid": True, "loaded_at": 1}]},
        {"timings": []},
    ],
)  # fmt: skip
def test_what_exims_user_could_answer_instead_is_no_answer(odd: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_reload(json.dumps(RELOADED | odd).encode() + b"\n")


@pytest.mark.parametrize("raw", [b"", b"[]\n", b"null\n", b"[" * 100_000 + b"\n", b"{}", b"\xff\n"])
def test_what_is_no_object_is_no_answer(raw: bytes) -> None:
    for decode in (decode_publish, decode_reload):
        with pytest.raises(ValueError, match=r"."):
            decode(raw)


def test_the_reload_part_is_asked_in_the_same_way(exim: EximServer, tmp_path: Path) -> None:
    publisher = Publisher(exim)
    assert ask_reload("command:eximcertd-reload", publisher.config, Request("validate list"), 30).outcome == "valid"
    nobody = ask_reload(f"socket:{tmp_path}/none", publisher.config, Request("validate list"), 5)
    assert (nobody.outcome, "eximcertd-reload.socket" in nobody.message) == ("unreachable", True)
