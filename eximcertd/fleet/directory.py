"""The transport without a service: a directory of signed acts and of what each relay says of itself.

    DIRECTORY/acts/00000001.act, 00000001.act.sig    written by a desk (act_files.py)
    DIRECTORY/relays/NAME.json                       written by that relay's eximcertd-fleet (relay_file.py)

One directory, the home relay's or a desk's, is the source. The others fetch acts/ from it, by rsync, ssh or git, and
give relays/NAME.json back in the same way. Each relay verifies chain and signatures itself: a user who can write
the directory can keep decisions from a relay, and can make none.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from eximcertd.acts.act import Act, ActError, Head, checked
from eximcertd.acts.signature import signer, verify
from eximcertd.exim.run import EximError, run
from eximcertd.fleet import files
from eximcertd.fleet.act_files import ActFiles
from eximcertd.fleet.relay_file import LARGEST_FILE, MOST_OWN, RelayFile, decode, encode
from eximcertd.fleet.remote import ActRefusedError, MovedError, RelayState, RemoteError, Report
from eximcertd.fleet.rules import queue, refusal
from eximcertd.status import OF_AUTHORITIES
from eximcertd.text import shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

    from eximcertd.config import FleetSettings
    from eximcertd.fingerprint import Fingerprint
    from eximcertd.fleet.remote import OwnDecision, Sighted

PULL_LIMIT: Final = 60.0
"""Seconds that the command which fetches the directory may take."""

_LOOK_EVERY: Final = 0.5
_MOST_KEPT: Final = 2_000
_MOST_RELAYS: Final = 1_000
_RELAY: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,62})\.json")


def _parts(settings: FleetSettings) -> tuple[Path, Path]:
    """Return the directory, and the file of signers. Raises RemoteError if the configuration has none."""
    if settings.directory is None or settings.signers is None:
        raise RemoteError("[fleet] directory and signers are not set")
    return settings.directory, settings.signers


class DirectoryRelaySide:
    """A relay's side. What waits is kept in memory: after a start the relay reports all of it again."""

    complete = False

    def __init__(self, settings: FleetSettings) -> None:
        directory, _ = _parts(settings)
        self._acts: Final = ActFiles(directory / "acts")
        self._relays: Final = directory / "relays"
        self._name: Final = f"{settings.relay}.json"
        self._pull: Final = list(settings.pull)
        self._own: Sequence[OwnDecision] = ()
        self._sighted: dict[Fingerprint, Sighted] = {}
        self._looked = -1

    def head(self) -> Head:
        """Fetch the directory, and return where the chain ends."""
        if self._pull:
            try:
                done = run(self._pull, PULL_LIMIT)
            except EximError as error:
                raise RemoteError(error.message) from None
            if done.status:
                raise RemoteError(f"{shown(' '.join(self._pull), 200)}: exit status {done.status}: {done.words()}")
        self._looked = self._acts.changed()
        return self._acts.head()

    def acts(self, after: int, most: int) -> Sequence[Act]:
        """See RelaySide."""
        return self._acts.read(after, most)

    def tell(self, own: Sequence[OwnDecision]) -> None:
        """See RelaySide; the file is written by report()."""
        self._own = own[:MOST_OWN]

    def sight(self, sighted: Sequence[Sighted]) -> None:
        """See RelaySide; the file is written by report()."""
        for one in sighted:
            before = self._sighted.pop(one.fingerprint, None)
            der = one.der if one.der is not None or before is None else before.der
            self._sighted[one.fingerprint] = replace(one, der=der)
        while len(self._sighted) > _MOST_KEPT:
            self._sighted.pop(next(iter(self._sighted)))

    def report(self, report: Report) -> None:
        """Write this relay's file."""
        if not self._relays.exists():
            with files.opened(self._relays.parent) as parent:
                os.mkdir(self._relays.name, 0o755, dir_fd=parent)
        with files.opened(self._relays) as directory:
            files.write(directory, self._name, encode(report, self._own, self._sighted.values()))

    def wait(self, seconds: float) -> bool:
        """See RelaySide: whether acts/ has changed is looked at twice a second."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if self._acts.changed() != self._looked:
                return True
            time.sleep(min(_LOOK_EVERY, left))
        return self._acts.changed() != self._looked

    def close(self) -> None:
        """Close nothing: no file is kept open."""


class DirectoryDesk:
    """The desk of a person whose SSH key is in the file of signers. key: its file, or None: the person's own one."""

    def __init__(self, settings: FleetSettings, key: Path | None) -> None:
        directory, self._signers = _parts(settings)
        self._files: Final = ActFiles(directory / "acts")
        self._relays: Final = directory / "relays"
        self._key: Final = key
        self._fetched: Final = bool(settings.pull)
        self._head = Head()
        self._every: list[Act] = []

    def who(self) -> str:
        """See Desk. Raises SigningError if the person has no key that the file of signers names.

        ActRefusedError: the acts here are a copy, and one that is made here would be on this machine alone.
        """
        if self._fetched:
            raise ActRefusedError(
                f"{self._files.path} is a copy, which [fleet] pull fetches: no act is made here",
                hint="decide on the machine that it is fetched from, or with --here for this relay alone",
            )
        return signer(self._signers, self._key)

    def now(self) -> int:
        """See Desk: the time of this machine."""
        return time.time_ns() // 1000

    def head(self) -> Head:
        """See Desk. Every act was read, and the chain holds."""
        while read := self._files.read(self._head.generation, 100):
            for act in read:
                try:
                    self._head = self._head.followed_by(act)
                except ActError as error:
                    raise RemoteError(f"{self._files.path}: {error.message}") from None
                self._every.append(act)
        return self._head

    def acts(self, after: int, most: int) -> Sequence[Act]:
        """See Desk."""
        return self._files.read(after, most)

    def newest(self, fingerprints: Collection[Fingerprint]) -> dict[Fingerprint, Act]:
        """See Desk."""
        self.head()
        wanted = set(fingerprints)
        acts = (act for act in self._every if act.verb not in OF_AUTHORITIES)
        return {name: act for act in acts for name in act.fingerprints if name in wanted}

    def of_request(self, request: str) -> Act | None:
        """See Desk."""
        self.head()
        return next((act for act in self._every if act.request == request), None)

    def own(self, fingerprints: Collection[Fingerprint] | None = None) -> Sequence[OwnDecision]:
        """See Desk: from the files that the relays have given back."""
        self.head()
        settled = {(one, name) for act in self._every for one in act.settles for name in act.fingerprints}
        wanted = None if fingerprints is None else set(fingerprints)
        told = (one for _, file in self._read() if file for one in file.own)
        return [
            one
            for one in told
            if (one.id, one.fingerprint) not in settled and (wanted is None or one.fingerprint in wanted)
        ][:MOST_OWN]

    def decide(self, act: Act) -> None:
        """See Desk: the rules, then the signature, which every relay verifies too, then the files."""
        checked(act)
        self.who()
        head = self.head()
        if (act.generation, act.previous) != (head.generation + 1, head.hash):
            raise MovedError(f"the fleet is at generation {head.generation}")
        if known := self.of_request(act.request):
            raise MovedError(f"this request is act {known.generation} already")
        if wrong := refusal(act, self.newest(act.fingerprints), self.own(act.fingerprints)):
            raise ActRefusedError(wrong)
        verify(act, self._signers)
        self._files.append(act)

    def relays(self) -> Sequence[RelayState]:
        """See Desk. A file's time is when it came here, so only a clock that is ahead can be told."""
        return [state for state, _ in self._read()]

    def pending(self, most: int) -> Sequence[Sighted]:
        """See Desk."""
        sighted = [one for _, file in self._read() if file for one in file.sighted]
        return queue(sighted, self.newest([one.fingerprint for one in sighted]), most)

    def sighted(self, fingerprints: Collection[Fingerprint]) -> Sequence[Sighted]:
        """See Desk."""
        wanted = set(fingerprints)
        return [one for _, file in self._read() if file for one in file.sighted if one.fingerprint in wanted]

    def matching(self, prefix: str, most: int = 10) -> Sequence[Fingerprint]:
        """See Desk."""
        self.head()
        known = {name for act in self._every for name in act.fingerprints}
        for _, file in self._read():
            if file:
                known |= {one.fingerprint for one in file.own} | {one.fingerprint for one in file.sighted}
        return sorted(name for name in known if name.startswith(prefix))[:most]

    def close(self) -> None:
        """Close nothing: no file is kept open."""

    def _read(self) -> Iterable[tuple[RelayState, RelayFile | None]]:
        """Read what the relays say of themselves, by name. A file that cannot be used is its relay's problem."""
        if not self._relays.exists() and self._relays.parent.is_dir():
            return  # no relay has reported yet
        now = time.time_ns() // 1_000_000
        with files.opened(self._relays) as directory:
            names = sorted(found[1] for name in files.names(directory) if (found := _RELAY.fullmatch(name)))
            for name in names[:_MOST_RELAYS]:
                try:
                    read = files.read(directory, f"{name}.json", LARGEST_FILE)
                    if read is None:
                        continue
                    raw, status = read
                    file = decode(raw, name, now)
                except (OSError, RemoteError) as error:
                    reason = error.message if isinstance(error, RemoteError) else error.strerror
                    yield RelayState(name, Report("", 0, 0, 0, now, f"{name}.json: {reason}"), None), None
                    continue
                came = status.st_ctime_ns // 1_000_000
                skew = max(0, file.report.clock - came)
                yield RelayState(name, file.report, came, skew, file.dropped), file
