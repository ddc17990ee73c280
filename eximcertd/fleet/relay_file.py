"""What a relay says of itself, as a file of JSON: relays/NAME.json. Pure.

The file is the relay's word, and a relay can be in the hands of a stranger: every value is checked, everything is
bounded, and a certificate counts only under the SHA-256 of its DER form. The relay's name is that of the file.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from eximcertd.fingerprint import Fingerprint, is_exact, of_der
from eximcertd.fleet.remote import OwnDecision, RemoteError, Report, Sighted
from eximcertd.status import OF_AUTHORITIES, Verb

if TYPE_CHECKING:
    from collections.abc import Iterable

LARGEST_FILE: Final = 8 << 20
"""Bytes, at most."""

MOST_OWN: Final = 10_000
MOST_SIGHTED: Final = 1_000
"""Own decisions and waiting clients of one relay, at most."""

_LARGEST_SIGHTED: Final = 4 << 20
_LARGEST_DER: Final = 16 << 10
_LONGEST: Final = 1000
_LARGEST_NUMBER: Final = 1 << 62
_OWN_VERBS: Final = frozenset(Verb) - {Verb.SEE} - OF_AUTHORITIES
_PEERS: Final = ("host", "helo", "sender", "recipient")


class RelayFile(NamedTuple):
    """The content of the file. dropped: how many waiting clients were left out, being too many."""

    report: Report
    own: tuple[OwnDecision, ...]
    sighted: tuple[Sighted, ...]
    dropped: int


def encode(report: Report, own: Iterable[OwnDecision], sighted: Iterable[Sighted]) -> bytes:
    """Return the file. Of too many waiting clients those with a certificate are kept, and of them the newest."""
    ordered = sorted(sighted, key=lambda one: (one.der is None, -one.last_seen))
    kept: list[str] = []
    room = _LARGEST_SIGHTED
    for one in ordered[:MOST_SIGHTED]:
        der = base64.b64encode(one.der).decode() if one.der is not None and len(one.der) <= _LARGEST_DER else None
        text = _text(_without(one, "relay") | {"der": der})
        room -= len(text)
        if room < 0:
            break
        kept.append(text)
    decisions = [_text(_without(one, "relay")) for one in own][:MOST_OWN]
    head = f'{{"report":{_text(_without(report))},"dropped":{len(ordered) - len(kept)}'
    return f'{head},\n"own":[\n{_lines(decisions)}],\n"sighted":[\n{_lines(kept)}]}}\n'.encode()


def decode(raw: bytes, relay: str, now: int) -> RelayFile:
    """Return the content of a relay's file. Raises RemoteError for anything but a file that ``encode`` could write.

    now: milliseconds since the epoch, by the clock here. Nothing was seen later than that.
    """
    try:
        value = json.loads(raw)
        return RelayFile(
            _report(value["report"]),
            tuple(_own(one, relay) for one in _list(value["own"], MOST_OWN)),
            tuple(_sighted(one, relay, now) for one in _list(value["sighted"], MOST_SIGHTED)),
            _number(value["dropped"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        what = f"{type(error).__name__}: {error}"[:80].encode("unicode_escape").decode()
        raise RemoteError(f"it is not what a relay writes ({what})") from None


def _report(value: Any) -> Report:
    received, live, own, clock, dropped = (
        _number(value[key]) for key in ("received", "live", "own", "clock", "dropped")
    )
    return Report(_string(value["version"]), received, live, own, clock, _string(value["problem"]), dropped)


def _own(value: Any, relay: str) -> OwnDecision:
    verb = Verb(value["verb"])
    if verb not in _OWN_VERBS:
        raise ValueError("verb")
    texts = (_string(value[key]) for key in ("id", "by", "note"))
    numbers = (_number(value[key]) for key in ("at", "base"))
    (name, by, note), (at, base) = texts, numbers
    return OwnDecision(relay, name, _fingerprint(value), verb.value, by, at, note, base, value["lost"] is True)


def _sighted(value: Any, relay: str, now: int) -> Sighted:
    fingerprint = _fingerprint(value)
    der = None
    if value["der"] is not None:
        der = base64.b64decode(_string(value["der"], 2 * _LARGEST_DER), validate=True)
        if len(der) > _LARGEST_DER or of_der(der) != fingerprint:
            raise ValueError("a certificate that is not the fingerprint's")
    peers = {key: None if value[key] is None else _string(value[key]) for key in _PEERS}
    attempts, first, last = (_number(value[key]) for key in ("attempts", "first_seen", "last_seen"))
    return Sighted(relay, fingerprint, attempts, min(first, now), min(last, now), **peers, der=der)


def _fingerprint(value: Any) -> Fingerprint:
    name = _string(value["fingerprint"])
    if not is_exact(name):
        raise ValueError("fingerprint")
    return Fingerprint(name)


def _string(value: Any, longest: int = _LONGEST) -> str:
    if not isinstance(value, str) or len(value) > longest:
        raise ValueError("a text is too long, or none")
    return value.encode("utf-8", "replace").decode()  # JSON can spell a lone surrogate, which cannot be shown


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _LARGEST_NUMBER:
        raise ValueError("a number is too large, or none")
    return value


def _list(value: Any, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise ValueError("a list is too long, or none")
    return value


def _without(record: Report | OwnDecision | Sighted, *names: str) -> dict[str, Any]:
    """Return the other fields; texts are cut, since a file with a longer one is not read: clients choose some."""
    values = {name: getattr(record, name) for name in record.__slots__ if name not in names}
    return {name: value[:_LONGEST] if isinstance(value, str) else value for name, value in values.items()}


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))


def _lines(texts: Iterable[str]) -> str:
    return ",\n".join(texts)
