"""Exims that lie elsewhere than Debian's: program, configuration, user and log are asked of Exim."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab.exim import EXIM
from lab.layouts import LAYOUTS, OtherServer
from lab.wait import until

if TYPE_CHECKING:
    from lab.certificates import Identity

pytestmark = pytest.mark.skipif("exim-openssl" not in EXIM.parts, reason="needs the Exim of scripts/build-exim-openssl")


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
        assert server.ctl("revoke", alice.fingerprint).returncode == 0
        assert server.ask(alice) == 550
