"""eximcertd on this relay, as eximcertd-fleet sees it: the Fleet methods of its control socket."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from eximcertd.acts.act import Head
from eximcertd.fingerprint import Fingerprint
from eximcertd.fleet.remote import OwnDecision, Sighted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eximcertd.acts.act import Act
    from eximcertd.control.client import Client

TAKE_TIMEOUT: Final = 60.0
"""Seconds to wait until acts are taken: 10,000 fingerprints, and a signature for each act."""


class News(NamedTuple):
    """What the relay has. own: its open decisions, None if they are those of the revision that was asked with.

    open: how many there are. sighted: what has changed since the cursor; as long as there are some, ask again.
    """

    head: Head
    live: int
    open: int
    own: tuple[OwnDecision, ...] | None
    revision: str
    sighted: tuple[Sighted, ...]
    cursor: str
    dropped: int
    problem: str


class Taken(NamedTuple):
    """The last act that the relay has taken. held: the act that waits until a person on the relay accepts it."""

    generation: int
    held: int | None


class LocalSide(Protocol):
    """What the relay answers. Each call raises an EximcertdError: NoAnswerError where it does not answer."""

    def news(self, revision: str | None, cursor: str | None) -> News:
        """Return what has changed since the last answer's revision and cursor."""

    def hashes(self, generations: Sequence[int]) -> Sequence[str]:
        """Return the hashes of acts, "" for one that the relay does not have."""

    def take(self, acts: Sequence[Act], back_to: int | None) -> Taken:
        """Hand over acts. back_to: the fleet has lost the acts after this one; they are to follow it."""

    def state(self, state: str, since: int, problem: str) -> None:
        """Tell how the connection is, since when (milliseconds since the epoch), and what is wrong."""


class ControlSocket:
    """LocalSide by the control socket. relay: this relay's name in the fleet."""

    def __init__(self, client: Client, relay: str) -> None:
        self._client = client
        self._relay = relay

    def news(self, revision: str | None, cursor: str | None) -> News:
        """See LocalSide."""
        given = self._client.call("FleetNews", {"own": revision, "cursor": cursor})
        own = given["own"]
        return News(
            Head(given["generation"], given["hash"]),
            given["live"],
            given["open"],
            None if own is None else tuple(OwnDecision(self._relay, **one) for one in own),
            given["own_revision"],
            tuple(self._sighted(**one) for one in given["sighted"]),
            given["cursor"],
            given["dropped"],
            given["problem"],
        )

    def hashes(self, generations: Sequence[int]) -> Sequence[str]:
        """See LocalSide."""
        answer: list[str] = self._client.call("FleetHashes", {"generations": list(generations)})["hashes"]
        return answer

    def take(self, acts: Sequence[Act], back_to: int | None) -> Taken:
        """See LocalSide."""
        given = {"acts": [act.to_json() for act in acts], "back_to": back_to}
        answer = self._client.call("FleetTake", given, timeout=TAKE_TIMEOUT)
        return Taken(answer["generation"], answer["held"])

    def state(self, state: str, since: int, problem: str) -> None:
        """See LocalSide."""
        self._client.call("FleetState", {"state": state, "since": since, "problem": problem})

    def _sighted(
        self, fingerprint: str, attempts: int, first_seen: int, last_seen: int, **other: str | None
    ) -> Sighted:
        der = other.pop("der")
        return Sighted(
            self._relay,
            Fingerprint(fingerprint),
            attempts,
            first_seen,
            last_seen,
            **other,
            der=None if der is None else base64.b64decode(der),
        )
