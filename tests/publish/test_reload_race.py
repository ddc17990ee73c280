"""A HUP that lands while Exim starts itself again is lost: "live" is said only when the new list is loaded."""

from __future__ import annotations

import os
import random
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from lab.exim import EximServer
from lab.publishing import Publisher
from lab.smtp import ask

if TYPE_CHECKING:
    from lab.certificates import Identity

ROUNDS = 25


def test_live_is_never_said_before_the_new_list_is_loaded_whoever_sends_hups_meanwhile(alice: Identity) -> None:
    with EximServer(trusted=[alice]) as exim:
        publisher = Publisher(exim)
        stop = threading.Event()
        hups = 0

        def disturb() -> None:
            nonlocal hups
            chance = random.Random(4)  # noqa: S311 - only to spread the instants
            while not stop.wait(chance.uniform(0.005, 0.06)):
                with suppress(ProcessLookupError):
                    os.kill(exim.pid, signal.SIGHUP)
                hups += 1

        somebody = threading.Thread(target=disturb)
        somebody.start()
        try:
            for number in range(ROUNDS):
                allowed = number % 2 == 0
                answer = publisher.list(*([alice.fingerprint] if allowed else []))
                assert answer.outcome == "live", answer
                seen = ask(exim.port, alice)
                while seen.unreachable:  # the disturber's own reloads refuse connections
                    seen = ask(exim.port, alice)
                assert seen.accepted == allowed, number
        finally:
            stop.set()
            somebody.join()
        assert hups > ROUNDS
        assert exim.alive()
        assert exim.reloads() > ROUNDS


def test_a_hundred_reloads_in_a_row_are_all_loaded(alice: Identity) -> None:
    with EximServer(trusted=[alice]) as exim:
        publisher = Publisher(exim)
        for number in range(100):
            allowed = number % 2 == 0
            answer = publisher.list(*([alice.fingerprint] if allowed else []))
            assert (answer.outcome, ask(exim.port, alice).accepted) == ("live", allowed), (number, answer)
        assert exim.reloads() >= 100
