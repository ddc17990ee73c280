"""``eximcertctl setup`` on a whole machine: Debian's Exim under a real systemd, and eximcertd beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab.certificates import make
from lab.wait import until

if TYPE_CHECKING:
    from pathlib import Path

    from lab.machine import Machine

EXIMS = (  # but eximcertd's own list
    "find /etc/exim4 /var/lib/exim4 -type f ! -name 'relay_from_certs*' "
    r"-printf '%p %m %u %g ' -exec md5sum {} \; | sort"
)


@pytest.mark.parametrize("split", ["true", "false"], ids=["split", "unsplit"])
def test_one_command_and_an_approval_make_a_new_machine_relay_and_undo_makes_it_what_it_was(
    machine: Machine, tmp_path: Path, split: str
) -> None:
    laptop = make(tmp_path, f"laptop.{split}.example")
    machine.write(f"/root/{laptop.name}.pem", laptop.pem + laptop.key.read_text())
    machine.sh(f"""
        sed -i -e "s/^dc_use_split_config=.*/dc_use_split_config='{split}'/" \\
            -e "s/^dc_eximconfig_configtype=.*/dc_eximconfig_configtype='smarthost'/" \\
            -e "s/^dc_smarthost=.*/dc_smarthost='192.0.2.2::2525'/" /etc/exim4/update-exim4.conf.conf
        update-exim4.conf
        rm -f /root/arrived
    """)
    machine.restart_exim()
    before = machine.sh(EXIMS)

    done = machine.ctl("setup", "--yes", good=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "On each client, as root:\n  eximcertctl client setup lab.invalid --server-fingerprint" in done.stdout
    assert machine.rcpt(laptop) == 550
    machine.counted(laptop, 1)
    machine.ctl("approve", laptop.fingerprint, "--without-certificate")
    assert machine.rcpt(laptop, send=True) == 250
    until(lambda: "Subject: relayed" in machine.arrived(), "the message arrives", limit=20)

    again = machine.ctl("setup", "--yes")
    assert "Nothing to do" in again.stdout
    machine.ctl("setup", "--undo", "--yes")
    machine.ctl("revoke", laptop.fingerprint, good=False)
    assert machine.sh(EXIMS) == before
