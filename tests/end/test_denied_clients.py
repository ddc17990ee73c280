"""A client of an authority that was revoked relays with none of its certificates, whatever ended meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab.authorities import Signer
from lab.authority import add, relay
from lab.deciding import decide
from lab.smtp import ask
from lab.wait import until

from eximcertd.ledger import Ledger
from eximcertd.status import Verb

if TYPE_CHECKING:
    from pathlib import Path

SITE = Signer("Site CA")


def test_a_revoked_client_does_not_come_back_with_its_next_certificate(tmp_path: Path) -> None:
    with relay("pinned") as (exim, daemon):
        daemon.start()
        add(daemon, tmp_path, SITE)
        first = SITE.issue("client7.example")
        assert ask(exim.port, first.identity(tmp_path)).accepted
        renewed = SITE.issue("client7.example").identity(tmp_path)
        assert ask(exim.port, renewed).accepted
        done = daemon.ctl("revoke", first.fingerprint)
        assert done.returncode == 0
        assert "client7.example" in done.stdout
        assert not ask(exim.port, renewed).accepted
        assert ask(exim.port, SITE.issue("client7.example").identity(tmp_path)).deferred
        assert not ask(exim.port, SITE.issue("new.example", key=first.private).identity(tmp_path)).accepted
        assert ask(exim.port, SITE.issue("other.example").identity(tmp_path)).accepted
        [shown] = [daemon.json("authority", "show", SITE.fingerprint[:8])]
        assert any("client7.example" in text for text in shown["denied"])


@pytest.mark.parametrize("what", ["eximcertd was killed", "root has revoked it offline"])
def test_its_other_certificates_are_revoked_at_the_next_start(tmp_path: Path, what: str) -> None:
    with relay("pinned") as (exim, daemon):
        daemon.start()
        add(daemon, tmp_path, SITE)
        first, renewed, other = (SITE.issue(f"{name}.example") for name in ("client7", "client7", "client8"))
        assert all(ask(exim.port, leaf.identity(tmp_path)).accepted for leaf in (first, renewed, other))
        daemon.kill()
        if "killed" in what:  # between the decision and the look for what else has its name
            ledger = Ledger(daemon.state / "ledger")
            ledger.denials.deny(ledger.denials.bound_by(first.fingerprint))
            decide(ledger, Verb.REVOKE, first.fingerprint)
            ledger.close()
        else:
            assert daemon.ctl("revoke", first.fingerprint, "--offline").returncode == 0
        daemon.start()
        until(lambda: not ask(exim.port, renewed.identity(tmp_path)).accepted, "its other one is refused")
        assert not ask(exim.port, first.identity(tmp_path)).accepted
        assert ask(exim.port, other.identity(tmp_path)).accepted
        assert daemon.entries()[renewed.fingerprint]["standing"] == "revoked"
