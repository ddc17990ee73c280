"""The methods that change something: decisions, and those carried over from elsewhere."""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from eximcertd.control.methods import views
from eximcertd.control.methods.services import Services, past_time_of, time_of, whole
from eximcertd.decisions.decide import RULES, Asked
from eximcertd.errors import UsageError
from eximcertd.intake import milliseconds
from eximcertd.ledger.decisions import Decision
from eximcertd.maintenance.maintenance import identity
from eximcertd.status import Verb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Sequence

    from eximcertd.certificates.certificate import Certificate
    from eximcertd.control.caller import Caller
    from eximcertd.fingerprint import Fingerprint

_PORTION: Final = 500
_LONGEST_NAME: Final = 100
_MOST_RECORDS: Final = 10_000


class Changes:
    """Decides and publishes."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._ledger = services.ledger
        self._publishing: set[asyncio.Task[Any]] = set()

    async def decide(self, caller: Caller, given: dict[str, Any]) -> dict[str, Any]:
        """Decide, and answer when Exim honours it or that failed."""
        insist = frozenset(given["insist"])
        if insist - RULES:
            raise UsageError(f"no such rule to insist against: {', '.join(sorted(insist - RULES))}")
        fingerprints = self._services.resolve(given["fingerprints"])
        if not fingerprints:
            raise UsageError("no fingerprint was given")
        replace_at = time_of(given.get("replace_at"))
        asked = Asked(
            Verb(given["verb"]),
            tuple(fingerprints),
            _by(caller, given.get("by")),
            given["note"] or "",
            insist,
            given["request"],
        )
        details = await asyncio.to_thread(self._services.index.details_of, fingerprints)
        successors = self._replaced(fingerprints, details) if given.get("replace") else {}
        decided = self._services.deciding.decide(asked, details)
        try:
            if asked.verb is Verb.APPROVE:
                self._ledger.identities.keep(identity(certificate) for certificate in details.values())
                self._services.maintenance.replace(successors, replace_at)
        finally:  # what is decided is published, whatever else goes wrong
            await self._services.publication.settle(fingerprints)
        entries = [self._ledger.entries.get(one.fingerprint) for one in decided]
        return {"decided": await self._services.shown(entries), "publication": self._published()}

    async def retry(self, _: Caller, __: dict[str, Any]) -> dict[str, Any]:
        """Publish what is due, now."""
        await self._services.publication.verify()
        await self._services.publication.settle()
        return {"publication": self._published()}

    async def export(self, _: Caller, __: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Tell every decision, oldest first, in portions."""
        beyond = 0
        while rows := self._ledger.decisions.history(beyond=beyond, limit=_PORTION):
            beyond = rows[-1][0]
            yield {"records": [views.record(row) for row in rows]}

    async def import_(self, caller: Caller, given: dict[str, Any]) -> dict[str, Any]:
        """Add decisions that were made elsewhere; they are published soon."""
        records = given["records"]
        if len(records) > _MOST_RECORDS:
            raise UsageError(f"more than {_MOST_RECORDS} records at once")
        now = int(time.time() * 1000)
        decisions = [
            Decision(
                whole(record["fingerprint"]),
                _verb(record.get("verb")),
                record.get("by") or caller.name,
                milliseconds(past_time_of(record.get("at"))) or now,
                record.get("note") or "",
            )
            for record in records
        ]
        added = self._services.deciding.enter(decisions, caller.name, given["request"] or str(uuid.uuid4()))
        self._soon(self._services.publication.settle())
        return {"added": added}

    def _replaced(
        self, fingerprints: Sequence[Fingerprint], details: dict[Fingerprint, Certificate]
    ) -> dict[Fingerprint, int | None]:
        """Return the approved certificates that these renew, each with its end (ms since the epoch)."""
        approvals = self._services.approvals(details.values())
        renewed: dict[Fingerprint, int | None] = {}
        for fingerprint in fingerprints:
            certificate = details.get(fingerprint)
            renewal = approvals.followed_by(certificate) if certificate else None
            if renewal is None:
                raise UsageError(f"{fingerprint} renews no approved certificate: leave --replace out")
            for old in self._ledger.identities.approved({renewal.of.spki}, ()):
                if old.fingerprint == renewal.of.fingerprint:
                    renewed[old.fingerprint] = old.not_after
        return renewed

    def _published(self) -> dict[str, Any]:
        state, live = self._services.publication.state, self._services.publication.live
        confirmed = self._ledger.publications.last_confirmed()
        retry = ""
        if state.retry_at is not None:
            at = views.rfc3339(state.retry_at * 1000)
            retry = f"It is tried again at the next decision, when Exim's configuration changes, and at {at}."
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


def _precise(seconds: float) -> str:
    """Return a time with its fraction: sessions are older or younger than it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _verb(text: str | None) -> Verb:
    try:
        verb = Verb(text or Verb.APPROVE)
    except ValueError:
        raise UsageError(f"{text!r} is no decision: approve, adopt, reject or revoke") from None
    if verb is Verb.SEE:
        raise UsageError("'see' is no decision: approve, adopt, reject or revoke")
    return verb


def _by(caller: Caller, said: str | None) -> str:
    """Return who decides: the kernel's word, or root's own for the login user behind it.

    In the service's sandbox the kernel hides the login user (loginuid) of other processes.
    """
    believed = caller.uid == 0 and said and len(said) <= _LONGEST_NAME and said.isprintable()
    return said if believed and said else caller.name
