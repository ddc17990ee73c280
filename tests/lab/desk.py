"""eximcertctl on a machine of a fleet: a directory of acts, relays that report, and the configuration that names them.

site = Site(tmp_path)
site.reports("mx2", live=3)
done = site.ctl("fleet", "--json")
"""

from __future__ import annotations

import asyncio
import base64
import time
import uuid
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from eximcertd.acts.act import Head
from eximcertd.errors import NoSuchFingerprintError, UsageError
from eximcertd.fingerprint import Fingerprint
from eximcertd.fleet.remote import OwnDecision, Report, Sighted
from lab.ctl import Done, ctl
from lab.home import Home
from lab.twins import Twin

if TYPE_CHECKING:
    from pathlib import Path

    from eximcertd.acts.act import Act
    from eximcertd.control.server import Caller
    from eximcertd.fleet.directory import DirectoryRelaySide


def now() -> int:
    """Return the time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def own_decision(relay: str, fingerprint: Fingerprint, verb: str, **other: Any) -> OwnDecision:
    """Return a relay's own decision, by carol unless ``other`` says otherwise."""
    given = {"id": str(uuid.uuid4()), "by": "carol", "at": now(), "note": "", "base": 0, **other}
    return OwnDecision(relay=relay, fingerprint=fingerprint, verb=verb, **given)


class Site:
    """A fleet by files below ``base``; the machine is mx1, and its control socket ``base``/control."""

    def __init__(self, base: Path) -> None:
        self.home: Final = Home(base)
        self.socket: Final = base / "control"
        self.config: Final = base / "eximcertd.toml"
        self.relays: dict[str, DirectoryRelaySide] = {}
        self.config.write_text(
            f'[control]\nsocket = "{self.socket}"\n'
            f'[fleet]\nrelay = "mx1"\ndirectory = "{self.home.directory}"\nsigners = "{self.home.signers}"\n'
        )

    def ctl(self, *arguments: str | Path, who: str = "alice") -> Done:
        """Run eximcertctl, with a person's key."""
        return ctl("--config", self.config, "--key", self.home.key(who), *arguments)

    def acts(self) -> list[Act]:
        """Return the acts of the fleet."""
        return list(self.home.desk().acts(0, 100))

    def relay(self, name: str) -> DirectoryRelaySide:
        """Return a relay's side, always the same one."""
        return self.relays.setdefault(name, self.home.relay(name))

    def sees(
        self,
        name: str,
        fingerprint: Fingerprint,
        der: bytes | None = None,
        attempts: int = 1,
        at: int | None = None,
    ) -> None:
        """Have a relay refuse a client. at: milliseconds since the epoch, or now."""
        at = at or now()
        peer = ("[192.0.2.17]", "laptop", "a@x.example", "b@y.example")
        seen = Sighted(name, fingerprint, attempts, at - 60_000, at, *peer, der)
        self.relay(name).sight([seen])
        self.reports(name)

    def tells(self, name: str, *own: OwnDecision) -> None:
        """Have a relay tell its open own decisions."""
        self.relay(name).tell(own)
        self.reports(name, own=len(own))

    def reports(self, name: str, *, live: int = 0, own: int = 0, skew: int = 0, problem: str = "") -> None:
        """Have a relay report. skew: milliseconds that its clock is ahead."""
        self.relay(name).report(Report("0.1.0", live, live, own, now() + skew, problem))


class RelayTwin(Twin):
    """The eximcertd of the machine of a Site, with the methods for a fleet.

    follows: whether it takes the fleet's acts, as eximcertd-fleet hands them over. own: its open decisions.
    """

    def __init__(self, site: Site) -> None:
        super().__init__(
            site.socket,
            methods={
                "FleetStatus": self._fleet_status,
                "FleetAccept": self._fleet_accept,
                "GetCertificate": self._certificate,
                "WithdrawAuthority": self._withdraw,
            },
        )
        self.site: Final = site
        self.follows = True
        self.hangs_up = False
        self.held: int | None = None
        self.own: list[OwnDecision] = []
        self.taken = Head()
        self.ders: dict[str, bytes] = {}

    def decides(self, verb: str, fingerprint: str, **other: Any) -> OwnDecision:
        """Have this relay decide on its own."""
        made = own_decision("mx1", Fingerprint(fingerprint), verb, base=self.taken.generation, **other)
        self.own.append(made)
        return made

    def _take(self) -> None:
        for act in self.site.home.desk().acts(self.taken.generation, 1000):
            self.taken = self.taken.followed_by(act)
            self.own = [one for one in self.own if one.id not in act.settles]
            status = {"approve": "approved", "reject": "rejected", "revoke": "revoked"}.get(act.verb)
            for name in act.fingerprints if status else ():
                decision = {"verb": act.verb, "by": act.by, "at": "2026-11-26T01:00:00Z", "note": act.note}
                entry = self.see(name, self.entries.get(name, {}).get("certificate"), decision=decision)
                entry["standing"] = status

    async def _fleet_status(self, caller: Caller, given: dict[str, Any]) -> dict[str, Any]:
        self._note("FleetStatus", caller, given)
        if self.follows:
            self._take()
        asked = given["fingerprints"]
        shown = [one for one in self.own if asked is None or one.fingerprint in asked]
        live = self.taken.generation if self.publication["live"] else 0
        return {
            "report": {
                "relay": "mx1",
                "generation": self.taken.generation,
                "hash": self.taken.hash,
                "live": live,
                "open": len(self.own),
                "held": self.held,
                "problem": "",
                "link": {"state": "away", "since": None, "problem": "the line is cut", "heard": "2026-11-26T01:00:00Z"},
            },
            "own": [{key: value for key, value in asdict(one).items() if key != "relay"} for one in shown],
        }

    async def _fleet_accept(self, caller: Caller, given: dict[str, Any]) -> dict[str, Any]:
        self._note("FleetAccept", caller, given)
        if given["generation"] != self.held:
            raise UsageError(f"this relay does not hold act {given['generation']}")
        self.held = None
        return {}

    async def _certificate(self, caller: Caller, given: dict[str, Any]) -> dict[str, Any]:
        self._note("GetCertificate", caller, given)
        name = given["fingerprint"]
        if name not in self.ders:
            raise NoSuchFingerprintError(f"the certificate of {name} is not known")
        return {"fingerprint": name, "der": base64.b64encode(self.ders[name]).decode()}

    async def _withdraw(self, caller: Caller, given: dict[str, Any]) -> dict[str, Any]:
        self._note("WithdrawAuthority", caller, given)
        found = [one for one in self.authorities if one["fingerprint"].startswith(given["fingerprint"])]
        if len(found) != 1:
            names = [one["fingerprint"] for one in found]
            raise NoSuchFingerprintError(f"{given['fingerprint']} names {len(found)} authorities", candidates=names)
        found[0]["standing"] = "withdrawn"
        return {"authority": found[0], "ended": 0, "publication": self.publication}

    async def _decide(self, caller: Caller, parameters: dict[str, Any]) -> dict[str, Any]:
        if self.hangs_up:
            raise asyncio.CancelledError  # the connection ends without an answer
        answer = await super()._decide(caller, parameters)
        for entry in answer["decided"]:
            self.own = [one for one in self.own if one.fingerprint != entry["fingerprint"]]
            self.decides(parameters["verb"], entry["fingerprint"], by=caller.name, note=parameters["note"])
        return answer
