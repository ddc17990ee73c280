"""The methods about authorities: approve, withdraw, list."""

from __future__ import annotations

import asyncio
import binascii
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from eximcertd.certificates.parsing import parse, subject
from eximcertd.control.methods import views
from eximcertd.control.methods.changes import by_of
from eximcertd.decisions.resolve import prefix
from eximcertd.decisions.rules import CA
from eximcertd.decisions.sources import LONGEST_NOTE
from eximcertd.errors import NoSuchFingerprintError, RefusedError, UsageError
from eximcertd.fingerprint import grouped
from eximcertd.ledger.decisions import Decision
from eximcertd.publication.form import AUTO, DIRECTORY
from eximcertd.status import Status, Verb
from eximcertd.text import clean

if TYPE_CHECKING:
    from eximcertd.authorities.authority import Authority
    from eximcertd.control.caller import Caller
    from eximcertd.control.methods.changes import Changes
    from eximcertd.control.methods.services import Services
    from eximcertd.fingerprint import Fingerprint
    from eximcertd.ledger.authorities import AuthorityRow

_LONGEST: Final = 255
_LONGEST_CERTIFICATE: Final = (64 << 10) * 4 // 3  # in base64
_MOST_PATTERNS: Final = 100


class AuthorityMethods:
    """Decides on authorities and publishes."""

    def __init__(self, services: Services, changes: Changes) -> None:
        self._services = services
        self._ledger = services.ledger
        self._enrolling = services.maintenance.enrolling
        self._changes = changes

    async def add(self, caller: Caller, given: dict[str, Any]) -> dict[str, Any]:
        """Approve an authority, enrol what waits, and answer when Exim honours it."""
        from eximcertd.authorities.authority import Authority  # noqa: PLC0415 - its libraries cost 10 MiB

        patterns = patterns_of(given["names"])
        authority = Authority.of(await self._der(given), patterns, _crl(given["crl"]))
        await self.check(authority, frozenset(given["insist"]))
        limits = [f"names {' '.join(authority.patterns)}"] if authority.patterns else []
        limits += [f"CRL {authority.crl}"] if authority.crl else []
        enrolled = await self.approve(
            authority, _decision(authority.fingerprint, Verb.AUTHORIZE, caller, given, "; ".join(limits))
        )
        return {
            "authority": self._view(self._row(authority.fingerprint)),
            "enrolled": enrolled,
            "publication": self._changes.published(),
        }

    async def approve(self, authority: Authority, decision: Decision) -> int:
        """Approve an authority and enrol what waits; return how many that are. Raises RefusedError, LedgerError."""
        from eximcertd.authorities.printed import hashes_of  # noqa: PLC0415

        await self._enrolling.end()  # a withdrawal of it may not have come to its end
        self._check_names(authority)
        same = [one for one in self._enrolling.approved if one.same(authority)]
        self._enrolling.authorities.add(
            decision, authority, hashes_of(authority.subject), [one.fingerprint for one in same]
        )
        self._enrolling.reload()
        self._enrolling.write_names()
        publication = self._services.publication
        if publication.allowlist.form == AUTO and publication.state.form != DIRECTORY:
            await publication.republish()
        return len(await self._enrolling.enrol_waiting())

    async def withdraw(self, caller: Caller, given: dict[str, Any]) -> dict[str, Any]:
        """Withdraw an authority with all that it has enrolled, and answer when Exim honours it."""
        row = self._row(given["fingerprint"])
        ended = await self.end(_decision(row.fingerprint, Verb.WITHDRAW, caller, given), subject(row.der))
        view = self._view(self._row(row.fingerprint))
        return {"authority": view, "ended": ended, "publication": self._changes.published()}

    async def end(self, decision: Decision, name: str) -> int:
        """Withdraw an authority; return how many approvals ended. Raises UsageError, LedgerError."""
        self._enrolling.authorities.withdraw(decision, name)
        try:
            self._enrolling.reload()
            self._enrolling.write_names()
        finally:  # a decision is published, whatever else fails
            ended = await self._enrolling.end()
            await self._services.publication.settle()
        return ended

    async def authorities(self, _: Caller, given: dict[str, Any]) -> dict[str, Any]:
        """Return all authorities, or the one that was asked for, with what stays refused under it."""
        asked = given.get("fingerprint")
        rows = [self._row(asked)] if asked else self._ledger.authorities.all()
        return {"authorities": [self._view(row, denials=bool(asked)) for row in rows]}

    def _row(self, text: str) -> AuthorityRow:
        """Return the authority that the digits name. Raises NoSuchFingerprintError, UsageError."""
        digits = prefix(text)
        found = [row for row in self._ledger.authorities.all() if row.fingerprint.startswith(digits)]
        if len(found) != 1:
            what = "is ambiguous" if found else "is the beginning of no authority's fingerprint"
            hint = "`eximcertctl authority list` shows the authorities."
            candidates = [row.fingerprint for row in found]
            raise NoSuchFingerprintError(f"{grouped(digits)} {what}", hint=hint, candidates=candidates)
        return found[0]

    async def _der(self, given: dict[str, Any]) -> bytes:
        if given.get("fingerprint"):
            [fingerprint] = await self._services.resolver.resolve([given["fingerprint"]], verb=Verb.APPROVE)
            der = await self._services.certificates.der(fingerprint)
            if der is None:
                raise RefusedError(
                    f"no certificate is known for {grouped(fingerprint)}", hint="give a file that holds it instead"
                )
            return der
        if len(given.get("certificate") or "") > _LONGEST_CERTIFICATE:
            raise UsageError("the certificate is larger than 64 KiB")
        try:
            return binascii.a2b_base64(given.get("certificate") or "", strict_mode=True)
        except binascii.Error:
            raise UsageError("the certificate is no base64") from None

    async def check(self, authority: Authority, insist: frozenset[str]) -> None:
        """Refuse an authority that nobody should approve. Raises RefusedError."""
        from eximcertd.authorities.system_bundle import public_ca  # noqa: PLC0415
        from eximcertd.maintenance.crl_files import CrlFiles  # noqa: PLC0415

        named = f"{grouped(authority.fingerprint)} ({clean(authority.name)})"
        problem = authority.problem(datetime.now(UTC))
        if problem:
            raise RefusedError(f"{named}: {problem}")
        public = await asyncio.to_thread(public_ca, authority.der)
        if public:
            raise RefusedError(
                f"{named} belongs to the public CA {clean(public)}: all of its customers could relay",
                hint="approve the clients' certificates one by one",
            )
        entry = self._ledger.entries.get(authority.fingerprint)
        if entry.status is not Status.UNSEEN and CA not in insist:
            raise RefusedError(
                f"{named} is the certificate of a client ({entry.status}), which says CA:TRUE: as an authority, its key"
                " would let any number of others relay; --ca overrides this",
                hint=f"to let this client relay and no other: eximcertctl approve {authority.fingerprint[:16]}",
            )
        files = CrlFiles()
        await asyncio.to_thread(files.refresh, [authority])
        crl = files.found.get(authority.fingerprint, "")
        unusable = crl if isinstance(crl, str) else crl.problem(datetime.now(UTC))
        if authority.crl and unusable:
            raise RefusedError(
                f"the CRL {clean(authority.crl)} cannot be used: {unusable}",
                hint="eximcertd's user must be able to read it, below no home directory and not below /tmp",
            )

    def _check_names(self, authority: Authority) -> None:
        """Refuse to limit an authority to fewer names while something is enrolled under it. Raises RefusedError."""
        counts = self._ledger.authorities.counts()
        for one in self._enrolling.approved:
            if counts.get(one.fingerprint) and _narrower(one, authority):
                raise RefusedError(
                    f"{grouped(authority.fingerprint)} ({clean(authority.name)}) has approved certificates that may"
                    " have other names, and they would stay approved",
                    hint=f"first eximcertctl authority withdraw {one.fingerprint[:16]}, which ends them",
                )

    def _view(self, row: AuthorityRow, *, denials: bool = False) -> dict[str, Any]:
        """Return an Authority of the interface."""
        now = datetime.now(UTC)
        certificate = parse(row.der).as_json(now)
        problem = self._enrolling.problems(now).get(row.fingerprint, "") if row.approved else ""
        kept = self._ledger.denials.under(row.fingerprint) if denials else []
        return {
            "fingerprint": row.fingerprint,
            "subject": certificate["subject"],
            "standing": "approved" if row.approved else "withdrawn",
            "not_before": certificate["not_before"],
            "not_after": certificate["not_after"],
            "names": [clean(pattern) for pattern in row.patterns],
            "crl": clean(row.crl),
            "enrolled": self._ledger.authorities.counts().get(row.fingerprint, 0),
            "problem": problem or None,
            "by": clean(row.by),
            "at": views.rfc3339(row.at),
            "note": clean(row.note),
            "denied": [f"{one.kind} {clean(one.value)} (since {one.fingerprint})" for one in kept],
        }


