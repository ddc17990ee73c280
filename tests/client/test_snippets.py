"""Other mail systems, the real ones, with the lines that ``client snippet`` prints: no Exim on the laptop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab.laptop import HERE, SERVER, Laptop, unpacked
from lab.mail_systems import RECIPIENT, SENDER, Exim, MailSystem, Msmtp, Opensmtpd, Postfix, Swaks
from lab.wait import until

if TYPE_CHECKING:
    from lab.exim import EximServer


@pytest.mark.parametrize("mail_system", [Postfix, Msmtp, Opensmtpd, Exim, Swaks], ids=lambda one: one.__name__.lower())
def test_it_is_refused_then_relays_once_it_is_approved_and_gives_an_impostor_nothing(
    server: EximServer, impostor: EximServer, mail_system: type[MailSystem]
) -> None:
    package, suite = mail_system.package, mail_system.suite or HERE
    with Laptop(programs=unpacked(suite, package) if package else None) as laptop:
        if mail_system is not Exim:
            laptop.without_exim()
        told = server.identity.fingerprint
        said = laptop.json("client", "setup", f"{SERVER}:{server.port}", "--yes", "--server-fingerprint", told)
        name = mail_system.__name__.lower()
        running = mail_system(laptop, laptop.ctl("client", "snippet", name).stdout)

        assert "550" in running.send()
        assert any(said["fingerprint"] in line for line in server.lines()), server.lines()

        server.allow([said["fingerprint"]])
        server.reload()
        until(lambda: not server.sessions(), "no session has the old list: OpenSMTPD keeps one for a while", limit=60)
        relayed = running.send()
        until(lambda: f"To: {RECIPIENT}" in server.delivered(), f"the message is relayed: {relayed}")
        assert SENDER in server.delivered() or mail_system is Swaks

        server.stop()
        impostor.start()
        refused = running.send()
        assert "550" not in refused
        until(
            lambda: any("connection from" in line or "daemon started" in line for line in impostor.lines()), "it came"
        )
        assert not any("<=" in line or "RCPT" in line for line in impostor.lines()), impostor.lines()
        assert impostor.delivered() == ""


def test_snippets_are_for_a_machine_that_was_set_up(laptop: Laptop) -> None:
    done = laptop.ctl("client", "snippet", "postfix", good=False)
    assert done.returncode == 1
    assert "eximcertctl client setup HOST" in done.stderr
