"""eximcertd-fleet as a unit, in its sandbox, beside eximcertd in its own: a fleet by files of this one relay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab.certificates import make
from lab.wait import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.machine import Machine

FLEET = """
[fleet]
relay = "mx1"
directory = "/var/lib/eximcertd-fleet"
signers = "/etc/eximcertd/fleet_signers"
poll = "2s"
report = "2s"
"""


@pytest.fixture
def in_a_fleet(relay: Machine) -> Iterator[Machine]:
    """Make the machine a relay of a fleet in which alice decides, as docs/fleet.md has it."""
    before = relay.sh("cat /etc/eximcertd/eximcertd.toml")
    relay.sh("""
        for name in acts relays; do
            install -d -o eximcertd-fleet -g eximcertd-fleet /var/lib/eximcertd-fleet /var/lib/eximcertd-fleet/$name
        done
        ssh-keygen -q -t ed25519 -N '' -f /root/alice
        echo "alice $(cut -d' ' -f1,2 /root/alice.pub)" >/etc/eximcertd/fleet_signers
    """)
    relay.write("/etc/eximcertd/eximcertd.toml", before + FLEET)
    relay.restart()
    relay.run("systemctl", "enable", "--now", "eximcertd-fleet")
    yield relay
    relay.run("systemctl", "disable", "--now", "eximcertd-fleet")
    relay.write("/etc/eximcertd/eximcertd.toml", before)
    relay.sh("rm -r /root/alice /root/alice.pub /var/lib/eximcertd-fleet/*")
    relay.restart()


def test_without_its_section_the_unit_is_skipped_and_that_is_no_failure(relay: Machine) -> None:
    relay.run("systemctl", "start", "eximcertd-fleet")
    assert relay.unit("eximcertd-fleet", "ActiveState") == "inactive"


def test_a_signed_act_goes_through_both_sandboxes_to_exim(in_a_fleet: Machine, tmp_path: Path) -> None:
    relay, client = in_a_fleet, make(tmp_path, "fleet.example")
    relay.trust(client)
    assert relay.rcpt(client) == 550
    relay.counted(client, 1)
    assert relay.unit("eximcertd-fleet", "ActiveState") == "active"
    relay.ctl("--key", "/root/alice", "approve", client.fingerprint)
    assert relay.rcpt(client) == 250
    decision = (relay.entry(client) or {})["decision"]
    assert (decision["by"], decision["generation"]) == ("alice", 1)

    def reported() -> bool:
        (row,) = relay.json("fleet")["relays"]
        return bool(row["live"] == 1)

    until(reported, "the relay reports that the act is live", limit=60)
    relay.ctl("--key", "/root/alice", "revoke", client.fingerprint)
    assert relay.rcpt(client) == 550
    assert "whole" in relay.ctl("fleet", "check").stdout
