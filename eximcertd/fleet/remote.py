"""What a transport of acts does: one side for a relay, one for the people who decide.

The transports are fleet/directory.py (files, signed) and fleet/postgres.py. Both sides are synchronous; each call has a
time limit of its own and raises RemoteError if the transport cannot be reached or refuses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from eximcertd.errors import EximcertdError, Exit
from eximcertd.status import ALLOWS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from eximcertd.acts.act import Act, Head
    from eximcertd.fingerprint import Fingerprint


_REFUSES: Final = "0001-4000-8000"


class RemoteError(EximcertdError):
    """The fleet cannot be reached, or it does not answer. The message names the host or the file."""

    exit_status = Exit.NO_ANSWER


class ActRefusedError(EximcertdError):
    """The fleet refuses an act: the rules, another decision meanwhile, or a relay's own decision that it must name."""

    exit_status = Exit.REFUSED


class MovedError(EximcertdError):
    """The chain has a newer act than the one that was built on: build it again."""


@dataclass(frozen=True, slots=True)
class OwnDecision:
    """A relay's own decision, not settled. at: milliseconds since the epoch by the relay's clock. See effective.Own."""

    relay: str
    id: str
    fingerprint: Fingerprint
    verb: str
    by: str
    at: int
    note: str
    base: int
    lost: bool = False

    @property
    def refuses(self) -> bool:
        """Whether it rejects or revokes. The id tells it too, see new_id in ledger/schema.py.

        Else an eximcertd-fleet that is taken over could report a revocation as an approval. If it reports another id,
        an act does not settle the revocation.
        """
        return self.verb not in ALLOWS or self.id[9:23] == _REFUSES


@dataclass(frozen=True, slots=True)
class Sighted:
    """What one relay has seen of a fingerprint that waits: totals, not differences.

    der: its certificate, or None. first_seen, last_seen: milliseconds since the epoch.
    """

    relay: str
    fingerprint: Fingerprint
    attempts: int
    first_seen: int
    last_seen: int
    host: str | None = None
    helo: str | None = None
    sender: str | None = None
    recipient: str | None = None
    der: bytes | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What a relay says of itself. received: the generation that it has. live: the one that its Exim honours.

    clock: milliseconds since the epoch by the relay's clock. own: how many own decisions are open. problem: or "".
    dropped: how many sightings were left out, being too many.
    """

    version: str
    received: int
    live: int
    own: int
    clock: int
    problem: str = ""
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class RelayState:
    """A relay as the fleet knows it. seen_at: milliseconds since the epoch by the fleet's clock, or None.

    skew: milliseconds that the relay's clock is ahead. dropped: sightings over its quota.
    """

    name: str
    report: Report | None
    seen_at: int | None
    skew: int = 0
    dropped: int = 0


class RelaySide(Protocol):
    """What eximcertd-fleet asks of a transport, for its own relay.

    complete: what this transport does not have is lost, as a database's; a directory may only not be up to date.
    """

    complete: bool

    def head(self) -> Head:
        """Return where the chain ends."""

    def acts(self, after: int, most: int) -> Sequence[Act]:
        """Return at most ``most`` acts after a generation, in order; none if there are none."""

    def tell(self, own: Sequence[OwnDecision]) -> None:
        """Replace what the fleet knows of this relay's open decisions: those given are open, no others."""

    def sight(self, sighted: Sequence[Sighted]) -> None:
        """Report at most 500 waiting clients with their totals. The same again changes nothing."""

    def report(self, report: Report) -> None:
        """Report the relay's state."""

    def wait(self, seconds: float) -> bool:
        """Wait until there may be a new act, or so long; return whether there may be one."""

    def close(self) -> None:
        """Close the connection."""


class Desk(Protocol):
    """What a person's eximcertctl asks of a transport, with the person's own credentials."""

    def who(self) -> str:
        """Return the name that the person's acts carry in ``by``."""

    def now(self) -> int:
        """Return the fleet's time, microseconds since the epoch."""

    def head(self) -> Head:
        """Return where the chain ends."""

    def acts(self, after: int, most: int) -> Sequence[Act]:
        """Return at most ``most`` acts after a generation, in order."""

    def newest(self, fingerprints: Collection[Fingerprint]) -> dict[Fingerprint, Act]:
        """Return the newest act on each of these fingerprints that has one: approve, reject or revoke."""

    def of_request(self, request: str) -> Act | None:
        """Return the act with this request, if there is one."""

    def own(self, fingerprints: Collection[Fingerprint] | None = None) -> Sequence[OwnDecision]:
        """Return the open own decisions of all relays, on these fingerprints or on all; at most 10,000."""

    def decide(self, act: Act) -> None:
        """Append an act. Raises MovedError if it does not follow the head, ActRefusedError if a rule forbids it."""

    def relays(self) -> Sequence[RelayState]:
        """Return the relays, by name."""

    def pending(self, most: int) -> Sequence[Sighted]:
        """Return what waits: those with a certificate first, then the newest; no more than ``most`` fingerprints."""

    def sighted(self, fingerprints: Collection[Fingerprint]) -> Sequence[Sighted]:
        """Return what the relays have seen of these fingerprints, whether they wait or are decided."""

    def matching(self, prefix: str, most: int = 10) -> Sequence[Fingerprint]:
        """Return known fingerprints that begin with these digits."""

    def close(self) -> None:
        """Close the connection."""
