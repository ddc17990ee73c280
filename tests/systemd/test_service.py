"""The service as it is installed, beside Debian's own Exim, journald and logrotate, under a real systemd."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from lab.certificates import Identity, make
from lab.wait import until

from eximcertd.events import Event

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.machine import Machine


@pytest.fixture
def client(relay: Machine, tmp_path: Path, request: pytest.FixtureRequest) -> Identity:
    """Make a client's certificate, a new one for each test, that the machine trusts."""
    identity = make(tmp_path, f"client-{abs(hash(request.node.name))}.example")
    relay.trust(identity)
    return identity


def refused_and_seen(relay: Machine, client: Identity, *, times: int = 1) -> None:
    assert relay.rcpt(client, times=times) == 550
    relay.counted(client, times)


def test_a_refused_client_is_listed_approved_relays_is_revoked_and_refused(relay: Machine, client: Identity) -> None:
    refused_and_seen(relay, client)
    (pending,) = [entry for entry in relay.json("pending") if entry["fingerprint"] == client.fingerprint]
    assert pending["certificate"]["subject"] == f"CN={client.name}"
    # the line that names the client is Exim's next one
    until(
        lambda: ((relay.entry(client) or {}).get("from") or {}).get("host") == "127.0.0.2",
        "its host is known",
        limit=20,
    )

    relay.ctl("approve", client.fingerprint[:12], "--note", "laptop of the night shift")
    assert relay.rcpt(client, send=True) == 250
    until(lambda: "Subject: relayed" in relay.arrived(), "the message arrives", limit=20)

    relay.ctl("revoke", client.fingerprint[:12])
    assert relay.rcpt(client) == 550


def test_check_is_ok_in_every_line_where_exim_is_set_up_as_documented(relay: Machine) -> None:
    said = relay.ctl("check", good=False)
    assert said.returncode == 0, said.stdout + said.stderr
    assert all(line.startswith(("ok ", "  ")) for line in said.stdout.splitlines()), said.stdout


def test_readers_may_look_approvers_may_decide_and_nobody_else_may_do_either(relay: Machine, client: Identity) -> None:
    refused_and_seen(relay, client)
    for user, looks, decides in (("nobody", 5, 5), ("alice", 0, 5), ("bob", 0, 0)):
        assert relay.ctl("pending", user=user, good=False).returncode == looks, user
        assert relay.ctl("approve", client.fingerprint, user=user, good=False).returncode == decides, user
    entry = relay.entry(client)
    assert entry is not None
    assert entry["standing"] == "approved"
    assert entry["decision"]["by"] == "bob"


def test_a_decision_is_in_the_journal_with_its_fields_and_its_text(relay: Machine, client: Identity) -> None:
    refused_and_seen(relay, client)
    relay.ctl("approve", client.fingerprint)
    seen = relay.record(f"MESSAGE_ID={Event.ATTEMPT_SEEN.message_id}", f"FINGERPRINT={client.fingerprint}")
    assert seen["SUBJECT"] == f"CN={client.name}"
    record = relay.record(f"FINGERPRINT={client.fingerprint}", "VERB=approve")
    assert record["MESSAGE_ID"] == Event.APPROVED.message_id
    assert record["BY"] == "root"
    assert record["SUBJECT"] == f"CN={client.name}"
    assert record["_SYSTEMD_UNIT"] == "eximcertd.service"
    explained = relay.run("journalctl", "-x", "--no-pager", f"FINGERPRINT={client.fingerprint}", "VERB=approve").stdout
    assert f"    eximcertctl revoke {client.fingerprint}" in explained


def test_two_forced_rotations_lose_nothing_and_count_nothing_twice(relay: Machine, client: Identity) -> None:
    total = 0
    for times in (3, 2, 4):
        assert relay.rcpt(client, times=times) == 550
        total += times
        relay.counted(client, total)
        relay.run("logrotate", "-f", "/etc/logrotate.d/exim4-base")
        assert relay.rcpt(client) == 550
        total += 1
    relay.counted(client, total)


