"""eximcertctl on a machine of a fleet: a directory of acts, relays that report, and the configuration that names them.

site = Site(tmp_path)
site.reports("mx2", live=3)
done = site.ctl("fleet", "--json")
"""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any, Final

from eximcertd.fleet.remote import OwnDecision, Report, Sighted
from lab.ctl import Done, ctl
from lab.home import Home

if TYPE_CHECKING:
    from pathlib import Path

    from eximcertd.fingerprint import Fingerprint
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

    def relay(self, name: str) -> DirectoryRelaySide:
        """Return a relay's side, always the same one."""
        return self.relays.setdefault(name, self.home.relay(name))

    def sees(self, name: str, fingerprint: Fingerprint, der: bytes | None = None, attempts: int = 1) -> None:
        """Have a relay refuse a client."""
        peer = ("[192.0.2.17]", "laptop", "a@x.example", "b@y.example")
        seen = Sighted(name, fingerprint, attempts, now() - 60_000, now(), *peer, der)
        self.relay(name).sight([seen])
        self.reports(name)

    def tells(self, name: str, *own: OwnDecision) -> None:
        """Have a relay tell its open own decisions."""
        self.relay(name).tell(own)
        self.reports(name, own=len(own))

    def reports(self, name: str, *, live: int = 0, own: int = 0, skew: int = 0, problem: str = "") -> None:
        """Have a relay report. skew: milliseconds that its clock is ahead."""
        self.relay(name).report(Report("0.1.0", live, live, own, now() + skew, problem))
