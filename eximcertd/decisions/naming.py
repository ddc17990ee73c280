"""From the name of a certificate to its fingerprint: an alternative name, a file's name, a part of the subject.

Only certificates whose file lies in the directory have a name that counts: what a client has merely shown may hold any
name. A name is looked up among the certificates that the decision can concern, those that wait first, so that a renewed
certificate with the same name as an approved one is found.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from eximcertd.errors import NoSuchFingerprintError
from eximcertd.ledger.entries import Selection
from eximcertd.status import Status, Verb
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eximcertd.certificates.certificate import Certificate
    from eximcertd.certificates.index import Index
    from eximcertd.fingerprint import Fingerprint
    from eximcertd.ledger import Ledger

MOST_SEARCHED: Final = 2000
"""Certificates of one status whose names are looked at, those with the latest attempts."""

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
    for statuses in _ORDER[verb]:
        if found := await _among(ledger, index, wanted, statuses):
            if len(found) == 1:
                return found[0]
            raise NoSuchFingerprintError(
                f"{len(found)} certificates have the name {clean(name)}",
                hint="Give the digits of one.",
                candidates=found[:_MOST_CANDIDATES],
            )
    raise NoSuchFingerprintError(
        f"no certificate that can be {_PAST[verb]} has the name {clean(name[:_LONGEST])}",
        hint="Only files of the certificate directory have names here. Give the digits of the fingerprint.",
    )


async def _among(ledger: Ledger, index: Index, wanted: str, statuses: frozenset[Status]) -> list[Fingerprint]:
    """Return the certificates of the directory with this name: with the whole of it, or else with it as a part."""
    if not wanted:
        return []
    names = [one for status in statuses for one in ledger.entries.newest(Selection(status.value), MOST_SEARCHED)]
    if Status.APPROVED in statuses:
        names += ledger.identities.with_subject(wanted, _MOST_CANDIDATES)
    names += [one for one in index.holding(wanted) if ledger.entries.get(one).status in statuses]
    wanted = wanted.casefold()
    certificates = await asyncio.to_thread(index.details_of, list(dict.fromkeys(names)))
    whole = [one.fingerprint for one in certificates.values() if wanted in map(str.casefold, _names(one))]
    return whole or [one.fingerprint for one in certificates.values() if wanted in one.subject.casefold()]


def _names(certificate: Certificate) -> Iterable[str]:
    yield from (*certificate.names, *certificate.files, certificate.subject)
    yield from (part[3:] for part in certificate.subject.split(",") if part.startswith("CN="))


_PAST: Final = {Verb.APPROVE: "approved", Verb.REJECT: "rejected", Verb.REVOKE: "revoked"}