def test_killed_amid_attempts_it_is_started_again_and_counts_exactly(relay: Machine, client: Identity) -> None:
    restarts = int(relay.unit("eximcertd", "NRestarts"))
    first = relay.pid()
    times = 400
    attempts = threading.Thread(target=relay.rcpt, args=(client,), kwargs={"times": times})
    attempts.start()
    until(lambda: relay.attempts(client) > 0, "the first attempts are counted")
    relay.run("kill", "-KILL", str(first))
    attempts.join()
    until(lambda: relay.unit("eximcertd", "ActiveState") == "active" and relay.pid() != first, "it runs again")
    assert int(relay.unit("eximcertd", "NRestarts")) == restarts + 1
    relay.counted(client, times)


def test_stopping_takes_no_longer_than_a_second_and_loses_nothing(relay: Machine, client: Identity) -> None:
    refused_and_seen(relay, client, times=5)
    relay.sh("mkdir -p /run/systemd/system/eximcertd.service.d")
    relay.write("/run/systemd/system/eximcertd.service.d/stop.conf", "[Service]\nTimeoutStopSec=1\n")
    relay.sh("systemctl daemon-reload; systemctl stop eximcertd")
    assert relay.unit("eximcertd", "Result") == "success"  # else systemd would have had to kill it: "timeout"
    assert relay.rcpt(client, times=2) == 550
    relay.sh("rm /run/systemd/system/eximcertd.service.d/stop.conf; systemctl daemon-reload; systemctl start eximcertd")
    relay.counted(client, 7)


def test_a_mistake_in_the_configuration_keeps_the_old_one_and_is_said(relay: Machine) -> None:
    good = relay.sh("cat /etc/eximcertd/eximcertd.toml")
    first = relay.pid()
    relay.write("/etc/eximcertd/eximcertd.toml", good + "[queue]\nunmatched_limit = 0\n")
    relay.run("systemctl", "reload", "eximcertd")
    record = relay.record(f"MESSAGE_ID={Event.CONFIGURATION_REFUSED.message_id}")
    assert "unmatched_limit" in str(record["MESSAGE"])
    until(lambda: "unmatched_limit" in relay.unit("eximcertd", "StatusText"), "the mistake is in the status")
    assert relay.unit("eximcertd", "ActiveState") == "active"

    relay.write("/etc/eximcertd/eximcertd.toml", good + "[queue]\nunmatched_limit = 9999\n")
    relay.run("systemctl", "reload", "eximcertd")
    until(lambda: relay.journal(f"MESSAGE_ID={Event.CONFIGURATION_RELOADED.message_id}"), "it is read again")
    until(lambda: "unmatched_limit" not in relay.unit("eximcertd", "StatusText"), "the status is good again")
    assert relay.pid() == first
    relay.write("/etc/eximcertd/eximcertd.toml", good)
    relay.run("systemctl", "reload", "eximcertd")


def test_with_exim_stopped_a_decision_waits_in_the_file_for_its_start(relay: Machine, client: Identity) -> None:
    refused_and_seen(relay, client)
    relay.run("systemctl", "stop", "exim4")
    said = relay.ctl("approve", client.fingerprint, good=False)
    assert said.returncode in {0, 6}, said
    relay.restart_exim()
    assert relay.rcpt(client) == 250


def test_with_exim_broken_nothing_changes_until_it_is_mended_and_then_the_decision_is_live(
    relay: Machine, client: Identity, tmp_path: Path
) -> None:
    friend = make(tmp_path, f"friend-of-{client.name}")
    relay.trust(friend)
    refused_and_seen(relay, client)
    refused_and_seen(relay, friend)
    relay.ctl("approve", friend.fingerprint)
    before = relay.sh("cat /etc/exim4/relay_from_certs")
    relay.sh("sed -i '1i no_such_option_of_exim = yes' /var/lib/exim4/config.autogenerated")

    said = relay.ctl("approve", client.fingerprint, good=False)
    assert said.returncode == 6
    assert "no_such_option_of_exim" in said.stdout + said.stderr
    assert relay.sh("cat /etc/exim4/relay_from_certs") == before
    assert relay.sh("cat /run/exim4/exim.pid").strip() in relay.sh("pidof exim4").split()

    relay.run("update-exim4.conf")
    until(lambda: relay.json("status")["allowlist"]["live"], "the decision becomes live by itself", limit=60)
    assert relay.rcpt(client) == 250
    assert relay.rcpt(friend) == 250


