"""Between list and directory, killed at any call: each approved client is honoured at every moment, and no other."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from lab import trace
from lab.exim import EximServer
from lab.publishing import Publisher
from lab.smtp import Answer, Session, ask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.certificates import Identity

CLIENTS = 3
LONG_SESSIONS = "smtp_accept_max_nonmail = 1000000\nsmtp_accept_max_per_connection = 1000000"


class Crowd:
    """Clients that connect again and again, and two sessions that are held open. wrong: what nobody may ever get.

    refused: connections that were, as they are while Exim reloads.
    """

    def __init__(self, port: int, approved: Identity, stranger: Identity) -> None:
        self.wrong: list[str] = []
        self.answers = self.refused = 0
        self._stop = threading.Event()
        self._port = port
        held = [(Session(port, approved), True), (Session(port, stranger), False)]
        self._threads = [
            threading.Thread(target=self._connect, args=(approved if number % 2 else stranger, bool(number % 2)))
            for number in range(CLIENTS)
        ]
        self._threads += [threading.Thread(target=self._hold, args=pair) for pair in held]
        for thread in self._threads:
            thread.start()

    def _connect(self, identity: Identity, wanted: bool) -> None:
        while not self._stop.is_set():
            answer = ask(self._port, identity)
            if answer.unreachable:
                self.refused += 1  # a reload: the port is closed for some milliseconds
            else:
                self._see("new connection", answer, wanted)
            self._stop.wait(0.03)  # what a kill leaves stands for longer; without a pause, they load every processor

    def _hold(self, opened: Session, wanted: bool) -> None:
        while not self._stop.wait(0.02):
            self._see("open session", opened.rcpt(), wanted)
        opened.close()

    def _see(self, who: str, answer: Answer, wanted: bool) -> None:
        self.answers += 1
        if answer.code != (250 if wanted else 550):
            self.wrong.append(f"{who}: {answer}")

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def crowd(port: int, approved: Identity, stranger: Identity) -> Iterator[Crowd]:
    clients = Crowd(port, approved, stranger)
    try:
        yield clients
    finally:
        clients.end()


@pytest.mark.timeout(300)
def test_a_switch_killed_at_any_call_gives_nobody_a_wrong_answer(
    alice: Identity, mallory: Identity, tmp_path: Path
) -> None:
    listed = {"list": (alice.fingerprint,), "directory": ()}

    with EximServer(trusted=[alice, mallory], main=LONG_SESSIONS) as exim:
        publisher = Publisher(exim)
        publisher.wrapped = "write"
        publisher.allow(alice.fingerprint)
        assert publisher.carry(alice.fingerprint).outcome == "live"
        with crowd(exim.port, alice, mallory) as clients:
            calls = {}
            for form in ("directory", "list"):
                publisher.wrapper = trace.recorder(tmp_path / form)
                assert publisher.carry(*listed[form], form=form).outcome == "live"
                publisher.wrapper = ()
                traced = trace.read((tmp_path / form).read_text().splitlines())
                locked = next(index for index, call in enumerate(traced) if ".lock" in call.text)
                calls[form] = [call for call in traced[locked:] if call.changes_something()]
                assert len(calls[form]) > 12
            killed = 0
            for pair in zip(calls["directory"], calls["list"], strict=False):
                for form, call in zip(("directory", "list"), pair, strict=True):
                    publisher.wrapper = call.strace("signal=KILL")
                    killed += publisher.carry(*listed[form], form=form).outcome == "unknown"
                    publisher.wrapper = ()
                    finished = publisher.carry(*listed[form], form=form)
                    assert finished.outcome == "live", (call, finished)
                    assert not clients.wrong, (call, clients.wrong[:3])
            assert killed > 20
        assert not clients.wrong, clients.wrong[:3]
        assert clients.answers > 500
        assert exim.alive()


def test_in_the_directory_form_no_connection_is_ever_refused(alice: Identity, mallory: Identity) -> None:
    with EximServer(trusted=[alice, mallory], main=LONG_SESSIONS) as exim:
        publisher = Publisher(exim)
        publisher.allow(alice.fingerprint)
        assert publisher.carry(form="directory").outcome == "live"
        reloads = exim.reloads()
        with crowd(exim.port, alice, mallory) as clients:
            for number in range(200):
                name = publisher.allowed / f"{number:064X}"
                name.touch()
                name.unlink()
                if number % 20 == 0:
                    assert publisher.carry(form="directory").outcome == "live"
        assert not clients.wrong, clients.wrong[:3]
        assert (clients.refused, clients.answers > 50) == (0, True)
        assert exim.reloads() == reloads
