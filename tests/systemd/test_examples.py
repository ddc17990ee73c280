"""What is shipped for Exim's configuration does what it says, as it is shipped, on Debian's own Exim."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab.certificates import make
from lab.wait import until

if TYPE_CHECKING:
    from pathlib import Path

    from lab.machine import Machine


@pytest.mark.parametrize("variant", ["split", "unsplit", "handwritten"])
def test_the_example_asks_for_certificates_refuses_a_stranger_and_relays_for_the_approved(
    machine: Machine, tmp_path: Path, variant: str
) -> None:
    machine.sh("rm -rf /etc/exim4/exim4.conf /etc/exim4/conf.d/*/*eximcertd /etc/exim4/exim4.conf.localmacros")
    machine.sh("systemctl stop eximcertd eximcertd-publish.socket; rm -f /root/arrived")
    friend, stranger = make(tmp_path, f"friend.{variant}.example"), make(tmp_path, f"stranger.{variant}.example")
    machine.trust(friend)
    machine.trust(stranger)
    machine.rely_on(variant)
    machine.write("/etc/exim4/relay_from_certs", f"RELAY_FROM_CERTS = {friend.fingerprint}\n")
    machine.restart_exim()

    assert machine.rcpt(stranger) == 550
    assert machine.rcpt(friend, send=True) == 250
    log = machine.sh("cat /var/log/exim4/mainlog")
    assert f"has not been explicitly allowed: {stranger.fingerprint}" in log
    assert f"has not been explicitly allowed: {friend.fingerprint}" not in log
    if variant != "handwritten":  # that one looks for the recipient's server in the DNS, which is not there
        until(lambda: "Subject: relayed" in machine.arrived(), "the message arrives", limit=20)