def test_state_is_kept_over_a_reboot_and_over_a_power_cut(relay: Machine, client: Identity) -> None:
    refused_and_seen(relay, client, times=3)
    relay.ctl("approve", client.fingerprint)
    for again in (relay.reboot, relay.lose_power):
        again()
        relay.sh("systemctl is-active eximcertd exim4")
        entry = relay.entry(client)
        assert entry is not None
        assert entry["standing"] == "approved"
        assert entry["attempts"] == 3
        assert relay.rcpt(client) == 250
        assert relay.sh(
            "stat -c %a /var/lib/eximcertd /var/lib/eximcertd/ledger /var/lib/eximcertd/allowed"
        ).split() == [
            "755",
            "700",
            "755",
        ]


def test_it_is_ready_before_a_backlog_is_read_and_its_status_tells_how_far_it_is(
    relay: Machine, client: Identity
) -> None:
    refused_and_seen(relay, client)
    relay.run("systemctl", "stop", "eximcertd")
    relay.sh("truncate -s +40G /var/log/exim4/mainlog; echo >>/var/log/exim4/mainlog")
    assert relay.rcpt(client) == 550
    relay.restart()
    relay.sh("until systemctl show --value --property=StatusText eximcertd | grep 'MiB to go'; do sleep .05; done")
    relay.counted(client, 2)
    until(lambda: "MiB" not in relay.unit("eximcertd", "StatusText"), "the status is good again", limit=30)
    relay.sh("rm /var/log/exim4/mainlog")


@pytest.fixture
def trap(relay: Machine) -> Iterator[str]:
    """Lay a mistake where Exim's daemon finds it and the publisher, which sees no home directories, does not."""
    relay.write("/root/mistake", "no_such_option_of_exim = yes\n")
    relay.sh("sed -i '1i .include_if_exists /root/mistake' /var/lib/exim4/config.autogenerated")
    yield "/root/mistake"
    relay.sh("rm -f /root/mistake; update-exim4.conf")
    relay.restart_exim()


def test_exim_dead_of_a_reload_is_said_first_and_at_the_highest_level(
    relay: Machine, client: Identity, trap: str
) -> None:
    before = relay.sh("cat /etc/exim4/relay_from_certs")
    said = relay.ctl("approve", client.fingerprint, good=False)
    assert said.returncode == 6
    assert said.stderr.startswith("EXIM IS DOWN")
    record = relay.record(f"MESSAGE_ID={Event.EXIM_IS_DOWN.message_id}")
    assert record["PRIORITY"] == "2"
    assert relay.sh("cat /etc/exim4/relay_from_certs") == before
    assert relay.rcpt(client) == 0

    relay.run("rm", trap)
    relay.restart_exim()
    until(lambda: relay.json("status")["allowlist"]["live"], "the decision becomes live by itself", limit=60)
    assert relay.rcpt(client) == 250


@pytest.fixture
def restarting(relay: Machine) -> Iterator[None]:
    """Install the drop-in that the package ships for an Exim that died, for the length of a test."""
    shipped = "/usr/share/doc/eximcertd/examples/exim/exim4.service.d"
    relay.sh(f"cp -r {shipped} /run/systemd/system/; systemctl daemon-reload")
    relay.restart_exim()
    yield
    relay.sh("rm -r /run/systemd/system/exim4.service.d; systemctl daemon-reload")
    relay.restart_exim()


