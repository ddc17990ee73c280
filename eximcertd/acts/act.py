"""An act: one decision of a fleet, its canonical text, and the chain of hashes over all of them.

Acts are numbered by generation: 1, 2, 3, without a gap. Each names the hash of the one before it, so that two relays
with the same hash at a generation have the same acts up to it. Pure.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from eximcertd.errors import EximcertdError
from eximcertd.fingerprint import NEVER, Fingerprint, is_exact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FIRST_PREVIOUS: Final = "0" * 64
"""What the first act names as the hash of the one before it."""

MOST_FINGERPRINTS: Final = 10_000
"""The fingerprints of one act, at most."""

VERBS: Final = frozenset({"approve", "reject", "revoke", "authorize", "withdraw"})
"""What an act can do. authorize, withdraw: of an authority."""

MOST_SETTLED: Final = 5_000
"""The own decisions that one act settles, at most: with MOST_FINGERPRINTS it fits into a call of the control socket."""

LONGEST_NOTE: Final = 1000
LONGEST_DETAIL: Final = 64 << 10
LONGEST_SIGNATURE: Final = 16 << 10
END_OF_TIME: Final = 253_402_300_800_000_000
"""The year 10000, in microseconds since the epoch."""

_FORMAT: Final = "eximcertd act 1"
_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_BY: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,99}")
_DETAIL: Final = re.compile(r"([!-~]+( [!-~]+)*)?")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_NOTE: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]*")
"""Not str.isprintable(): it depends on Python's version, and an act is valid on all relays or on none."""


class ActError(EximcertdError):
    """An act that is malformed, or does not follow the one before it."""


@dataclass(frozen=True, slots=True)
class Act:
    """One decision of the fleet.

    generation: its number, from 1. previous: the hash of the act before it, 64 upper-case hex digits. verb: one of
    VERBS. by: who decided, a role of the database or a principal of the signers' file. at: microseconds since the
    epoch, by the clock of the database or of the desk; nothing is ordered by it. request: a UUID; an act with a
    request that is known is not made again. fingerprints: ascending, each once; of one authority for authorize and
    withdraw. note: one line. settles: the ids (UUIDs) of relays' own decisions that it settles, ascending. detail: for
    authorize: the certificate's DER in base64, and the name patterns, parted by spaces; else "". signature: an SSH
    signature of the text (base64 of its binary form), or "".
    """

    generation: int
    previous: str
    verb: str
    by: str
    at: int
    request: str
    fingerprints: tuple[Fingerprint, ...]
    note: str = ""
    settles: tuple[str, ...] = ()
    detail: str = ""
    signature: str = field(default="", compare=False)

    def text(self) -> bytes:
        """Return the canonical text, which hash and signature cover: a line for each field, then the fingerprints."""
        lines = (
            _FORMAT,
            str(self.generation),
            self.previous,
            self.verb,
            self.by,
            str(self.at),
            self.request,
            self.note,
            " ".join(self.settles),
            self.detail,
            *self.fingerprints,
        )
        return "".join(f"{line}\n" for line in lines).encode()

    def hash(self) -> str:
        """Return the SHA-256 of the text, 64 upper-case hex digits."""
        return hashlib.sha256(self.text()).hexdigest().upper()

    def to_json(self) -> dict[str, Any]:
        """Return the act as the control socket carries it."""
        return {
            "generation": self.generation,
            "previous": self.previous,
            "verb": self.verb,
            "by": self.by,
            "at": self.at,
            "request": self.request,
            "fingerprints": list(self.fingerprints),
            "note": self.note,
            "settles": list(self.settles),
            "detail": self.detail,
            "signature": self.signature,
        }


def of_json(given: Mapping[str, Any]) -> Act:
    """Return the act that the control socket carried. Raises ActError for what is malformed."""
    try:
        act = Act(
            given["generation"],
            given["previous"],
            given["verb"],
            given["by"],
            given["at"],
            given["request"],
            tuple(given["fingerprints"]),
            given["note"],
            tuple(given["settles"]),
            given["detail"],
            given["signature"],
        )
    except (KeyError, TypeError) as error:
        raise ActError(f"an act is malformed: {error!r:.80}") from None
    return checked(act)