def _narrower(before: Authority, now: Authority) -> bool:
    """Tell whether the same authority would be approved for fewer names than before."""
    same = (before.subject, before.spki) == (now.subject, now.spki)
    return same and bool(now.patterns) and not (before.patterns and {*before.patterns} <= {*now.patterns})


def _decision(name: Fingerprint, verb: Verb, caller: Caller, given: dict[str, Any], limits: str = "") -> Decision:
    """Return the decision on an authority. limits: what it is approved for, which its note says too."""
    if len(given["note"]) > LONGEST_NOTE:
        raise UsageError(f"the note is longer than {LONGEST_NOTE} characters")
    if not given["request"]:
        raise UsageError("the request has no id")
    by = by_of(caller, given.get("by"))
    now = time.time_ns() // 1_000_000
    note = f"{given['note']} ({limits})".strip() if limits else given["note"]
    return Decision(name, verb, by, now, note, given["request"])


def patterns_of(texts: list[str]) -> tuple[str, ...]:
    """Return name patterns, each once. Raises UsageError."""
    if len(texts) > _MOST_PATTERNS or any(not 0 < len(one) <= _LONGEST or not one.isprintable() for one in texts):
        raise UsageError(f"at most {_MOST_PATTERNS} patterns of at most {_LONGEST} characters are accepted")
    return tuple(dict.fromkeys(texts))


def _crl(path: str) -> str:
    if path and not (Path(path).is_absolute() and path.isprintable()):
        raise UsageError(f"{clean(path)!r} is no absolute path of a CRL")
    return path
