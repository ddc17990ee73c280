"""What Exim still grants after a client has closed TLS, to somebody on the path who has no key; with what setup writes.

A client that waits no longer closes TLS, and Exim goes on with the connection in clear text, with the certificate. What
setup writes bounds that: a certificate counts at the beginning of a connection only, and TLS is started once in it.
"""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from lab.exim import EximServer
from lab.on_path import OnPath
from lab.smtp import RECIPIENT, SENDER, Session, ask
from lab.wait import until

from eximcertd.cli.setup import clauses

if TYPE_CHECKING:
    import socket

    from lab.certificates import Identity

    from eximcertd.cli.setup.clauses import Recipe

SECONDS: Final = 3
OPTIONS: Final = """\
acl_smtp_connect = acl_eximcertd_connect
acl_smtp_starttls = acl_eximcertd_starttls
smtp_accept_max_nonmail = 1000
"""


def server(alice: Identity, recipe: Recipe, *, bounded: bool = True, once: bool = True) -> EximServer:
    """Return a server that has approved alice. bounded, once: whether the two defences stand in its ACLs."""
    names = clauses.SiteNames(recipe, "RELAY_FROM_CERTS", Path("/unused"), Path("/unused"))
    _, _, statements, acls = clauses.by_hand(names)
    assert "+100}" in statements
    text = f"{statements}\n  deny message = relay not permitted\n\n{acls}".replace("+100}", f"+{SECONDS}}}")
    if not bounded:
        text = re.sub(r"^.*eval10.*\n", "", text, flags=re.MULTILINE)
    if not once:
        text = text.replace("def:tls_in_cipher", "eq{a}{b}")
    return EximServer(trusted=[alice], allowed=[alice.fingerprint], acl=text, main=OPTIONS)


def relays(attacker: OnPath) -> int:
    """Say what an attacker says to relay, in clear text, and return what RCPT got."""
    attacker.say("RSET")
    attacker.say(f"MAIL FROM:<{SENDER}>")
    return attacker.say(f"RCPT TO:<{RECIPIENT}>")


def without_certificate(wire: socket.socket) -> socket.socket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(wire)


@pytest.mark.parametrize("recipe", ["pinned", "published"])
def test_who_is_on_the_path_relays_nothing_once_the_connection_is_older_than_the_limit(
    alice: Identity, recipe: Recipe
) -> None:
    with (
        server(alice, recipe) as bounded,
        server(alice, recipe, bounded=False) as unbounded,
        OnPath(unbounded.port) as lucky,
        OnPath(bounded.port) as attacker,
    ):
        for one in (lucky, attacker):
            victim = Session(one.port, alice)
            one.withhold_answers()
            victim.give_up()
        until(lambda: relays(attacker) == 451, "the certificate counts no more", limit=SECONDS + 10, pause=0.2)
        assert relays(attacker) == 451
        assert relays(lucky) == 250, "without the limit the attack works: the attack is a real one"


def test_a_client_that_comes_again_relays_after_a_connection_that_has_lasted_too_long(alice: Identity) -> None:
    with server(alice, "pinned") as exim:
        session = Session(exim.port, alice)
        assert session.rcpt().accepted
        late = until(
            lambda: answer if (answer := session.rcpt()).deferred else None, "the limit is over", limit=SECONDS + 10
        )
        assert late is not None
        assert "Connect again" in late.text
        session.close()
        assert ask(exim.port, alice).accepted


def test_tls_is_not_started_twice_in_one_connection(alice: Identity) -> None:
    with (
        server(alice, "pinned") as strict,
        server(alice, "pinned", once=False) as lax,
        OnPath(lax.port) as lucky,
        OnPath(strict.port) as attacker,
    ):
        for one in (lucky, attacker):
            victim = Session(one.port, alice)
            one.withhold_answers()
            victim.give_up()
            assert one.say("EHLO attacker.example") == 250
        assert lucky.say("STARTTLS") == 220
        lucky.start_tls(without_certificate)
        assert lucky.say("EHLO attacker.example") == 250
        assert relays(lucky) == 250, "without the ACL the attack works, though no certificate was shown"

        assert attacker.say("STARTTLS") == 550
        assert attacker.say("NOOP") == 0, "Exim has ended the connection"


def test_a_stranger_is_logged_with_the_certificate_and_a_client_without_one_is_not(
    alice: Identity, mallory: Identity
) -> None:
    with server(alice, "pinned") as exim:
        assert ask(exim.port, mallory).refused
        assert ask(exim.port, None).refused
        logged = [line for line in exim.lines() if "ttempt" in line]
        assert len(logged) == 2
        assert re.search(
            rf" Certificate of the attempt: {mallory.fingerprint} [0-9A-F]{{64}} [A-Za-z0-9+/]+=*$", logged[0]
        )
        assert logged[1].endswith(f" has not been explicitly allowed: {mallory.fingerprint}")
