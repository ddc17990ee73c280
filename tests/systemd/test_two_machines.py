"""A server and a laptop, Debian 12 and 13: from bare machines to the relayed message, and back, as README shows it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from lab.certificates import make
from lab.pages import LAPTOP, Shown, play
from lab.recipe import ACL
from lab.wait import until

if TYPE_CHECKING:
    from lab.certificates import Identity
    from lab.machine import Machine

ROOT: Final = Path(__file__).parents[2]
HOWTO: Final = ROOT / "docs/howto"
PUBLISHED_OPTIONS: Final = """\
.include /etc/exim4/relay_from_certs
MAIN_TLS_ENABLE = yes
MAIN_TLS_VERIFY_CERTIFICATES = /etc/ssl/certs/
MAIN_TLS_TRY_VERIFY_HOSTS = *
MAIN_ACL_CHECK_RCPT = acl_check_rcpt_certs
"""
IMPOSTOR: Final = (ROOT / "tests/systemd/impostor.conf").read_text(encoding="utf-8")
EVERYTHING: Final = (  # but the accounts: Debian's packages leave their user when they are purged
    "find /etc /var/lib/exim4 -type f ! -name 'passwd*' ! -name 'group*' ! -name '*shadow*' ! -name 'ld.so.cache' "
    r"-printf '%p %m %u %g ' -exec md5sum {} \; | sort"
)
TO_THE_IMPOSTOR: Final = """
import smtplib, ssl
with smtplib.SMTP("mx.example.org", 25, "anybody.example", 20) as client:
    context = ssl._create_unverified_context()
    client.starttls(context=context)
    client.sendmail("anybody@example.com", "bob@example.com", "Subject: to the impostor\\r\\n\\r\\n")
"""


def on_one_pair(suite: str) -> pytest.MarkDecorator:
    """Run a test on one Debian alone, for the server and the laptop: the pairs are README's matter."""
    suites = [suite] if os.environ.get("SUITE", suite) == suite else []
    pairs = [(one, "the same Debian") for one in suites]
    return pytest.mark.parametrize(("server", "laptop"), pairs, ids=suites, indirect=True)


def test_the_commands_of_readme_lead_from_bare_machines_to_the_relayed_message_and_undo_leads_back(
    server: Machine, laptop: Machine
) -> None:
    before = [set(machine.sh(EVERYTHING).splitlines()) for machine in (server, laptop)]
    play(ROOT / "README.md", {"server": server, "laptop": laptop}, Shown())
    until(lambda: "To: bob@example.com" in server.arrived(), "the message arrives", limit=20)

    _impostor(server, laptop)

    server.ctl("setup", "--undo", "--yes")
    laptop.ctl("client", "setup", "--undo", "--yes")
    _purge(server, laptop)
    after = [set(machine.sh(EVERYTHING).splitlines()) for machine in (server, laptop)]
    assert [one ^ other for one, other in zip(before, after, strict=True)] == [set(), set()]


@on_one_pair("trixie")
def test_the_tutorial_shows_what_its_commands_print(server: Machine, laptop: Machine) -> None:
    play(ROOT / "docs/tutorial.md", {"server": server, "laptop": laptop}, Shown())
    until(lambda: "The first one" in server.arrived(), "the message arrives", limit=20)
    _purge(server, laptop)


@on_one_pair("bookworm")
def test_the_how_to_pages_show_what_their_commands_print(server: Machine, laptop: Machine, tmp_path: Path) -> None:
    shown = _approved(server, laptop)
    machines = {"server": server, "laptop": laptop}
    play(HOWTO / "restore.md", machines, shown)
    play(HOWTO / "remove-access.md", machines, shown)
    server.ctl("approve", shown.as_run(LAPTOP), "--note", "the laptop was found")

    server.sh("kill -9 $(cat /run/exim4/exim.pid)")
    play(HOWTO / "exim-is-down.md", machines, shown)
    server.sh("kill -9 $(cat /run/exim4/exim.pid)")
    until(lambda: server.ctl("check", "--quiet", good=False).returncode == 0, "systemd starts Exim", limit=30)

    laptop.ctl("client", "setup", "--undo", "--yes")
    _purge(laptop)
    play(HOWTO / "new-laptop.md", machines, shown)

    laptop.ctl("client", "setup", "--undo", "--yes")
    _purge(laptop)
    laptop.become("mx.example.org", type_="smarthost", interfaces="")
    play(HOWTO / "move.md", {"old": server, "new": laptop}, shown)

    server.ctl("setup", "--undo", "--yes")
    _purge(server)
    by_hand = make(tmp_path, "laptop.alice.example")
    _publish_by_hand(server, by_hand)
    play(HOWTO / "published-recipe.md", machines, Shown(["no server", by_hand.fingerprint]))
    _purge(server)
    _remove_by_hand(server)


