"""The methods of the control socket: questions answered from the ledger, decisions made and published."""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from eximcertd import __version__, views
from eximcertd.certificates.renewal import Approvals, Approved
from eximcertd.deciding import RULES, Asked, Deciding
from eximcertd.errors import NoSuchFingerprintError, UsageError
from eximcertd.fingerprint import LENGTH, Fingerprint, FingerprintError, parse_prefix
from eximcertd.intake import Intake, milliseconds
from eximcertd.ledger.decisions import Decision
from eximcertd.ledger.sightings import Attempts
from eximcertd.log.segment import from_json
from eximcertd.rejection import Peer
from eximcertd.standing import Standing, Verb
from eximcertd.upkeep import identity

if TYPE_CHECKING:
    from eximcertd.certificates.certificate import Certificate
    from eximcertd.certificates.index import Index
    from eximcertd.control.caller import Caller
    from eximcertd.control.server import Handler
    from eximcertd.ledger import Ledger
    from eximcertd.ledger.entries import Entry
    from eximcertd.publication import Publication
    from eximcertd.upkeep import Upkeep

_PORTION: Final = 500
_MOST_RECORDS: Final = 10_000
_MOST_EVENTS: Final = 1000
_STANDINGS: Final = ("pending", "unmatched", "approved", "rejected", "revoked")


@dataclass(frozen=True, slots=True)
class Rooms:
    """What the methods work with; all of it belongs to the loop."""

    ledger: Ledger
    index: Index
    intake: Intake
    deciding: Deciding
    publication: Publication
    upkeep: Upkeep


