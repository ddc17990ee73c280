"""From typed digits to fingerprints that this relay or the fleet knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from eximcertd.cli.fleet.connection import DeskConnection, ThisRelay
from eximcertd.cli.fleet.entries import certificates
from eximcertd.decisions.resolve import LOG_ONLY_DIGITS, MOST_CANDIDATES
from eximcertd.errors import NoSuchFingerprintError
from eximcertd.fingerprint import LENGTH, Fingerprint, grouped
from eximcertd.fleet.deciding import status_of
from eximcertd.status import ALLOWS, Status
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eximcertd.cli.connection import Context
    from eximcertd.fleet.remote import Desk
    from eximcertd.status import Verb

_MOST_SEARCHED: Final = 2000
_UNDECIDED: Final = frozenset({Status.UNSEEN, Status.PENDING})


def resolved(desk: Desk, here: ThisRelay, verb: Verb, texts: Iterable[str]) -> list[Fingerprint]:
    """Return the fingerprints, each once. texts: upper-case digits, whole or 8 and more of them.

    The same rules as on one relay (decisions/resolve.py): an ambiguous prefix names nothing, and what only clients have
    shown takes 16 digits. Raises NoSuchFingerprintError with the candidates, RemoteError.
    """
    return list(dict.fromkeys(_one(desk, here, verb, text) for text in texts))


def claimed(context: Context, name: str) -> NoSuchFingerprintError | None:
    """Return the error that lists the waiting certificates that claim a name; None if none does.

    Any client can put any name into its certificate, so such a name decides nothing.
    """
    with DeskConnection(context) as connection:
        known = certificates(connection.desk.pending(_MOST_SEARCHED))
    wanted = name.strip().casefold()
    found = [
        fingerprint
        for fingerprint, one in known.items()
        if wanted and any(wanted in text.casefold() for text in (one.subject, *one.names))
    ]
    if not found:
        return None
    return NoSuchFingerprintError(
        f"only clients have shown a certificate with the name {clean(name)}, on relays of the fleet",
        hint=f"Ask the owner for the fingerprint, and give at least {LOG_ONLY_DIGITS} digits of it.",
        candidates=found[:MOST_CANDIDATES],
    )


def _one(desk: Desk, here: ThisRelay, verb: Verb, digits: str) -> Fingerprint:
    if len(digits) == LENGTH:
        return Fingerprint(digits)
    local, in_directory = here.candidates(digits)
    found = sorted({*local, *desk.matching(digits, MOST_CANDIDATES + 1)})
    if not found:
        raise NoSuchFingerprintError(
            f"neither this relay nor the fleet knows a fingerprint that begins with {grouped(digits)}",
            hint="`eximcertctl fleet pending` shows what waits.",
        )
    if len(found) > 1:
        raise NoSuchFingerprintError(
            f"{grouped(digits)} is ambiguous", hint="Give more digits.", candidates=found[:MOST_CANDIDATES]
        )
    if len(digits) < LOG_ONLY_DIGITS and not in_directory:
        status = status_of(desk.newest(found).get(found[0]))
        if status in _UNDECIDED or (verb in ALLOWS and status is not Status.APPROVED):
            raise NoSuchFingerprintError(
                f"only clients have shown {grouped(digits)}: its certificate is not in the directory of this relay",
                hint=f"Compare the fingerprint with its owner's, and give at least {LOG_ONLY_DIGITS} digits of it.",
                candidates=found,
            )
    return found[0]