def _approved(server: Machine, laptop: Machine) -> Shown:
    """Have a laptop that relays, as the tutorial leads there; return the fingerprints as the pages show them."""
    for machine in (server, laptop):
        machine.run("apt-get", "--yes", "install", "/root/eximcertd.deb")
    said = server.json("setup", "--yes")
    client = laptop.json(
        "client", "setup", "mx.example.org", "--yes", "--server-fingerprint", said["server_fingerprint"]
    )
    laptop.ctl("client", "probe", good=False)
    server.settle()
    server.ctl("approve", client["fingerprint"], "--note", "Alice, by telephone")
    return Shown([said["server_fingerprint"], client["fingerprint"]])


def _purge(*machines: Machine) -> None:
    """Make machines what they were before the package was installed; what setup has written was removed before."""
    for machine in machines:
        machine.run("apt-get", "--yes", "purge", "eximcertd")
        machine.sh("rm -f /root/arrived /var/log/exim4/*log")
        machine.restart_exim()


def _publish_by_hand(server: Machine, client: Identity) -> None:
    """Put the published recipe into Debian's split configuration, as people have it who did it by hand."""
    server.write("/etc/exim4/relay_from_certs", f"RELAY_FROM_CERTS = {client.fingerprint}\n")
    server.write("/etc/ssl/certs/laptop.alice.example.pem", client.pem)
    server.write("/etc/exim4/conf.d/main/000_relay", PUBLISHED_OPTIONS)
    server.write(
        "/etc/exim4/conf.d/acl/50_relay",
        f"acl_check_rcpt_certs:\n{ACL.partition('  deny ')[0]}  require acl = acl_check_rcpt\n  accept\n",
    )
    server.sh("""
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=mx.example.org -days 99 \\
            -keyout /etc/exim4/exim.key -out /etc/exim4/exim.crt 2>/dev/null
        chgrp Debian-exim /etc/exim4/exim.key; chmod 640 /etc/exim4/exim.key
        sed -i -e "s/^dc_use_split_config=.*/dc_use_split_config='true'/" /etc/exim4/update-exim4.conf.conf
        update-exim4.conf
    """)
    server.restart_exim()


def _remove_by_hand(server: Machine) -> None:
    """Remove what _publish_by_hand has written: the next test begins with a bare server."""
    server.sh("""
        rm -f /etc/exim4/relay_from_certs* /etc/ssl/certs/laptop.alice.example.pem /etc/exim4/conf.d/main/000_relay \
            /etc/exim4/conf.d/acl/50_relay /etc/exim4/exim.key /etc/exim4/exim.crt
        sed -i -e "s/^dc_use_split_config=.*/dc_use_split_config='false'/" /etc/exim4/update-exim4.conf.conf
        update-exim4.conf
    """)
    server.restart_exim()


def _impostor(server: Machine, laptop: Machine) -> None:
    """Have another Exim answer in the server's place, with the server's name, then the server again."""
    server.write("/root/impostor.conf", IMPOSTOR)
    server.sh("""
        systemctl stop exim4
        mkdir -p /var/spool/impostor
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=mx.example.org -days 9 \\
            -addext subjectAltName=DNS:mx.example.org \\
            -keyout /var/spool/impostor/key.pem -out /var/spool/impostor/certificate.pem 2>/dev/null
        chown -R Debian-exim: /var/spool/impostor
        exim4 -C /root/impostor.conf -bd
    """)
    laptop.run("python3", "-c", TO_THE_IMPOSTOR)
    assert _taken(server) == 1, "the impostor takes every message"

    laptop.typed("echo secret | mail bob@example.com", user="alice")
    laptop.settle()
    assert laptop.run("exim4", "-bpc").stdout == "1\n"
    assert "certificate verification failed" in laptop.sh("tail -n 3 /var/log/exim4/mainlog")
    assert _taken(server) == 1

    server.sh("kill $(cat /var/spool/impostor/pid)")
    server.restart_exim()
    laptop.run("exim4", "-qff")
    until(lambda: "secret" in server.arrived(), "the message that waited arrives", limit=20)
    server.sh("rm -r /root/impostor.conf /var/spool/impostor")


def _taken(server: Machine) -> int:
    """Return how many messages the impostor has taken."""
    return server.sh("cat /var/spool/impostor/mainlog").count(" <= ")