class Methods:
    """The handlers, by their names in the interface."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._ledger = rooms.ledger
        self._publishing: set[asyncio.Task[Any]] = set()
        self._watching: set[asyncio.Queue[dict[str, Any]]] = set()
        rooms.deciding.watchers.append(lambda changed: self.tell("decided", changed))

    def handlers(self) -> dict[str, Handler]:
        """Return every method's handler."""
        return {
            "Status": self.status,
            "List": self.entries,
            "Show": self.show,
            "History": self.history,
            "Check": self.check,
            "Decide": self.decide,
            "Segments": self.segments,
            "Record": self.record,
            "Export": self.export,
            "Import": self.import_,
            "Retry": self.retry,
            "Watch": self.watch,
        }

    # Questions

    async def status(self, _: Caller, __: dict[str, Any]) -> dict[str, Any]:
        """Tell how everything fares."""
        rooms = self._rooms
        await rooms.publication.look()
        progress, counts, certificates = rooms.intake.progress(), self._ledger.entries.counts(), rooms.index.counts()
        confirmed = self._ledger.publications.last_confirmed()
        state = rooms.publication.state
        return {
            "status": {
                "version": __version__,
                "pid": os.getpid(),
                "log": {
                    "path": progress.path,
                    "position": progress.position,
                    "behind_bytes": progress.behind_bytes,
                    "last_line_at": views.rfc3339(milliseconds(progress.last_line_at)),
                    "problem": progress.problem,
                },
                "certificates": {
                    "files": certificates.files,
                    "distinct": certificates.distinct,
                    "expired": len(rooms.upkeep.expired),
                    "expiring": len(rooms.upkeep.expiring),
                    "problem": rooms.index.problem,
                },
                "counts": {
                    "pending": counts.pending,
                    "unmatched": counts.unmatched,
                    "approved": counts.approved,
                    "rejected": counts.rejected,
                    "revoked": counts.revoked,
                    "unmatched_dropped": self._ledger.sightings.dropped(),
                },
                "allowlist": {
                    "form": confirmed.form or state.form,
                    "revision": confirmed.revision,
                    "published_at": views.rfc3339(confirmed.at),
                    "live": rooms.publication.live,
                    "error": None if state.ok else state.message or state.outcome,
                    "exim_is_down": state.outcome == "died",
                    "retry_at": views.rfc3339(state.retry_at * 1000 if state.retry_at else None),
                    "removed_by_hand": [str(fingerprint) for fingerprint in self._ledger.decisions.withheld()[:100]],
                },
            }
        }

    async def entries(self, _: Caller, given: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """List entries, with their certificates, in portions."""
        standings = given["standings"] or _STANDINGS
        unknown = set(standings) - set(_STANDINGS)
        if unknown:
            raise UsageError(f"no such standing: {', '.join(sorted(unknown))}; there are {', '.join(_STANDINGS)}")
        prefixes = [_prefix(text) for text in given["prefixes"]] or [""]
        for standing in standings:
            for prefix in prefixes:
                for portion in self._ledger.entries.each(standing, prefix, _PORTION):
                    yield {"entries": await self._shown(portion)}

    async def show(self, _: Caller, given: dict[str, Any]) -> dict[str, Any]:
        """Show one entry with its history."""
        fingerprint = self._resolve([given["fingerprint"]])[0]
        entry = self._ledger.entries.get(fingerprint)
        if entry.standing is Standing.UNSEEN and fingerprint not in self._rooms.index:
            raise NoSuchFingerprintError(f"nothing is known of {fingerprint}")
        [shown] = await self._shown([entry])
        rows = self._ledger.decisions.history(fingerprint, limit=_MOST_RECORDS)
        return {"entry": shown, "history": [views.record(row) for row in rows]}

    async def history(self, _: Caller, given: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Tell decisions, newest first, in portions."""
        wanted = given.get("fingerprint")
        fingerprint = self._resolve([wanted])[0] if wanted else None
        left = min(given.get("limit") or _MOST_RECORDS, 10_000_000)
        before: int | None = None
        while left > 0:
            rows = self._ledger.decisions.newest(fingerprint, before, min(left, _PORTION))
            if not rows:
                return
            yield {"decisions": [views.record(row) for row in rows]}
            before, left = rows[-1][0], left - len(rows)

    async def check(self, _: Caller, __: dict[str, Any]) -> dict[str, Any]:
        """Tell what only eximcertd knows of how it fares."""
        await self._rooms.publication.look()
        return {"lines": self._rooms.upkeep.findings()}

    async def watch(self, _: Caller, __: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Tell what happens, as it happens; a watcher that does not keep up is cut off."""
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_MOST_EVENTS)
        self._watching.add(queue)
        try:
            while not queue.full():
                yield {"events": [await queue.get()]}
        finally:
            self._watching.discard(queue)

    def tell(self, kind: str, fingerprints: Sequence[Fingerprint], sentence: str = "") -> None:
        """Tell those who watch that something happened."""
        if not self._watching:
            return
        at = views.rfc3339(time.time() * 1000)
        now = datetime.now(UTC)
        for fingerprint in fingerprints[:_PORTION]:
            entry = self._ledger.entries.get(fingerprint)
            shown = views.entry(entry, None, now)
            event = {
                "kind": kind,
                "at": at,
                "sentence": sentence or f"{fingerprint} is {entry.standing}",
                "entry": shown,
            }
            for queue in self._watching:
                if not queue.full():
                    queue.put_nowait(event)

    # Decisions

    async def decide(self, caller: Caller, given: dict[str, Any]) -> dict[str, Any]:
        """Decide, and answer when Exim honours it or that failed."""
        insist = frozenset(given["insist"])
        if insist - RULES:
            raise UsageError(f"no such rule to insist against: {', '.join(sorted(insist - RULES))}")
        fingerprints = self._resolve(given["fingerprints"])
        if not fingerprints:
            raise UsageError("no fingerprint was given")
        replace_at = _time(given.get("replace_at"))
        asked = Asked(
            Verb(given["verb"]), tuple(fingerprints), caller.name, given["note"] or "", insist, given["request"]
        )
        details = await asyncio.to_thread(self._rooms.index.details_of, fingerprints)
        successors = self._replaced(fingerprints, details) if given.get("replace") else {}
        decided = self._rooms.deciding.decide(asked, details)
        if asked.verb is Verb.APPROVE:
            self._ledger.identities.keep(identity(certificate) for certificate in details.values())
            self._rooms.upkeep.replace(successors, replace_at)
        await self._rooms.publication.settle()
        entries = [self._ledger.entries.get(one.fingerprint) for one in decided]
        return {"decided": await self._shown(entries), "publication": self._published()}

    async def retry(self, _: Caller, __: dict[str, Any]) -> dict[str, Any]:
        """Publish what is due, now."""
        await self._rooms.publication.verify()
        await self._rooms.publication.settle()
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
                _whole(record["fingerprint"]),
                _verb(record.get("verb")),
                record.get("by") or caller.name,
                milliseconds(_time(record.get("at"))) or now,
                record.get("note") or "",
            )
            for record in records
        ]
        added = self._rooms.deciding.enter(decisions, given["request"] or str(uuid.uuid4()))
        self._soon(self._rooms.publication.settle())
        return {"added": added}

    # What scan found

    async def segments(self, _: Caller, __: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Tell what was counted of log files."""
        following = [json.dumps(segment.to_json()) for segment in self._rooms.intake.source.segments()]
        kept = list(self._ledger.sightings.segments().values()) + following
        for start in range(0, len(kept), _PORTION):
            yield {"segments": kept[start : start + _PORTION]}

    async def record(self, _: Caller, given: dict[str, Any]) -> dict[str, Any]:
        """Count what a scan found in one segment."""
        try:
            segment = from_json(json.loads(given["segment"]))
        except ValueError as error:
            raise UsageError(f"no segment: {error}") from error
        seen = [_attempts(sighting) for sighting in given["sightings"]]
        index, now = self._rooms.index, int(time.time() * 1000)
        text = json.dumps(segment.to_json())
        added = self._ledger.sightings.record_segment(
            (segment.key, text), given.get("before"), seen, known=index.__contains__, now=now
        )
        return {"added": added}

    # Inside

    def _resolve(self, texts: Iterable[str]) -> list[Fingerprint]:
        found = []
        for text in texts:
            try:
                found.append(self._one(text))
            except FingerprintError as error:
                raise UsageError(str(error)) from error
        return list(dict.fromkeys(found))

    def _one(self, text: str) -> Fingerprint:
        """Return the fingerprint that ``text`` names, in the ledger or else in the certificate directory."""
        try:
            return self._ledger.entries.resolve(text)
        except NoSuchFingerprintError as error:
            if error.candidates:
                raise
            prefix = parse_prefix(text)
            found = [fingerprint for fingerprint in self._rooms.index if fingerprint.startswith(prefix)]
            if len(found) == 1:
                return found[0]
            raise

    async def _shown(self, entries: Sequence[Entry]) -> list[dict[str, Any]]:
        names = [entry.fingerprint for entry in entries]
        details: dict[Fingerprint, Certificate] = await asyncio.to_thread(self._rooms.index.details_of, names)
        waiting = [entry.fingerprint for entry in entries if entry.standing is not Standing.APPROVED]
        approvals = self._approvals(details[one] for one in waiting if one in details)
        now = datetime.now(UTC)
        shown = []
        for entry in entries:
            certificate = details.get(entry.fingerprint)
            renewal = approvals.followed_by(certificate) if certificate else None
            one = views.entry(entry, certificate, now, renewal.as_json() if renewal else None)
            if entry.standing is Standing.APPROVED and entry.fingerprint not in self._rooms.index:
                one["warnings"] = ["certificate gone: Exim does not verify this client any more"]
            if entry.withheld:
                one["warnings"].append("taken out of the macro file by hand: settle it by approve or revoke")
            shown.append(one)
        return shown

    def _approvals(self, certificates: Iterable[Certificate]) -> Approvals:
        """Return the approved certificates that any of these may renew."""
        certificates = tuple(certificates)
        like = self._ledger.identities.approved(
            {one.spki for one in certificates if one.spki}, {one.subject for one in certificates if one.subject}
        )
        return Approvals(
            Approved(
                one.fingerprint, one.spki, one.subject, one.issuer, one.by, datetime.fromtimestamp(one.at / 1000, UTC)
            )
            for one in like
        )

    def _replaced(
        self, fingerprints: Sequence[Fingerprint], details: dict[Fingerprint, Certificate]
    ) -> dict[Fingerprint, int | None]:
        """Return the approved certificates that these renew, each with its end (ms since the epoch)."""
        approvals = self._approvals(details.values())
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
        state, live = self._rooms.publication.state, self._rooms.publication.live
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

    def _soon(self, work: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(work)
        self._publishing.add(task)
        task.add_done_callback(self._publishing.discard)


Teller = Callable[[str, Sequence[Fingerprint]], None]


def _precise(seconds: float) -> str:
    """Return a time with its fraction: sessions are older or younger than it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _prefix(text: str) -> str:
    try:
        return parse_prefix(text)
    except FingerprintError as error:
        raise UsageError(str(error)) from error


def _whole(text: str) -> Fingerprint:
    digits = _prefix(text)
    if len(digits) != LENGTH:
        raise UsageError(f"{digits} is no whole fingerprint")
    return Fingerprint(digits)


def _verb(text: str | None) -> Verb:
    try:
        verb = Verb(text or Verb.APPROVE)
    except ValueError:
        raise UsageError(f"{text!r} is no decision: approve, adopt, reject or revoke") from None
    if verb is Verb.SEE:
        raise UsageError("'see' is no decision: approve, adopt, reject or revoke")
    return verb


def _time(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no time: expected RFC 3339, such as 2026-11-22T17:03:03Z") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _attempts(sighting: dict[str, Any]) -> Attempts:
    peer = sighting.get("from")
    if sighting["attempts"] < 0:
        raise UsageError("a negative number of attempts")
    return Attempts(
        _whole(sighting["fingerprint"]),
        sighting["attempts"],
        milliseconds(_time(sighting.get("first_seen"))),
        milliseconds(_time(sighting.get("last_seen"))),
        None if peer is None else Peer(peer["host"], peer["helo"], peer["sender"], peer["recipient"]),
    )
