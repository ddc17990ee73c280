"""Maintenance: what time brings. Certificates come, go and expire; what waits too long is forgotten.

Runs in the loop, slowly; what reads many certificates does so in a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from eximcertd.errors import EximcertdError
from eximcertd.events import Event
from eximcertd.intake import Intake, milliseconds
from eximcertd.ledger.decisions import Decision
from eximcertd.ledger.identities import Identity
from eximcertd.log.tailer import NO_FILE
from eximcertd.status import Status, Verb
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from eximcertd.certificates.certificate import Certificate
    from eximcertd.certificates.index import CertificateChanges, Index
    from eximcertd.config import Config
    from eximcertd.fingerprint import Fingerprint
    from eximcertd.journal import Recorder
    from eximcertd.ledger import Ledger
    from eximcertd.publication.publication import Publication

TICK: Final = 600.0
_SOON: Final = 3.0
_HOUR: Final = 3600.0
_RECONCILE_EVERY: Final = 6 * _HOUR
_MOST_SHOWN: Final = 20
_PORTION: Final = 500


class Maintenance:
    """What time brings; lives in the loop's thread. problem: of the certificates' watch, if there is one."""

    def __init__(
        self,
        config: Config,
        ledger: Ledger,
        index: Index,
        *,
        publication: Publication,
        recorder: Recorder,
        seen: Callable[[Sequence[Fingerprint]], None],
    ) -> None:
        self.config = config
        self._ledger = ledger
        self._index = index
        self._publication = publication
        self._recorder = recorder
        self._seen = seen
        self.intake: Intake | None = None
        self.watch_problem: Callable[[], str | None] = lambda: None
        self.expired: frozenset[Fingerprint] = frozenset()
        self.expiring: frozenset[Fingerprint] = frozenset()
        self._dropped = ledger.sightings.dropped()
        self._looked = self._reconciled = 0.0
        self._log_problem: str | None = None
        self._scheduled = asyncio.Event()

    # Certificates come and go

    def changed(self, changes: CertificateChanges) -> None:
        """Take note of certificates that appeared in the directory, or went."""
        try:
            self._match()
        except EximcertdError as error:  # a full disk: the next round does it
            self._recorder.record(Event.LOG_PROBLEM, str(error))
        for fingerprint in changes.vanished:
            if self._ledger.entries.get(fingerprint).status is Status.APPROVED:
                self._recorder.record(
                    Event.CERTIFICATE_GONE,
                    f"The certificate {fingerprint} is approved and gone from the directory: Exim does not verify it",
                    FINGERPRINT=fingerprint,
                )

    def _match(self) -> None:
        """Make full entries of those whose certificate has come."""
        waiting = self._ledger.sightings.unmatched()
        fresh = self._ledger.sightings.match([one for one in waiting if one in self._index])
        if fresh:
            self._seen(fresh)

    def replace(self, old: Mapping[Fingerprint, int | None], at: datetime | None) -> None:
        """Have these approved certificates revoked at a time, or each at its end (ms since the epoch)."""
        for fingerprint, end in old.items():
            when = milliseconds(at) or end
            if when is not None:
                self._ledger.entries.schedule_revocation([fingerprint], when)
        if old:
            self._scheduled.set()

    # What is done now and then

    async def run(self) -> None:
        """Go round for ever; the second time soon, when everything has begun."""
        usual = _SOON
        while True:
            self._scheduled.clear()
            pause, usual = usual, TICK
            try:
                await self.tick()
                due = self._ledger.entries.next_revocation()
                pause = pause if due is None else max(1.0, min(pause, due / 1000 - time.time()))
            except EximcertdError as error:  # a full disk: the next round does it
                self._recorder.record(Event.PUBLICATION_FAILED, f"Maintenance was left for later: {error}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._scheduled.wait(), pause)

    async def tick(self) -> None:
        """Do what is due."""
        now = time.time()
        self._match()
        decided = self._revoke_scheduled(now)
        if now - self._looked >= _HOUR:
            first, self._looked = not self._looked, now
            forget = self.config.queue.forget_pending_after.total_seconds()
            self._ledger.sightings.forget(int((now - forget) * 1000))
            decided |= await self._expire()
            if not first:  # the start has just looked
                await self._publication.verify()
        if now - self._reconciled >= _RECONCILE_EVERY:
            if self._reconciled:
                await self._publication.reconcile()
            self._reconciled = now
        self._tell_dropped()
        self._tell_log()
        if decided or not (self._publication.live or self._publication.retrying):
            await self._publication.settle()

    def _revoke_scheduled(self, now: float) -> bool:
        due = self._ledger.entries.revocations_due(int(now * 1000))
        self._revoke(due, "replaced by its successor")
        return bool(due)

    async def _expire(self) -> bool:
        """See which approved certificates have expired or soon will; drop those that the policy drops."""
        now = datetime.now(UTC)
        certificates = self.config.certificates
        after = self.config.allowlist.drop_expired_after
        expired: dict[Fingerprint, Certificate] = {}
        expiring: dict[Fingerprint, Certificate] = {}
        dropped: list[Fingerprint] = []
        known = iter(self._index)
        while portion := list(islice(known, _PORTION)):
            names = self._ledger.entries.approved_among(portion)
            found = await asyncio.to_thread(self._index.details_of, names)
            self._ledger.identities.keep(identity(certificate) for certificate in found.values())
            for name, certificate in found.items():
                if certificate.expired(now):
                    expired[name] = certificate
                elif certificate.expires_within(now, certificates.expires_within):
                    expiring[name] = certificate
                if after is not None and certificate.expired_for(now, after):
                    dropped.append(name)
        self.expired, self.expiring = frozenset(expired), frozenset(expiring)
        self._tell_expiry(Event.CERTIFICATE_EXPIRED, "expired on", expired)
        self._tell_expiry(Event.CERTIFICATE_EXPIRES_SOON, "expires on", expiring)
        self._revoke(dropped, "expired, [allowlist] drop_expired_after")
        return bool(dropped)

    def _tell_expiry(self, event: Event, what: str, certificates: Mapping[Fingerprint, Certificate]) -> None:
        fresh = self._ledger.entries.first_time(event.name, certificates)
        for fingerprint in fresh:
            certificate = certificates[fingerprint]
            self._recorder.record(
                event,
                f"The approved certificate {fingerprint} ({clean(certificate.subject)}) {what}"
                f" {certificate.not_after:%Y-%m-%d}",
                FINGERPRINT=fingerprint,
                SUBJECT=certificate.subject,
                NOT_AFTER=str(certificate.as_json(datetime.now(UTC))["not_after"]),
            )

    def _revoke(self, fingerprints: Sequence[Fingerprint], note: str) -> None:
        if not fingerprints:
            return
        now = int(time.time() * 1000)
        self._ledger.decisions.decide(
            [Decision(fingerprint, Verb.REVOKE, "by policy", now, note) for fingerprint in fingerprints]
        )
        for fingerprint in fingerprints:
            self._recorder.record(
                Event.REVOKED,
                f"{fingerprint}: revoke by policy ({note})",
                FINGERPRINT=fingerprint,
                VERB="revoke",
                BY="by policy",
            )

    def _tell_dropped(self) -> None:
        dropped = self._ledger.sightings.dropped()
        if dropped > self._dropped:
            self._recorder.record(
                Event.UNMATCHED_DROPPED,
                f"{dropped - self._dropped} fingerprints that match no certificate were dropped from the queue:"
                f" it keeps {self.config.queue.unmatched_limit} of them",
                COUNT=str(dropped - self._dropped),
            )
            self._dropped = dropped

    def _tell_log(self) -> None:
        """Say once that the log cannot be read, and once that it can again.

        A log that is not there is no problem: after a rotation with nocreate there is none until the next line.
        """
        if self.intake is None:
            return
        progress = self.intake.progress()
        problem = progress.problem if progress.problem and NO_FILE not in progress.problem else None
        if problem and problem != self._log_problem:
            self._recorder.record(Event.LOG_PROBLEM, problem, FILE=progress.path)
        elif self._log_problem and not problem:
            self._recorder.record(Event.LOG_BACK, f"{progress.path} is read again", FILE=progress.path)
        self._log_problem = problem

    # What `eximcertctl check` asks

    def findings(self) -> list[dict[str, Any]]:
        """Return Lines of the interface: what only this process knows."""
        return [*self._of_allowlist(), *self._of_log(), *self._of_certificates()]

    def _of_allowlist(self) -> Iterator[dict[str, Any]]:
        state, publication = self._publication.state, self._publication
        if publication.live and state.ok:
            yield _line("good", "what was decided is published, and was seen to be loaded")
        else:
            remedy = "mend what it says; eximcertd tries again by itself, or at once by the next decision"
            why = f"{state.message or state.outcome} {state.exim}".strip()
            yield _line("bad", f"the last publication failed: {why}", remedy)
        if publication.strangers:
            yield _line("bad", f"{publication.strangers} files in the directory of allowed fingerprints are nobody's")
        withheld = self._ledger.decisions.withheld()
        if withheld:
            yield _line("odd", f"{len(withheld)} taken out of the macro file by hand", "settle by approve or revoke")

    def _of_log(self) -> Iterator[dict[str, Any]]:
        if self.intake is not None:
            problem = self.intake.progress().problem
            yield _line("bad" if problem else "good", problem or "the log is being read")
        dropped = self._ledger.sightings.dropped()
        if dropped:
            yield _line("odd", f"{dropped} fingerprints that match no certificate were dropped", "see [queue]")

    def _of_certificates(self) -> Iterator[dict[str, Any]]:
        for problem in (self._index.problem, self._index.cache_problem, self.watch_problem()):
            if problem:
                yield _line("odd", problem)
        counts = self._index.counts()
        yield _line("good", f"{counts.distinct} certificates in {counts.files} files of {self._index.directory}")
        for name, why in self._index.passed_over(_MOST_SHOWN):
            yield _line("odd", f"passed over: {name}: {why}")
        for what, names in (("expired", self.expired), ("about to expire", self.expiring)):
            if names:
                yield _line("odd", f"{len(names)} approved certificates are {what}", "see eximcertctl list")


def identity(certificate: Certificate) -> Identity:
    """Return what the ledger keeps of an approved certificate."""
    return Identity(
        certificate.fingerprint,
        certificate.spki,
        certificate.subject,
        certificate.issuer,
        milliseconds(certificate.not_after),
    )


def _line(verdict: str, sentence: str, remedy: str = "") -> dict[str, Any]:
    return {"verdict": verdict, "sentence": clean(sentence), "remedy": remedy}
