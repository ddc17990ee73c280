"""Enrolment: certificates that clients show are approved if an approved authority has issued them.

What is enrolled goes when the certificate or the authority ends (its dates, table identity), when it is on the
authority's CRL (a decision "by policy"), and when the authority is withdrawn.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from eximcertd.certificates.der import issuer
from eximcertd.certificates.parsing import parse
from eximcertd.decisions.authorities import AuthorityDecider
from eximcertd.decisions.sources import by_policy
from eximcertd.errors import EximcertdError, RefusedError
from eximcertd.events import Event
from eximcertd.fingerprint import Fingerprint
from eximcertd.ledger.authorities import Enrolment
from eximcertd.ledger.denials import Denial
from eximcertd.ledger.identities import Identity, bound
from eximcertd.publication.allowed_directory import AllowedDirectory, DirectoryError
from eximcertd.publication.ending import end_withdrawn
from eximcertd.status import Status, Verb
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta

    from eximcertd.authorities.authority import Authority
    from eximcertd.authorities.crl import Crl
    from eximcertd.authorities.leaf import Enrolled
    from eximcertd.certificates.certificate import Certificate
    from eximcertd.decisions.decide import Decider
    from eximcertd.journal import Recorder
    from eximcertd.ledger import Ledger
    from eximcertd.log.sighting import Sighting
    from eximcertd.maintenance.crl_files import CrlFiles
    from eximcertd.publication.publisher import Publisher

Shown = tuple[Fingerprint, bytes, str]
"""A certificate that a client has shown: fingerprint, DER form, hash of the issuer's name as Exim printed it."""

_PORTION: Final = 200


