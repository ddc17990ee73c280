"""The uses of an approved certificate are counted where Exim logs them: each once, over restarts and rotation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab.daemon import Eximcertd
from lab.exim import EximServer
from lab.recipe import ACL, PINNED_ACL
from lab.smtp import ask
from lab.wait import until

from eximcertd.ledger import Ledger
from eximcertd.log.line import USE_MESSAGE
from eximcertd.log.sighting import Sighting

if TYPE_CHECKING:
    from pathlib import Path

    from lab.certificates import Identity

CLAUSE = f"          logwrite      = {USE_MESSAGE} ${{sha256:$tls_in_peercert}}\n"


def logged(acl: str) -> str:
    """Return a recipe whose accepting statement logs what it accepts, as the manual shows it."""
    return acl.replace(
        "          control       = dkim_disable_verify\n", f"          control       = dkim_disable_verify\n{CLAUSE}", 1
    )


@pytest.mark.parametrize("acl", [ACL, PINNED_ACL], ids=["published", "pinned"])
def test_each_accepted_recipient_counts_once_over_a_kill_and_a_rotation(
    alice: Identity, mallory: Identity, acl: str
) -> None:
    with EximServer(trusted=[alice, mallory], acl=logged(acl)) as exim, Eximcertd(exim) as daemon:

        def uses(number: int) -> None:
            until(lambda: daemon.entries()[alice.fingerprint]["uses"] == number, f"{number} uses are counted", limit=60)

        daemon.ctl("approve", alice.fingerprint)
        daemon.ctl("approve", mallory.fingerprint)
        assert daemon.json("status")["log"]["uses_since"] is None
        assert daemon.ctl("list", "--unused", "180d").returncode == 1
        assert ask(exim.port, alice).accepted
        uses(1)
        daemon.kill()
        assert ask(exim.port, alice).accepted
        log = exim.log
        log.rename(log.with_name(f"{log.name}.1"))
        assert ask(exim.port, alice).accepted
        daemon.start()
        uses(3)
        daemon.restart()
        assert ask(exim.port, alice).accepted
        uses(4)
        assert daemon.entries()[alice.fingerprint]["attempts"] == 0
        assert "4 accepted recipients" in daemon.ctl("show", alice.fingerprint).stdout
        assert daemon.json("list", "--unused", "180d") == [], "both were approved today"
        assert "Uses are counted since" in daemon.ctl("list", "--unused", "180d").stderr


def test_what_was_not_used_since_is_listed(tmp_path: Path, alice: Identity, mallory: Identity) -> None:
    ledger = Ledger(tmp_path)
    try:
        used = Sighting(alice.fingerprint, uses=3, used=1_000)
        assert ledger.sightings.record("file", "1", [used], lambda _: True) == []
        assert ledger.entries.get(alice.fingerprint).uses == 0, "nothing is kept of a certificate that is not known"
        ledger.sightings.record("file", "1", [Sighting(alice.fingerprint, 1, 5, 5)], lambda _: True)
        for at in (7_000, 2_000):
            used = Sighting(alice.fingerprint, uses=3, used=at)
            ledger.sightings.record("file", "1", [used], lambda _: True)
        entry = ledger.entries.get(alice.fingerprint)
        assert (entry.uses, entry.used, entry.attempts, entry.last_seen) == (6, 7_000, 1, 5)
        assert ledger.sightings.uses_since() == 1_000
    finally:
        ledger.close()
