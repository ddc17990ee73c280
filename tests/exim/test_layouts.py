"""Exims that lie elsewhere than Debian's: program, configuration, user and log are asked of Exim."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from lab.exim import EXIM
from lab.layouts import LAYOUTS, OtherServer
from lab.wait import until

if TYPE_CHECKING:
    from lab.certificates import Identity

pytestmark = pytest.mark.skipif("exim-openssl" not in EXIM.parts, reason="needs the Exim of scripts/build-exim-openssl")

DROP_INS = """
from eximcertd.cli.setup import site, units
from eximcertd.config import DaemonConfig

config = DaemonConfig()
for change in units.drop_ins(site.find(config), config):
    print(change.path, *(line for line in change.text.splitlines() if line[0] != "#"), sep="\\n")
"""


@pytest.mark.parametrize("name", LAYOUTS)
def test_refused_seen_approved_relayed_checked_and_revoked_without_a_configuration_file(
    name: str, alice: Identity
) -> None:
    layout = LAYOUTS[name]
    with OtherServer(layout) as server, server.eximcertd():
        server.trust(alice)
        assert server.ask(alice) == 550
        until(lambda: server.json("pending"), "the attempt is pending")
        assert server.json("status")["log"]["path"] == layout.log
        assert "Exim honours it" in server.ctl("approve", alice.fingerprint).stdout
        assert server.ask(alice) == 250
        lines = server.json("check")
        assert [line for line in lines if line["verdict"] == "error"] == []
        said = "\n".join(line["sentence"] for line in lines)
        assert f"with OpenSSL: {layout.program} reads {layout.configuration}" in said
        assert "Exim's user exim can read" in said
        assert f"eximcertd's user eximcertd can read the log {layout.log}" in said
        drop_ins = server.run(sys.executable, "-c", DROP_INS).stdout
        assert "eximcertd-reload@.service.d/exim-user.conf\n[Service]\nUser=exim\nGroup=exim\n" in drop_ins
        assert (
            "eximcertd.service.d/log-group.conf\n[Service]\nSupplementaryGroups=\nSupplementaryGroups=exim\n"
            in drop_ins
        )
        assert drop_ins.count(".conf") == 2
        assert server.ctl("revoke", alice.fingerprint).returncode == 0
        assert server.ask(alice) == 550