class Enrolling:
    """Lives in the loop's thread. allowed: STATE/allowed; authorities/ lies beside it."""

    def __init__(
        self,
        ledger: Ledger,
        decider: Decider,
        recorder: Recorder,
        allowed: AllowedDirectory,
        publication: Publisher,
    ) -> None:
        self._ledger = ledger
        self._decider = decider
        self.authorities = AuthorityDecider(ledger, decider, recorder)
        self._recorder = recorder
        self._allowed = allowed
        self._names = AllowedDirectory(allowed.path.with_name("authorities"))
        self._publication = publication
        self._ending = asyncio.Lock()
        self._crls: CrlFiles | None = None
        self._reading = asyncio.Lock()
        self._told: dict[Fingerprint, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.approved: tuple[Authority, ...] = ()
        self._unread: dict[Fingerprint, str] = {}
        self._names.prepare()
        self.reload()
        self.write_names()

    def reload(self) -> None:
        """Take the approved authorities from the ledger. Raises LedgerError."""
        found: list[Authority] = []
        self._unread = {}
        for row in self._ledger.authorities.approved():
            # the libraries cost 10 MiB, and most sites have no authority
            from eximcertd.authorities.authority import Authority  # noqa: PLC0415

            try:
                found.append(Authority.of(row.der, row.patterns, row.crl))
            except RefusedError as error:  # by another version of the libraries than when it was approved
                self._unread[row.fingerprint] = error.message
                text = f"The authority {row.fingerprint} vouches for no new certificate: {error.message}"
                self._recorder.record(Event.AUTHORITY_PROBLEM, text, AUTHORITY=row.fingerprint)
        self.approved = tuple(found)
        self._revoked: dict[Fingerprint, frozenset[int]] = {}  # a CRL may be another one, or there again

    async def end(self) -> int:
        """End what withdrawn authorities have enrolled; return how many. Raises LedgerError."""
        async with self._ending:
            return await end_withdrawn(self._publication, self._ledger, self._allowed)

    async def resume(self) -> list[Fingerprint]:
        """Finish withdrawals and revocations that were interrupted; return what was revoked. Raises LedgerError."""
        await self.end()
        return await self.revoke_others(self._ledger.denials.unfinished())

    @property
    def crls(self) -> Mapping[Fingerprint, Crl | str]:
        """The CRLs as they were last read."""
        return self._crls.found if self._crls is not None else {}

    def problems(self, now: datetime) -> dict[Fingerprint, str]:
        """Return why an approved authority vouches for nobody at ``now``, a sentence for each that does not."""
        found = dict(self._unread)
        for one in self.approved:
            problem = one.problem(now)
            crl = self.crls.get(one.fingerprint, "") if one.crl else ""
            unusable = crl if isinstance(crl, str) else crl.problem(now)
            if problem or unusable:
                found[one.fingerprint] = problem or f"the CRL {clean(one.crl)} cannot be used: {unusable}"
        return found

    def observed(self, sightings: Iterable[Sighting]) -> None:
        """Enrol, soon, those of the certificates in these that an approved authority has issued."""
        if self.approved:
            shown = [(one.fingerprint, of.der, of.issuer_hash) for one in sightings if (of := one.certificate)]
            task = asyncio.create_task(self._enrol_soon(shown))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _enrol_soon(self, shown: Sequence[Shown]) -> None:
        try:
            await self.enrol(shown)
        except EximcertdError as error:  # the client is told to try again, and is enrolled then
            self._recorder.record(Event.LEDGER_PROBLEM, f"certificates of an authority wait: {error.message}")

    async def enrol(self, shown: Iterable[Shown]) -> list[Fingerprint]:
        """Approve and publish those of these that an approved authority has issued; return them. Raises LedgerError."""
        subjects = {one.subject for one in self.approved}
        candidates = {one[0]: one for one in shown if issuer(one[1]) in subjects}
        statuses = self._ledger.entries.statuses(list(candidates))
        enrolled = self._ledger.authorities.among(list(candidates))
        waiting = [
            one
            for name, one in candidates.items()
            if name in enrolled or statuses.get(name, (Status.UNSEEN,))[0] is Status.PENDING
        ]
        if not waiting:
            return []
        await self._read_crls()
        approved: list[Fingerprint] = []
        learned = False
        for start in range(0, len(waiting), _PORTION):
            # nothing else runs between the verdicts and the ledger: no withdrawal, denial or new CRL is missed
            enrolments = []
            for name, der, printed in waiting[start : start + _PORTION]:
                found = self._vouched(name, der)
                if found is not None:
                    enrolments.append(found)
                    learned |= bool(printed) and self._ledger.authorities.learn(found.authority, printed)
            enrolled_now = self.authorities.enrol(enrolments, time.time_ns() // 1_000_000)
            with contextlib.suppress(DirectoryError):  # the publication reports it
                self._allowed.make(enrolled_now)  # first: their clients wait
            approved += enrolled_now
            await asyncio.sleep(0)
        if learned:
            self.write_names()
        if approved:
            await self._publication.settle(approved)
        return approved

    async def enrol_waiting(self) -> list[Fingerprint]:
        """Enrol the pending certificates that clients have shown. Raises LedgerError."""
        return await self.enrol(self._ledger.shown.waiting())

    def verdict(self, der: bytes, now: datetime) -> Enrolled | str:
        """Return which authority vouches for a certificate, or why none does."""
        from eximcertd.authorities.leaf import verify  # noqa: PLC0415 - see reload

        return verify(der, self.approved, now, self.crls)

    def refusal(self, der: bytes) -> str:
        """Return why a certificate that names an approved authority is not enrolled, a clause, or ""."""
        found = self.verdict(der, datetime.now(UTC))
        if isinstance(found, str):
            return found
        of = parse(der)
        denial = self._ledger.denials.denied(bound(of.subject, of.names, of.spki))
        return f"its {denial.kind} is that of {denial.fingerprint}, which was denied" if denial else ""

    def _vouched(self, name: Fingerprint, der: bytes) -> Enrolment | None:
        found = self.verdict(der, datetime.now(UTC))
        if isinstance(found, str):
            return None
        certificate = parse(der)
        if self._ledger.denials.denied(bound(certificate.subject, certificate.names, certificate.spki)):
            return None
        begins, ends = (int(at.timestamp() * 1000) for at in (found.not_before, found.not_after))
        identity = Identity(name, certificate.spki, certificate.subject, certificate.issuer, ends, begins)
        return Enrolment(found.authority.fingerprint, found.serial, certificate.names, identity)

    def bind(
        self, fingerprint: Fingerprint, certificate: Certificate | None, der: bytes | None, what: str
    ) -> list[Denial]:
        """Keep refused, with a certificate of an authority, its name or key; return what is bound.

        what: "name", "key", "certificate" (neither), or "" for both. It counts once that is denied.
        """
        denials = self._ledger.denials.bound_by(fingerprint)
        if not denials and certificate is not None and der is not None and self.approved:
            from eximcertd.authorities.leaf import verify  # noqa: PLC0415 - see reload

            # a CRL that cannot be read, and patterns, concern what is enrolled and not what is denied
            unlimited = [replace(one, crl="", patterns=()) for one in self.approved]
            found = verify(der, unlimited, datetime.now(UTC), {})
            if isinstance(found, str):
                return []
            values = bound(certificate.subject, certificate.names, certificate.spki)
            denials = [Denial(fingerprint, found.authority.fingerprint, *value) for value in values]
        kinds = {"name": {"subject", "name"}, "key": {"key"}, "certificate": set()}.get(
            what, {"subject", "name", "key"}
        )
        denials = [one for one in denials if one.kind in kinds]
        self._ledger.denials.deny(denials)
        return denials

    async def revoke_others(self, denials: Sequence[Denial]) -> list[Fingerprint]:
        """Revoke what else is enrolled with a name or key of those that were revoked; return it. Raises LedgerError.

        denials: bound before the decision. The subject counts for a certificate without other names only: many clients
        can have one.
        """
        revoked = set(self._ledger.denials.unfinished()).intersection(denials) if denials else set()
        named = {one.fingerprint for one in revoked if one.kind == "name"}
        values = {(one.kind, one.value) for one in revoked if one.kind != "subject" or one.fingerprint not in named}
        found: list[Fingerprint] = []
        for portion in self._ledger.denials.each(_PORTION) if values else ():
            found += dict.fromkeys(one.fingerprint for one in portion if (one.kind, one.value) in values)
            await asyncio.sleep(0)
        if found:
            note = "has the name or key of a revoked certificate"
            self._decider.decide(by_policy(Verb.REVOKE, found, note, time.time_ns() // 1_000_000))
        names = list({one.fingerprint for one in denials})
        for start in range(0, len(names), _PORTION):
            self._ledger.denials.finish(names[start : start + _PORTION])
            await asyncio.sleep(0)
        return found

    async def round(self, now: datetime, forget_after: timedelta) -> list[Fingerprint]:
        """Finish what failed, read the CRLs again, revoke what is on them; return what was revoked. Raises LedgerError.

        forget_after: how long after their end enrolled certificates are forgotten.
        """
        revoked = await self.resume()
        self._ledger.authorities.forget(int((now - forget_after).timestamp() * 1000))
        await self._read_crls()
        self._tell(now)
        for one in self.approved:
            crl = self.crls.get(one.fingerprint) if one.crl else None
            if crl is None or isinstance(crl, str) or crl.problem(now):
                continue
            fresh = crl.serials - self._revoked.get(one.fingerprint, frozenset())
            names = self._ledger.authorities.with_serials(one.fingerprint, fresh)
            if names:
                note = f"on the CRL of {one.name[:200]}"
                self._decider.decide(by_policy(Verb.REVOKE, names, note, time.time_ns() // 1_000_000))
                revoked += names
            self._revoked[one.fingerprint] = crl.serials
        return revoked

    def write_names(self) -> None:
        """Make STATE/authorities hold the names of the approved authorities. Raises DirectoryError."""
        wanted = {Fingerprint(name) for row in self._ledger.authorities.approved() for name in row.hashes}
        there = self._names.contents().fingerprints
        self._names.change(sorted(wanted - there), sorted(there - wanted))

    async def _read_crls(self) -> None:
        if any(one.crl for one in self.approved):
            if self._crls is None:
                from eximcertd.maintenance.crl_files import CrlFiles  # noqa: PLC0415 - see reload

                self._crls = CrlFiles()
            async with self._reading:  # so that an older file never replaces a newer one
                await asyncio.to_thread(self._crls.refresh, self.approved)

    def _tell(self, now: datetime) -> None:
        problems = self.problems(now)
        for one in self.approved:
            problem, before = problems.get(one.fingerprint, ""), self._told.get(one.fingerprint, "")
            if problem == before:
                continue
            text = f"{problem}: it vouches for no new certificate" if problem else "vouches for certificates again"
            self._recorder.record(
                Event.AUTHORITY_PROBLEM if problem else Event.AUTHORITY_BACK,
                f"The authority {one.fingerprint} ({clean(one.name)}): {text}",
                AUTHORITY=one.fingerprint,
                SUBJECT=one.name,
            )
        self._told = problems
