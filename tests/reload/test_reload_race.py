"""A SIGHUP that comes while Exim executes itself is lost: "loaded" is said only when the new list is."""

from __future__ import annotations

import os
import random
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from lab.exim import EximServer
from lab.reloading import Reloader
from lab.smtp import ask

if TYPE_CHECKING:
    from lab.certificates import Identity

ROUNDS = 25


def test_loaded_is_never_said_before_the_new_list_is_loaded_though_others_send_sighups_meanwhile(
    alice: Identity,
) -> None:
    with EximServer(trusted=[alice]) as exim:
        reloader = Reloader(exim)
        stop = threading.Event()
        sent = 0

        def disturb() -> None:
            nonlocal sent
            chance = random.Random(4)  # noqa: S311 - only to spread the instants
            while not stop.wait(chance.uniform(0.005, 0.06)):
                with suppress(ProcessLookupError):
                    os.kill(exim.pid, signal.SIGHUP)
                sent += 1

        somebody = threading.Thread(target=disturb)
        somebody.start()
        try:
            for number in range(ROUNDS):
                allowed = number % 2 == 0
                told = reloader.publish(*([alice.fingerprint] if allowed else []))
                assert told.outcome == "loaded", told
                seen = ask(exim.port, alice)
                while seen.unreachable:  # the disturber's own reloads refuse connections
                    seen = ask(exim.port, alice)
                assert seen.accepted == allowed, number
        finally:
            stop.set()
            somebody.join()
        assert sent > ROUNDS
        assert exim.alive()
        assert exim.reloads() > ROUNDS


def test_fifty_reloads_in_a_row_are_all_loaded(alice: Identity) -> None:
    with EximServer(trusted=[alice]) as exim:
        reloader = Reloader(exim)
        for number in range(50):
            allowed = number % 2 == 0
            told = reloader.publish(*([alice.fingerprint] if allowed else []))
            assert (told.outcome, ask(exim.port, alice).accepted) == ("loaded", allowed), (number, told)
        assert exim.reloads() >= 50