def test_an_exim_that_died_is_started_again_by_the_drop_in_that_the_package_ships(
    relay: Machine, client: Identity, restarting: None
) -> None:
    relay.run("systemctl", "kill", "--signal=KILL", "--kill-who=main", "exim4")
    until(lambda: relay.rcpt(client) == 550, "Exim runs again", limit=60)

    # A mistake that only Exim's daemon sees, as in the test before; Debian's start of Exim generates the file anew.
    relay.write("/root/mistake", "no_such_option_of_exim = yes\n")
    relay.sh("sed -i '1i .include_if_exists /root/mistake' /var/lib/exim4/config.autogenerated")
    assert relay.ctl("approve", client.fingerprint, good=False).stderr.startswith("EXIM IS DOWN")
    until(lambda: relay.rcpt(client) > 0, "Exim runs again", limit=60)
    relay.run("systemctl", "reload", "eximcertd")  # which tries again at once
    until(lambda: relay.rcpt(client) == 250, "the decision is live", limit=60)
    relay.sh("rm /root/mistake")


def test_with_eximcertd_down_root_can_still_revoke(relay: Machine, client: Identity) -> None:
    refused_and_seen(relay, client)
    relay.ctl("approve", client.fingerprint)
    assert relay.rcpt(client) == 250
    relay.run("systemctl", "stop", "eximcertd")
    relay.ctl("revoke", "--offline", client.fingerprint, "--note", "laptop stolen")
    assert relay.rcpt(client) == 550
    relay.restart()
    for _ in range(2):  # a second start takes nothing twice
        entry = relay.entry(client)
        assert entry is not None
        assert entry["standing"] == "revoked"
        assert entry["decision"]["note"] == "laptop stolen"
        relay.restart()
    assert len([one for one in relay.json("history", client.fingerprint) if one["verb"] == "revoke"]) == 1
    relay.ctl("approve", client.fingerprint)
    relay.restart()
    assert relay.rcpt(client) == 250


SEND = """
import asyncio
from eximcertd.config import NotifySettings
from eximcertd.maintenance.notifications import Notifications
class Printer:
    def record(self, event, message):
        print(message)
notifications = Notifications(Printer(), lambda: NotifySettings(mail="{to}"))
asyncio.run(notifications._send("exim-is-down", "A sentence for {to}", 1, []))
"""


@pytest.fixture
def mail_socket(relay: Machine) -> Iterator[None]:
    """Enable the socket for mail, as an administrator does, for the length of a test."""
    assert relay.unit("eximcertd-mail.socket", "UnitFileState") == "disabled"
    relay.run("systemctl", "enable", "--now", "eximcertd-mail.socket")
    yield
    relay.run("systemctl", "disable", "--now", "eximcertd-mail.socket")


def test_mail_leaves_the_sandbox_by_the_socket_and_is_delivered_at_once(relay: Machine, mail_socket: None) -> None:
    relay.sink()  # an earlier test may have booted the machine
    relay.sh("install -d -o bob /home/bob")  # where Exim delivers, a recipient has a home directory
    relay.restart_exim()
    for to in ("postmaster@elsewhere.example", "bob@localhost"):
        inside = ("nsenter", "--mount", f"--target={relay.pid()}", "setpriv", "--reuid=eximcertd", "--regid=eximcertd")
        command = (*inside, "--clear-groups", "--no-new-privs", "python3", "-")
        assert relay.run(*command, given=SEND.format(to=to)).stdout == "", "nothing failed"
    until(lambda: "A sentence for postmaster@elsewhere.example" in relay.arrived(), "the mail is relayed", limit=30)
    until(lambda: "A sentence for bob" in relay.sh("cat /var/mail/bob || true"), "the mail is in a mailbox", limit=30)
    until(lambda: relay.sh("exim4 -bpc").strip() == "0", "nothing is left in the queue", limit=30)
    said = relay.run(*command, given=SEND.format(to="nobody:;")).stdout  # a group without an address
    assert "mail: nothing was sent: " in said
    assert "recipient" in said
    relay.run("systemctl", "disable", "--now", "eximcertd-mail.socket")
    said = relay.run(*command, given=SEND.format(to="bob@localhost")).stdout
    assert "mail: nothing was sent: " in said, "the sandbox makes the setuid bit of sendmail void"
    assert "systemctl enable --now eximcertd-mail.socket" in said
