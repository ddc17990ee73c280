"""Asking the two programs: whatever goes wrong is an answer, and says whether they were asked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from lab.asking import ask_publish, ask_reload, programs
from lab.daemon import program as installed
from lab.publishing import Publisher

from eximcertd.exim.processes import all_ids, arguments
from eximcertd.fingerprint import Fingerprint
from eximcertd.publication.ask import PUBLISH, RELOAD, encode
from eximcertd.publication.attempt import value_digest
from eximcertd.publish.request import SLOWEST, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lab.certificates import Identity
    from lab.exim import EximServer

    from eximcertd.publication.ask import Programs

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
    assert (answer.outcome, answer.step) == ("unreachable", "ask")
    why = "No such file or directory; is eximcertd-publish.socket started, and may this user connect to it?"
    assert answer.message == f"{tmp_path}/none cannot be reached: {why}"


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
    answer = ask_publish(program(tmp_path, "sleep 1000 & sleep 1000"), tmp_path, READ, 0.2)
    assert (answer.outcome, "within 0.2 s" in answer.message) == ("unknown", True)


def test_the_reload_part_is_asked_in_the_same_way(exim: EximServer, tmp_path: Path) -> None:
    publisher = Publisher(exim)
    assert ask_reload("command:eximcertd-reload", publisher.config, Request("validate list"), 30).outcome == "valid"
    nobody = ask_reload(f"socket:{tmp_path}/none", publisher.config, Request("validate list"), 5)
    assert (nobody.outcome, "eximcertd-reload.socket" in nobody.message) == ("unreachable", True)


@pytest.mark.parametrize(("size", "outcome"), [((1 << 20) - 1, "cannot be read"), ((1 << 20) + 1, "is too large")])
def test_an_answer_of_the_reload_part_has_at_most_a_mebibyte(
    listener: socket.socket, tmp_path: Path, size: int, outcome: str
) -> None:
    def much(connection: socket.socket) -> None:
        while not connection.recv(1 << 16).endswith(b"end\n"):
            pass
        with contextlib.suppress(OSError):
            connection.sendall(b"x" * size)

    thread = serve(listener, much)
    answer = ask_reload(f"socket:{tmp_path}/publish", tmp_path, Request("validate list"), 30)
    thread.join()
    assert answer.outcome == "unknown"
    assert f"the answer of eximcertd-reload {outcome}" in answer.message


def test_a_connection_that_breaks_may_mean_that_it_was_done(listener: socket.socket, tmp_path: Path) -> None:
    thread = serve(listener, lambda connection: select.select([connection], [], []))  # and closes what it did not read
    answer = ask_publish(f"socket:{tmp_path}/publish", tmp_path, READ, 5)
    thread.join()
    assert answer.outcome == "unknown"
    assert answer.message == "the connection to eximcertd-publish broke: Connection reset by peer"


def test_a_program_that_cannot_be_run_was_never_asked(tmp_path: Path) -> None:
    path = tmp_path / "publish"
    path.write_bytes(b"\x7fELF and no more")
    path.chmod(0o755)
    answer = ask_publish(f"command:{path}", tmp_path, READ, 5)
    assert (answer.outcome, answer.step) == ("unreachable", "ask")
    assert answer.message == f"{path} cannot be run: Exec format error"


def test_a_program_that_says_nothing_is_told_and_of_one_that_says_much_the_last_line(tmp_path: Path) -> None:
    silent = ask_publish(program(tmp_path, "exit 0"), tmp_path, READ, 5)
    assert (silent.outcome, silent.message) == ("unknown", "eximcertd-publish ended without an answer")
    loud = ask_publish(program(tmp_path, "printf 'first\\n\\033[2Jthe last %0400d\\n' 0 >&2"), tmp_path, READ, 5)
    assert (len(loud.message), loud.message[:15]) == (300, "\\x1b[2Jthe last")


@pytest.mark.parametrize(("name", "first_line"), [(PUBLISH, "eximcertd-publish 2"), (RELOAD, "eximcertd-reload 1")])
def test_a_caller_that_has_gone_leaves_no_traceback(exim: EximServer, name: str, first_line: str) -> None:
    command = [installed(name), "--config", str(Publisher(exim).config)]
    nobody, answer = os.pipe()
    os.close(nobody)
    with os.fdopen(answer, "wb") as output:
        request = encode(first_line, READ)
        done = subprocess.run(command, input=request, stdout=output, stderr=subprocess.PIPE, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.fixture
def asked(exim: EximServer) -> Programs:
    """Return the two programs, run as commands for an Exim that nobody may relay through."""
    via = (f"command:{installed(PUBLISH)}", f"command:{installed(RELOAD)}")
    return programs(via[0], Publisher(exim).config, reload_via=via[1])


def running(asked: Programs) -> dict[str, int]:
    """Return the programs that run with this configuration: name -> process id."""
    commands = {pid: arguments(pid) for pid in all_ids()}
    ours = {pid: command for pid, command in commands.items() if str(asked.config.file) in command}
    return {name: pid for pid, command in ours.items() for name in (PUBLISH, RELOAD) if installed(name) in command}


def test_the_programs_of_the_next_steps_have_started_when_exim_has_validated(asked: Programs, alice: Identity) -> None:
    listed = (alice.fingerprint,)

    async def publish() -> list[str]:
        validated = await asked.reload(Request("validate list", None, listed))
        validating = running(asked)
        written = await asked.publish(Request("write list", None, listed))
        assert running(asked) == {RELOAD: validating[RELOAD]}, "the program that validated the list loads it"
        loaded = await asked.reload(Request(f"load {value_digest(alice.fingerprint)}"))
        assert set(validating) == {PUBLISH, RELOAD}
        return [validated.outcome, written.outcome, loaded.outcome]

    assert asyncio.run(publish()) == ["valid", "done", "loaded"]
    assert running(asked) == {}


def test_the_program_that_validated_a_list_confirms_it_only_if_it_is_what_exim_has(
    asked: Programs, exim: EximServer, alice: Identity
) -> None:
    async def publish() -> str:
        assert (await asked.reload(Request("validate list", None, (alice.fingerprint,)))).outcome == "valid"
        assert (await asked.publish(Request("write list"))).outcome == "done"
        waiting = running(asked)
        loaded = await asked.reload(Request(f"load {value_digest(alice.fingerprint)}"))
        assert set(waiting) == {RELOAD}, "the same process was asked"
        return loaded.outcome

    assert asyncio.run(publish()) == "invalid"
    assert exim.reloads() == 0


def test_no_program_is_left_waiting_after_a_step_that_failed(asked: Programs, exim: EximServer) -> None:
    with exim.configuration.open("a") as configuration:
        configuration.write("\nno such section\n")
    assert asyncio.run(asked.reload(Request("validate list"))).outcome == "invalid"
    assert running(asked) == {}


def test_a_program_that_has_waited_too_long_is_replaced(asked: Programs) -> None:
    assert asyncio.run(asked.reload(Request("validate list"))).outcome == "valid"
    for program in asked._waiting.values():
        program.waits_since -= SLOWEST
    assert asyncio.run(asked.publish(Request("write list"))).outcome == "done"
    assert asyncio.run(asked.reload(Request(f"load {value_digest('')}"))).outcome == "loaded"
    assert running(asked) == {}
