"""The methods that change something: decisions, export and import."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from eximcertd.control.methods import views
from eximcertd.control.methods.services import Services, time_of
from eximcertd.decisions.resolve import whole
from eximcertd.decisions.sources import by_person, imported
from eximcertd.errors import UsageError
from eximcertd.ledger.decisions import Decision
from eximcertd.status import ALLOWS, OF_AUTHORITIES, Verb
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Sequence

    from eximcertd.control.caller import Caller
    from eximcertd.decisions.sources import KnownCertificates
    from eximcertd.fingerprint import Fingerprint
    from eximcertd.ledger.denials import Denial

_PORTION: Final = 500
_DENYING: Final = frozenset({Verb.REJECT, Verb.REVOKE})
_LONGEST_NAME: Final = 100
_MOST_RECORDS: Final = 10_000
_BREATH: Final = 0.005  # seconds between two portions of an import, for the calls of others
_MOST_WITH_CERTIFICATES: Final = 1000  # entries of one reply that still fit with their certificates


class Changes:
    """Decides and publishes."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._ledger = services.ledger
        self._publishing: set[asyncio.Task[Any]] = set()

    async def decide(self, caller: Caller, given: dict[str, Any]) -> dict[str, Any]:
        """Decide, and answer when Exim honours the decision or the publication has failed."""
        services, verb = self._services, Verb(given["verb"])
        fingerprints = await services.resolver.resolve(given["fingerprints"], verb=verb)
        if not fingerprints:
            raise UsageError("no fingerprint was given")
        replace_at = time_of(given.get("replace_at"))
        known = await services.known(fingerprints)
        request = by_person(
            verb,
            fingerprints,
            by_of(caller, given.get("by")),
            _now(),
            request=given["request"],
            note=given["note"] or "",
            insist=frozenset(given["insist"]),
            known=known,
        )
        ends = {}
        if verb is Verb.APPROVE and given.get("replace"):
            ends = services.maintenance.renewals.replaced_by(fingerprints, known.certificates)
        denials = await self.bind(fingerprints, known, given.get("bind")) if verb in _DENYING else []
        bound = [f"{one.kind} {clean(one.value)}" for one in denials[:_PORTION]]
        outcome = services.decider.decide(request)
        decided = [one.fingerprint for one in outcome.decided]
        try:
            services.maintenance.renewals.schedule(ends, replace_at)
            others = await services.maintenance.enrolling.revoke_others(denials)
            fingerprints += others
            decided += others
        finally:  # a decision is published, whatever else fails
            state = await services.publication.settle(fingerprints)
            if state.ok and not services.publication.live:  # a certificate has expired meanwhile
                await services.publication.settle()
        entries = self._ledger.entries.among(decided[:_MOST_RECORDS])
        few = len(entries) <= _MOST_WITH_CERTIFICATES
        shown = await services.shown(entries, certificates=few)
        for entry in () if few else shown:
            entry["decision"]["note"] = ""  # the caller knows the note; 10,000 copies would not fit into a reply
        return {"decided": shown, "publication": self.published(), "bound": bound}

    async def bind(
        self, fingerprints: Sequence[Fingerprint], known: KnownCertificates, what: str | None
    ) -> list[Denial]:
        """Keep name and key refused of what an authority vouches for; return what is bound. Raises UsageError."""
        if what not in {None, "name", "key", "certificate"}:
            raise UsageError(f"{what!r} cannot be bound: expected name, key or certificate")
        enrolling = self._services.maintenance.enrolling
        bound: list[Denial] = []
        for number, fingerprint in enumerate(fingerprints, 1):
            der = await self._services.certificates.der(fingerprint) if enrolling.approved else None
            bound += enrolling.bind(fingerprint, known.certificates.get(fingerprint), der, what or "")
            if number % _PORTION == 0:
                await asyncio.sleep(0)
        return bound

    async def last(self, caller: Caller, given: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Return the caller's last decision, in portions of its fingerprints."""
        decisions = self._ledger.decisions.last_by(by_of(caller, given.get("by")))
        entries = self._ledger.entries.among([one.fingerprint for one in decisions])
        current = all(
            entry.decision == replace(one, request=None) for entry, one in zip(entries, decisions, strict=True)
        )
        for start in range(0, max(len(decisions), 1), _PORTION):
            portion = decisions[start : start + _PORTION]
            yield {"decisions": [views.record(one) for one in portion], "current": current}

    async def retry(self, _: Caller, __: dict[str, Any]) -> dict[str, Any]:
        """Publish now, if a publication is due."""
        await self._services.publication.verify()
        await self._services.publication.settle()
        return {"publication": self.published()}

    async def export(self, _: Caller, __: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Return every decision, oldest first, in portions."""
        beyond = 0
        while rows := self._ledger.decisions.history(beyond=beyond, limit=_PORTION):
            beyond = rows[-1][0]
            yield {"records": [views.record(one) for _, one in rows if one.verb not in OF_AUTHORITIES]}

    async def import_(self, caller: Caller, given: dict[str, Any]) -> dict[str, Any]:
        """Add decisions of another ledger; they are published soon."""
        records, now = given["records"], _now()
        if len(records) > _MOST_RECORDS:
            raise UsageError(f"more than {_MOST_RECORDS} records at once")
        decisions: list[Decision] = []
        for start in range(0, len(records), _PORTION):
            decisions += [_decision(record, caller.name, now) for record in records[start : start + _PORTION]]
            await asyncio.sleep(0)
        allowed = [one.fingerprint for one in decisions if one.verb in ALLOWS]
        request = imported(
            decisions,
            caller.name,
            now,
            request=given["request"] or str(uuid.uuid4()),
            insist=frozenset(given.get("insist") or ()),
            known=await self._services.known(allowed),
        )
        added = older = 0
        for portion in request.portions(_PORTION):
            self._services.decider.check(portion)
            await asyncio.sleep(_BREATH)
        for portion in request.portions(_PORTION):
            outcome = self._services.decider.decide(portion)
            added, older = added + outcome.added, older + outcome.older
            await asyncio.sleep(_BREATH)
        self._soon(self._services.publication.settle())
        return {"added": added, "older": older}

    def published(self) -> dict[str, Any]:
        """Return a Publication of the interface."""
        state, live = self._services.publication.state, self._services.publication.live
        confirmed = self._ledger.publications.last_confirmed()
        retry = ""
        if state.retry_at is not None:
            at = views.rfc3339(state.retry_at * 1000)
            retry = f"It is tried again with the next decision, when Exim's configuration changes, and at {at}."
        return {
            "live": live,
            "form": confirmed.form or state.form,
            "revision": confirmed.revision,
            "outcome": state.outcome,
            "step": state.step,
            "message": state.message,
            "exim": state.exim,
            "retry": retry,
            "exim_pid": state.exim_pid,
            "loaded_at": None if state.loaded_at is None else _precise(state.loaded_at),
        }

    def _soon(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        self._publishing.add(task)
        task.add_done_callback(self._publishing.discard)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _precise(seconds: float) -> str:
    """Return a time with its fraction: sessions are older or younger than it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _decision(record: dict[str, Any], importer: str, now: int) -> Decision:
    """Return the decision of a DecisionRecord; the defaults are an approval by the importer, now."""
    at = time_of(record.get("at"))
    return Decision(
        whole(record["fingerprint"]),
        _verb(record.get("verb")),
        record.get("by") or importer,
        now if at is None else int(at.timestamp() * 1000),
        record.get("note") or "",
    )


def _verb(text: str | None) -> Verb:
    if text not in {None, Verb.APPROVE, Verb.ADOPT, Verb.REJECT, Verb.REVOKE}:
        raise UsageError(f"{text!r} is not a decision: expected approve, adopt, reject or revoke")
    return Verb(text or Verb.APPROVE)


def by_of(caller: Caller, claimed: str | None) -> str:
    """Return the name of the user who decides: from the kernel, or, if root calls, from root's own program.

    In the service's sandbox the kernel hides the login user (loginuid) of other processes.
    """
    believed = caller.uid == 0 and claimed and len(claimed) <= _LONGEST_NAME and claimed.isprintable()
    return claimed if believed and claimed else caller.name
