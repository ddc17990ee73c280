"""A fleet in a directory of files, with the keys of those who decide.

home = Home(tmp_path)
act = home.act("approve", A)          # alice decides, signed
relay = home.relay("mx1")             # the transport of mx1
"""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from eximcertd.acts.signature import armored, sign
from eximcertd.config import FleetSettings
from eximcertd.fleet.directory import DirectoryDesk, DirectoryRelaySide
from lab.fleet import next_act

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from eximcertd.acts.act import Act


class Home:
    """A directory of a fleet below ``base``. people: who has a key and may decide."""

    def __init__(self, base: Path, people: Sequence[str] = ("alice", "bob")) -> None:
        self.base: Final = base
        self.directory: Final = base / "fleet"
        self.signers: Final = base / "signers"
        self.directory.mkdir()
        self.directory.chmod(0o755)
        for name in people:
            self.make_key(name)
        self.signers.write_text("".join(f"{name} {self.key(name).with_suffix('.pub').read_text()}" for name in people))

    def make_key(self, name: str) -> None:
        """Make a person's key, which the file of signers does not name."""
        subprocess.run(["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key(name)], check=True)

    def key(self, name: str) -> Path:
        """Return the file of a person's private key."""
        return self.base / f"key-{name}"

    def settings(self, relay: str = "mx1", *, pull: Sequence[str] = (), directory: Path | None = None) -> FleetSettings:
        """Return [fleet]. directory: another one than the home's, into which ``pull`` fetches."""
        return FleetSettings(relay, directory or self.directory, None, self.signers, tuple(pull))

    def relay(self, name: str = "mx1") -> DirectoryRelaySide:
        """Return the side of a relay that looks at the directory itself."""
        return DirectoryRelaySide(self.settings(name))

    def desk(self, who: str = "alice") -> DirectoryDesk:
        """Return the desk of a person."""
        return DirectoryDesk(self.settings(), self.key(who))

    def signed(self, act: Act, who: str = "alice") -> Act:
        """Return an act with a person's signature."""
        return replace(act, signature=sign(act.text(), self.key(who)))

    def armor(self, act: Act) -> bytes:
        """Return the file of an act's signature."""
        return armored(act.signature)

    def act(self, verb: str, *fingerprints: str, by: str = "alice", settles: Collection[str] = ()) -> Act:
        """Decide, as a person at a desk, and return the act."""
        desk = self.desk(by)
        act = self.signed(next_act(desk.head(), verb, *fingerprints, by=by, settles=settles), by)
        desk.decide(act)
        return act

    def file(self, generation: int, end: str = "") -> Path:
        """Return the path of an act's text, or with ".sig" of its signature."""
        return self.directory / "acts" / f"{generation:08d}.act{end}"
