"""From typed digits to a fingerprint of the ledger or of the certificate directory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NoReturn

from eximcertd.errors import NoSuchFingerprintError, UsageError
from eximcertd.fingerprint import LENGTH, SHORTEST_PREFIX, Fingerprint, FingerprintError, grouped, parse_prefix
from eximcertd.status import ALLOWS, Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eximcertd.certificates.index import Index
    from eximcertd.ledger import Ledger
    from eximcertd.status import Verb

LOG_ONLY_DIGITS: Final = 16
"""Digits for a decision on a certificate that is known from the log only.

Anybody can make a certificate that has eight digits of another one's fingerprint, in seconds; sixteen digits take
2^64 tries.
"""
MOST_CANDIDATES: Final = 10
_PORTION: Final = 200  # prefixes that are looked up before the loop does other work


class Resolver:
    """Finds fingerprints; lives in the loop's thread."""

    def __init__(self, ledger: Ledger, index: Index) -> None:
        self._ledger = ledger
        self._index = index

    async def resolve(self, texts: Iterable[str], *, verb: Verb | None = None) -> list[Fingerprint]:
        """Return the fingerprints that the texts name, whole or by prefix, each once.

        A whole fingerprint is returned even if it is unknown. verb: the decision, which needs 16 digits for a
        certificate that is known from the log only. Raises NoSuchFingerprintError with the candidates, UsageError.
        """
        digits = list(dict.fromkeys(prefix(text) for text in texts))
        matching: dict[str, list[Fingerprint]] = {}
        if parts := [one for one in digits if len(one) < LENGTH]:
            for fingerprint in await asyncio.to_thread(self._index.starting_with, parts):
                matching.setdefault(fingerprint[:SHORTEST_PREFIX], []).append(fingerprint)
        found = []
        for number, one in enumerate(digits):
            if number % _PORTION == _PORTION - 1:
                await asyncio.sleep(0)
            found.append(self._one(one, matching, verb=verb))
        return list(dict.fromkeys(found))

    def _one(self, digits: str, matching: dict[str, list[Fingerprint]], *, verb: Verb | None) -> Fingerprint:
        if len(digits) == LENGTH:
            return Fingerprint(digits)
        in_directory = [one for one in matching.get(digits[:SHORTEST_PREFIX], ()) if one.startswith(digits)]
        in_ledger = self._ledger.entries.candidates(digits, MOST_CANDIDATES + 1)
        candidates = sorted({*in_directory, *in_ledger})
        if not candidates:
            raise NoSuchFingerprintError(
                f"no certificate has a fingerprint that begins with {grouped(digits)}",
                hint="`eximcertctl pending` and `eximcertctl list` show those that are known.",
            )
        if len(candidates) > 1:
            _refuse(f"{grouped(digits)} is ambiguous", "Give more digits.", candidates)
        if verb and len(digits) < LOG_ONLY_DIGITS and candidates[0] not in self._index:
            status = self._ledger.entries.get(candidates[0]).status
            # a rejected fingerprint is no more certain than a pending one: its approval needs as many digits
            if status in {Status.UNSEEN, Status.PENDING} or (verb in ALLOWS and status is not Status.APPROVED):
                hint = f"Compare the fingerprint with its owner's, and give at least {LOG_ONLY_DIGITS} digits of it."
                _refuse(
                    f"only the log has shown {grouped(digits)}: its certificate is not in the directory",
                    hint,
                    candidates,
                )
        return candidates[0]


def _refuse(why: str, hint: str, candidates: list[Fingerprint]) -> NoReturn:
    raise NoSuchFingerprintError(why, hint=hint, candidates=candidates[:MOST_CANDIDATES])


def prefix(text: str) -> str:
    """Return the digits that a text spells. Raises UsageError."""
    try:
        return parse_prefix(text)
    except FingerprintError as error:
        raise UsageError(str(error)) from error


def whole(text: str) -> Fingerprint:
    """Return the whole fingerprint that a text spells. Raises UsageError."""
    digits = prefix(text)
    if len(digits) != LENGTH:
        raise UsageError(f"{digits} is not a whole fingerprint")
    return Fingerprint(digits)