def parse(text: bytes, signature: str = "") -> Act:
    """Return the act with this canonical text. Raises ActError for any other text."""
    try:
        head, generation, previous, verb, by, at, request, note, settles, detail, *names, end = text.decode().split(
            "\n"
        )
        act = Act(
            int(generation),
            previous,
            verb,
            by,
            int(at),
            request,
            tuple(map(Fingerprint, names)),
            note,
            tuple(settles.split()),
            detail,
            signature,
        )
    except ValueError:
        raise ActError("an act is malformed: its text has not the lines that it must have") from None
    if head != _FORMAT or end or act.text() != text:
        raise ActError("an act is malformed: its text is not the canonical one")
    return checked(act)


def checked(act: Act) -> Act:
    """Return the act if each of its fields is valid. Raises ActError that names the field."""
    wrong = [name for name, valid in _fields(act) if not valid]
    if wrong:
        raise ActError(f"act {act.generation!r:.20} is malformed: {', '.join(wrong)}")
    never = next((name for name in act.fingerprints if name in NEVER), None)
    if never and act.verb in {"approve", "authorize"}:
        raise ActError(f"act {act.generation} approves {never}, which is never approved: {NEVER[never]}")
    return act


def _fields(act: Act) -> Iterable[tuple[str, bool]]:
    texts = (act.previous, act.verb, act.by, act.request, act.note, act.detail, act.signature, *act.settles)
    if not all(isinstance(text, str) for text in (*texts, *act.fingerprints)):
        yield "type", False
        return
    yield "generation", type(act.generation) is int and 0 < act.generation < 1 << 62
    yield "at", type(act.at) is int and 0 <= act.at < END_OF_TIME
    yield "previous", is_exact(act.previous)
    yield "verb", act.verb in VERBS
    yield "by", _BY.fullmatch(act.by) is not None
    yield "request", _ID.fullmatch(act.request) is not None
    yield "note", len(act.note) <= LONGEST_NOTE and _NOTE.fullmatch(act.note) is not None
    yield "settles", len(act.settles) <= MOST_SETTLED and _ascending(act.settles)
    yield "settles", all(map(_ID.fullmatch, act.settles))
    yield "signature", len(act.signature) <= LONGEST_SIGNATURE and _BASE64.fullmatch(act.signature) is not None
    of_authority = act.verb in {"authorize", "withdraw"}
    yield "detail", len(act.detail) <= LONGEST_DETAIL and _DETAIL.fullmatch(act.detail) is not None
    yield "detail", _is_of(act.detail, act.fingerprints) if act.verb == "authorize" else not act.detail
    most = 1 if of_authority else MOST_FINGERPRINTS
    yield "fingerprints", 1 <= len(act.fingerprints) <= most and _ascending(act.fingerprints)
    yield "fingerprints", all(map(is_exact, act.fingerprints))


def _is_of(detail: str, fingerprints: Sequence[str]) -> bool:
    """Tell whether the detail begins with the certificate that has the fingerprint."""
    try:
        der = base64.b64decode(detail.partition(" ")[0], validate=True)
    except ValueError:
        return False
    return [hashlib.sha256(der).hexdigest().upper()] == list(fingerprints)


def _ascending(values: Sequence[str]) -> bool:
    return all(one < other for one, other in pairwise(values))


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain of acts ends. generation 0: it has no act yet. hash: of the last act."""

    generation: int = 0
    hash: str = FIRST_PREVIOUS

    def followed_by(self, act: Act) -> Head:
        """Return the head after ``act``. Raises ActError if it does not follow."""
        if act.generation != self.generation + 1 or act.previous != self.hash:
            raise ActError(f"act {act.generation} does not follow act {self.generation}: the chain is broken")
        return Head(act.generation, act.hash())
