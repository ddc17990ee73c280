"""Who made an attempt, as a real Exim's log tells it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lab.exim import EximServer
from lab.log import Looking
from lab.recipe import ACL
from lab.smtp import RECIPIENT, SENDER, session

from eximcertd.log.sighting import Peer

if TYPE_CHECKING:
    from lab.certificates import Identity

KNOWN = Peer("127.0.0.1", "client.lab.example", SENDER, RECIPIENT)


def peers(exim: EximServer) -> dict[str, Peer]:
    looking = Looking(exim.log)
    looking.look()
    looking.kill()
    assert looking.twin.taken().total()
    return {str(fingerprint): peer for fingerprint, peer in looking.twin.peers.items()}


def test_a_client_is_known_where_the_refusal_has_no_message(alice: Identity, mallory: Identity) -> None:
    bare = re.sub(r"deny\s+message.*", "deny", ACL)
    for acl in (bare, bare.replace("  deny", "")):  # the last one: the implicit deny at the ACL's end
        with EximServer(trusted=[alice, mallory], acl=acl) as exim:
            with session(exim.port, alice) as opened:
                assert opened.rcpt().code == 550
            assert peers(exim) == {alice.fingerprint: KNOWN}


def test_a_client_cannot_pose_as_another_host_by_its_helo(alice: Identity, mallory: Identity) -> None:
    forged = "a) [6.6.6.6] X=x CV=yes F=<ceo@lab.example> rejected RCPT <r@remote.example>: x"
    with EximServer(trusted=[alice, mallory], main="helo_accept_junk_hosts = *\n") as exim:
        for identity, helo in ((alice, forged), (mallory, "h" * 3000)):
            with session(exim.port, identity, helo=helo) as opened:
                assert opened.rcpt().refused
        found = peers(exim)
    assert set(found) == {mallory.fingerprint}
    assert found[mallory.fingerprint].helo == "h" * 3000
