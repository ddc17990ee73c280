"""People decide with eximcertctl on one of two relays: real Exims, eximcertds and eximcertd-fleets, acts in files."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from lab.daemon import Eximcertd
from lab.exim import EximServer
from lab.fleet_process import FleetProcess, fleet_of
from lab.home import Home
from lab.smtp import ask
from lab.wait import until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from lab.certificates import Identity


class Relays:
    """mx1, where alice decides, and mx2."""

    def __init__(self, stack: ExitStack, *clients: Identity) -> None:
        self.exims = {name: stack.enter_context(EximServer(trusted=clients)) for name in ("mx1", "mx2")}
        base = self.exims["mx1"].directory / "home"
        base.mkdir(mode=0o755)
        self.home = Home(base)
        self.daemons = {
            name: stack.enter_context(Eximcertd(exim, fleet_of(self.home, name))) for name, exim in self.exims.items()
        }
        for daemon in self.daemons.values():
            stack.enter_context(FleetProcess(daemon))

    def ctl(self, *arguments: str, on: str = "mx1") -> subprocess.CompletedProcess[str]:
        """Run eximcertctl with alice's key."""
        return self.daemons[on].ctl("--key", str(self.home.key("alice")), *arguments)

    def json(self, *arguments: str) -> Any:
        return json.loads(self.ctl(*arguments, "--json").stdout)

    def refused(self, client: Identity) -> list[str]:
        """Return the relays that refuse a client."""
        return [name for name, exim in self.exims.items() if ask(exim.port, client).refused]


@pytest.fixture(scope="module")
def relays(alice: Identity, mallory: Identity) -> Iterator[Relays]:
    with ExitStack() as stack:
        yield Relays(stack, alice, mallory)


def test_one_decision_holds_on_both_relays_when_it_is_said_so(relays: Relays, alice: Identity) -> None:
    assert relays.refused(alice) == ["mx1", "mx2"]
    waits = until(
        lambda: [one for one in relays.json("fleet", "pending") if len(one["relays"]) == 2], "both tell it", limit=30
    )
    assert [one["relay"] for one in waits[0]["relays"]] == ["mx1", "mx2"]
    done = relays.ctl("approve", alice.fingerprint, "--wait", "all", "--note", "her laptop")
    assert done.returncode == 0, done.stderr
    assert relays.refused(alice) == []
    assert relays.json("fleet", "pending") == []
    assert [(one["relay"], one["lag"]) for one in relays.json("fleet")["relays"]] == [("mx1", 0), ("mx2", 0)]
    gone = relays.ctl("revoke", alice.fingerprint)
    assert gone.returncode == 0, gone.stderr
    assert "which settles 1 own decision of relays" in gone.stdout
    assert "mx1" in relays.refused(alice)
    until(lambda: relays.refused(alice) == ["mx1", "mx2"], "mx2 has followed", limit=30)
    again = relays.ctl("approve", alice.fingerprint)
    assert again.returncode == 0, again.stderr
    assert "mx1" not in relays.refused(alice), "this relay's Exim was waited for"


def test_what_one_relay_decided_alone_is_settled_by_one_act(relays: Relays, mallory: Identity) -> None:
    assert relays.refused(mallory) == ["mx1", "mx2"]
    assert relays.ctl("approve", mallory.fingerprint, "--here", on="mx2").returncode == 0
    assert relays.refused(mallory) == ["mx1"]
    shown = until(lambda: relays.json("fleet", "settle")["approved"], "mx2 has told it", limit=30)
    assert [(one["relay"], one["verb"]) for one in shown[0]["own"]] == [("mx2", "approve")]
    done = relays.ctl("fleet", "settle", "--approved", "revoke", "--note", "not one of ours")
    assert done.returncode == 0, done.stderr
    until(lambda: relays.refused(mallory) == ["mx1", "mx2"], "mx2 has followed", limit=30)
    until(lambda: relays.json("fleet", "settle") == {"refused": [], "approved": []}, "nothing is open", limit=30)
    checked = relays.ctl("fleet", "check")
    assert checked.returncode == 0, checked.stderr + checked.stdout
