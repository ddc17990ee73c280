"""Changing the form of the allowlist: each approved client is honoured at every moment, and no other."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Self

import pytest
from lab.certificates import Identity, make
from lab.exim import EximServer
from lab.relay import Relay
from lab.smtp import ask as rcpt
from lab.smtp import session
from lab.strace import kill_points, run_traced
from lab.wait import until

from eximcertd.fingerprint import Fingerprint
from eximcertd.status import Verb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Traffic:
    """Clients that connect again and again, each expecting its own answer; ``wrong`` is what else they got."""

    def __init__(self, port: int, expected: list[tuple[Identity, int]]) -> None:
        self._port = port
        self.wrong: list[str] = []
        self.asked = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=one) for one in expected]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, who: Identity, code: int) -> None:
        while not self._stop.is_set():
            answer = rcpt(self._port, who)
            self.asked += 1
            # a connection that is refused in the milliseconds of a reload is no answer
            if answer.code not in {code, 0}:
                self.wrong.append(f"{who.name}: {answer.code} {answer.text}, not {code}")
            self._stop.wait(0.03)  # what a kill leaves stands for longer; without a pause, they load every processor


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> list[Identity]:
    directory: Path = tmp_path_factory.mktemp("clients")
    return [make(directory, f"client{number}.example") for number in range(3)]


@pytest.fixture
def relay(clients: list[Identity], mallory: Identity) -> Iterator[Relay]:
    with EximServer(trusted=[*clients, mallory], main="smtp_accept_max_nonmail = 100000") as exim:
        relay = Relay(exim)
        relay.form = "list"
        assert relay.run(*((Verb.APPROVE, Fingerprint(one.fingerprint)) for one in clients))
        yield relay


@pytest.mark.timeout(600)
def test_killed_at_any_point_of_a_change_of_form_every_approved_client_is_honoured_and_no_other(
    relay: Relay, clients: list[Identity], mallory: Identity
) -> None:
    """Clients and a stranger connect all the time; two sessions stay open throughout."""
    port = relay.exim.port
    calls = {}
    for form in ("directory", "list"):
        relay.form = form
        trace, status = run_traced(lambda: _switch(relay))
        assert os.waitstatus_to_exitcode(status) == 0
        calls[form] = kill_points(trace)
    wanted = relay.wanted()
    with (
        session(port, clients[0]) as approved,
        session(port, mallory) as stranger,
        Traffic(port, [*((one, 250) for one in clients), (mallory, 550)]) as traffic,
    ):
        for number in range(max(map(len, calls.values()))):
            for form in ("directory", "list"):
                relay.form = form
                if number < len(calls[form]):
                    run_traced(lambda: _switch(relay), kill_at=calls[form][number])
                    assert approved.rcpt().accepted, calls[form][number]
                    assert stranger.rcpt().refused, calls[form][number]
                    # the directory is never emptied: open sessions may use it still
                    assert relay.directory.contents().fingerprints == wanted
                assert relay.run()
        until(lambda: traffic.asked > 100, "the clients have asked often enough to tell", limit=60)
    assert traffic.wrong == []


def _switch(relay: Relay) -> None:
    relay.run()
