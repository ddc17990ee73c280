"""From the name of a certificate to its fingerprint: an alternative name, a file's name, a part of the subject.

Only certificates whose file lies in the directory have a name that counts: what a client has merely shown may hold any
name. All of them are searched, or none is found. Of those with the name the ones that the decision can concern count,
those that wait first, so that a renewed certificate with the same name as an approved one is found.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from eximcertd.errors import NoSuchFingerprintError
from eximcertd.status import Status, Verb
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from eximcertd.certificates.certificate import Certificate
    from eximcertd.certificates.index import Index
    from eximcertd.fingerprint import Fingerprint
    from eximcertd.ledger import Ledger

MOST: Final = 1000
"""Certificates with one name in their bytes; all of them are parsed."""
SECONDS: Final = 10.0
"""How long the directory is searched: 100,000 files take half of it."""

_LONGEST: Final = 300
_MOST_CANDIDATES: Final = 10
_ORDER: Final[dict[Verb, tuple[frozenset[Status], ...]]] = {
    Verb.APPROVE: (
        frozenset({Status.PENDING}),
        frozenset({Status.REJECTED, Status.REVOKED, Status.UNSEEN}),
        frozenset({Status.APPROVED}),
    ),
    Verb.REJECT: (frozenset({Status.PENDING}), frozenset({Status.REVOKED, Status.UNSEEN})),
    Verb.REVOKE: (frozenset({Status.APPROVED}),),
}


async def named(ledger: Ledger, index: Index, name: str, verb: Verb) -> Fingerprint:
    """Return the fingerprint of the one certificate that has this name and that ``verb`` can concern.

    Raises NoSuchFingerprintError, with the candidates if there are several.
    """
    wanted = name.strip()[:_LONGEST]
    found, complete = await asyncio.to_thread(index.mentioning, wanted, MOST, SECONDS)
    if not complete:
        many = f"{MOST:,} certificates or more may have it"
        why = many if len(found) == MOST else f"the certificate directory was not read to its end in {SECONDS:g} s"
        raise NoSuchFingerprintError(
            f"the name {clean(wanted)} was not looked up: {why}",
            hint="Give more of the name, or the digits of the fingerprint.",
        )
    certificates = await asyncio.to_thread(index.details_of, found)
    known = ledger.entries.statuses(found)
    for statuses in _ORDER[verb]:
        concerned = (one for one in found if known.get(one, _UNSEEN)[0] in statuses)
        named = _having(wanted.casefold(), [certificates[one] for one in concerned if one in certificates])
        if len(named) == 1:
            return named[0]
        if named:
            raise NoSuchFingerprintError(
                f"{len(named)} certificates have the name {clean(wanted)}",
                hint="Give the digits of one.",
                candidates=named[:_MOST_CANDIDATES],
            )
    raise NoSuchFingerprintError(
        f"no certificate that can be {_PAST[verb]} has the name {clean(wanted)}",
        hint="Only files of the certificate directory have names here. Give the digits of the fingerprint.",
    )


def _having(wanted: str, certificates: Sequence[Certificate]) -> list[Fingerprint]:
    """Return those with this name (case-folded): with the whole of it, or else with it as a part of the subject."""
    whole = [one.fingerprint for one in certificates if wanted in map(str.casefold, _names(one))]
    return whole or [one.fingerprint for one in certificates if wanted in one.subject.casefold()]


def _names(certificate: Certificate) -> Iterable[str]:
    yield from (*certificate.names, *certificate.files, certificate.subject)
    yield from (part[3:] for part in certificate.subject.split(",") if part.startswith("CN="))


_UNSEEN: Final = (Status.UNSEEN, False, False)
_PAST: Final = {Verb.APPROVE: "approved", Verb.REJECT: "rejected", Verb.REVOKE: "revoked"}
