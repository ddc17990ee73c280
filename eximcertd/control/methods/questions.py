"""The methods that only read: status, entries, history, health."""

from __future__ import annotations

import asyncio
import base64
import os
from datetime import UTC, datetime
from string import hexdigits
from typing import TYPE_CHECKING, Any, Final

from eximcertd import __version__
from eximcertd.certificates.names import common_name
from eximcertd.control.methods import views
from eximcertd.control.methods.services import time_of
from eximcertd.decisions.naming import named
from eximcertd.decisions.resolve import prefix
from eximcertd.errors import NoSuchFingerprintError, UsageError
from eximcertd.fingerprint import grouped
from eximcertd.intake import milliseconds
from eximcertd.ledger.entries import Selection
from eximcertd.status import ALLOWS, Status, Verb
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from eximcertd.control.caller import Caller
    from eximcertd.control.methods.services import Services
    from eximcertd.fingerprint import Fingerprint
    from eximcertd.ledger.decisions import Decision

_PORTION: Final = 500
_MOST_ISSUERS: Final = 50
_MOST_SEARCHED: Final = 2000  # certificates of the directory that are read to find a CA's
_MOST_RECORDS: Final = 10_000
_MOST_NEWEST: Final = 100_000
_MOST_EDITS: Final = 10_000  # of one decision
_MOST_OFFERS: Final = 100
_LONGEST_SEARCH: Final = 0.05  # seconds; a person waits for it
_LONGEST_NAME: Final = 300
_MOST_COUNTED: Final = 100_000
_STANDINGS: Final = ("pending", "unmatched", "approved", "rejected", "revoked")


class Questions:
    """Answers from the ledger; decides nothing."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._ledger = services.ledger
        self._searching = asyncio.Lock()  # one look through the directory at a time: other work needs threads too
        self.fleet: Callable[[], dict[str, Any]] | None = None

    async def status(self, _: Caller, __: dict[str, Any]) -> dict[str, Any]:
        """Return the state of eximcertd, the log and the allowlist."""
        services, config = self._services, self._services.config()
        await services.publication.look()
        progress, counts, certificates = (
            services.intake.progress(),
            self._ledger.entries.counts(),
            services.certificates.index.counts(),
        )
        confirmed = self._ledger.publications.last_confirmed()
        state, expiry = services.publication.state, services.maintenance.expiry
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
                    "timezone": services.intake.source.timezone,
                    "uses_since": views.rfc3339(self._ledger.sightings.uses_since()),
                },
                "certificates": {
                    "files": certificates.files,
                    "distinct": certificates.distinct,
                    "expired": len(expiry.expired()),
                    "expiring": len(expiry.expiring(config.certificates.expires_within)),
                    "not_yet_valid": expiry.not_yet_valid(),
                    "problem": services.certificates.index.problem,
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
                    "loaded_at": views.rfc3339(confirmed.loaded_at),
                    "live": services.publication.live,
                    "error": None if state.ok else state.message or state.outcome,
                    "exim_is_down": state.outcome == "died",
                    "retry_at": views.rfc3339(state.retry_at * 1000 if state.retry_at else None),
                    "removed_by_hand": [str(fingerprint) for fingerprint in self._ledger.decisions.withheld()[:100]],
                },
                "authorities": self._authorities(),
                "control": {"readers": list(config.control.readers), "approvers": list(config.control.approvers)},
                "fleet": self.fleet() if self.fleet else None,
            }
        }

    def _authorities(self) -> dict[str, Any]:
        enrolling, rows = self._services.maintenance.enrolling, self._ledger.authorities.approved()
        problems = enrolling.problems(datetime.now(UTC)) if rows else {}
        return {
            "approved": len(rows),
            "enrolled": sum(self._ledger.authorities.counts().values()) if rows else 0,
            "problems": [f"{name}: {problem}" for name, problem in problems.items()],
        }

    async def entries(self, _: Caller, given: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """List entries, with their certificates, in portions."""
        standings = _standings(given)
        if (at := time_of(given.get("at"))) is not None:
            for decisions in self._ledger.decisions.each_at(int(at.timestamp() * 1000)):
                yield {"entries": await self._approved_at(decisions, at)}
                await asyncio.sleep(0)
            return
        if given.get("newest") is not None:
            for of in _selections(given):
                names = self._ledger.entries.newest(of, min(max(given["newest"], 0), _MOST_NEWEST))
                for start in range(0, len(names), _PORTION):
                    portion = self._ledger.entries.among(names[start : start + _PORTION])
                    yield {"entries": await self._services.shown(portion)}
            return
        prefixes = _distinct(prefix(text) for text in given["prefixes"]) or [""]
        for standing in standings:
            for beginning in prefixes:
                for portion in self._ledger.entries.each(standing, beginning, _PORTION):
                    if portion:
                        yield {"entries": await self._services.shown(portion)}
                    await asyncio.sleep(0)  # thousands of prefixes take long: the loop runs in between

    async def _approved_at(self, decisions: Sequence[Decision], at: datetime) -> list[dict[str, Any]]:
        """Return the entries of those that were approved at this time, each with its decision of then."""
        allowed = {one.fingerprint: one for one in decisions if one.verb in ALLOWS}
        known = self._ledger.identities.among(allowed)
        time = milliseconds(at) or 0
        valid = [name for name in allowed if name not in known or known[name].valid_at(time)]
        shown = await self._services.shown(self._ledger.entries.among(valid))
        return [{**entry, "decision": views.decision(allowed[entry["fingerprint"]])} for entry in shown]

    async def edits(self, _: Caller, __: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Return what manual edits removed and added, in portions, with the number of each."""
        await self._services.publication.look()
        decisions = self._ledger.decisions
        names = {"removed": decisions.withheld(), "added": decisions.added_by_hand(_MOST_COUNTED)}
        counted = {f"{what}_total": len(some) for what, some in names.items()}
        yield {"removed": [], "added": [], **counted}
        for what, some in names.items():
            for start in range(0, min(len(some), _MOST_EDITS), _PORTION):
                portion = self._ledger.entries.among(some[start : min(start + _PORTION, _MOST_EDITS)])
                yield {"removed": [], "added": [], **counted, what: await self._services.shown(portion)}

    async def count(self, _: Caller, given: dict[str, Any]) -> dict[str, Any]:
        """Count entries."""
        return {"count": sum(map(self._ledger.entries.count, _selections(given)))}

    async def issuers(self, _: Caller, __: dict[str, Any]) -> dict[str, Any]:
        """Return who has issued several of the certificates that wait."""
        services = self._services
        found = self._ledger.shown.issuers(_MOST_ISSUERS)
        details = await services.certificates.of([example for _, _, example in found])
        named = [(name, number, details[example]) for name, number, example in found if example in details]
        groups = [(name, number, of.issuer) for name, number, of in named if of.issuer and not of.self_issued]
        if groups and len(services.certificates.index) <= _MOST_SEARCHED:
            await asyncio.to_thread(services.issuers.refresh)
        known = services.issuers.authorities({issuer for _, _, issuer in groups})
        approved = {one.name for one in services.maintenance.enrolling.approved}
        return {
            "issuers": [
                {
                    "name": clean(issuer),
                    "hash": name,
                    "count": number,
                    "certificate": known.get(issuer),
                    "approved": issuer in approved,
                }
                for name, number, issuer in groups
            ]
        }

    async def show(self, _: Caller, given: dict[str, Any]) -> dict[str, Any]:
        """Show one entry with its history, oldest first."""
        [fingerprint] = await self._services.resolver.resolve([given["fingerprint"]])
        entry = self._ledger.entries.get(fingerprint)
        if entry.status is Status.UNSEEN and fingerprint not in self._services.certificates.index:
            raise NoSuchFingerprintError(f"nothing is known of {fingerprint}")
        [shown] = await self._services.shown([entry])
        if entry.status is Status.PENDING and (reason := await self._not_enrolled(fingerprint)):
            shown["notes"].append(reason)
        rows = self._ledger.decisions.history(fingerprint, limit=_MOST_RECORDS)
        return {"entry": shown, "history": [views.record(decision) for _, decision in rows]}

    async def find(self, _: Caller, given: dict[str, Any]) -> dict[str, Any]:
        """Find an entry by the name of its certificate."""
        services = self._services
        async with self._searching:
            fingerprint = await named(services.ledger, services.certificates.index, given["name"], Verb(given["verb"]))
        [shown] = await services.shown([self._ledger.entries.get(fingerprint)])
        return {"entry": shown}

    async def complete(self, _: Caller, given: dict[str, Any]) -> dict[str, Any]:
        """Return what a shell may offer: what begins with these digits, and certificates of such a name."""
        services, beginning = self._services, given["beginning"][:_LONGEST_NAME]
        selections, index = _selections(given), services.certificates.index
        found = []
        if not beginning.strip(hexdigits):
            found = [
                one for of in selections for one in self._ledger.entries.newest(of, _MOST_OFFERS, beginning.upper())
            ]
        if beginning:
            async with self._searching:
                some, _all = await asyncio.to_thread(index.mentioning, beginning, _MOST_OFFERS, _LONGEST_SEARCH)
            entries = self._ledger.entries.among(some)
            found += [one.fingerprint for one in entries if one.status.value in given["standings"]]
        found = list(dict.fromkeys(found))[:_MOST_OFFERS]
        subjects = await services.certificates.subjects(found)
        offers = [{"fingerprint": one, "name": clean(common_name(subjects.get(one, "")))} for one in found]
        return {"offers": [{**offer, "named": offer["fingerprint"] in index} for offer in offers]}

    async def certificate(self, _: Caller, given: dict[str, Any]) -> dict[str, Any]:
        """Return a certificate's DER form."""
        [fingerprint] = await self._services.resolver.resolve([given["fingerprint"]])
        der = await self._services.certificates.der(fingerprint)
        if der is None:
            raise NoSuchFingerprintError(
                f"the certificate of {grouped(fingerprint)} is not known",
                hint="No file of the certificate directory holds it, and the log has not brought it with an attempt.",
            )
        return {"fingerprint": fingerprint, "der": base64.b64encode(der).decode()}

    async def _not_enrolled(self, fingerprint: Fingerprint) -> str:
        """Return why no approved authority of its issuer's name has approved a pending certificate, or ""."""
        enrolling = self._services.maintenance.enrolling
        der = await self._services.certificates.der(fingerprint) if enrolling.approved else None
        found = enrolling.refusal(der) if der else ""
        return f"not approved through the authority that it names: {found}" if found else ""

    async def history(self, _: Caller, given: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Return decisions, newest first, in portions."""
        wanted = given.get("fingerprint")
        fingerprint = (await self._services.resolver.resolve([wanted]))[0] if wanted else None
        left = min(given.get("limit") or _MOST_RECORDS, 10_000_000)
        before: int | None = None
        while left > 0:
            rows = self._ledger.decisions.newest(fingerprint, before, min(left, _PORTION))
            if not rows:
                return
            yield {"decisions": [views.record(decision) for _, decision in rows]}
            before, left = rows[-1][0], left - len(rows)

    async def check(self, _: Caller, __: dict[str, Any]) -> dict[str, Any]:
        """Return the findings that only eximcertd itself can make."""
        await self._services.publication.look()
        within = self._services.config().certificates.expires_within
        return {"lines": await self._services.maintenance.health.findings(within)}


def _standings(given: dict[str, Any]) -> list[str]:
    standings = dict.fromkeys(given["standings"] or _STANDINGS)
    unknown = standings.keys() - set(_STANDINGS)
    if unknown:
        raise UsageError(f"no such standing: {', '.join(sorted(unknown))}; there are {', '.join(_STANDINGS)}")
    return list(standings)


def _selections(given: dict[str, Any]) -> list[Selection]:
    since = milliseconds(time_of(given.get("since")))
    without = tuple((given.get("without") or ())[:_MOST_ISSUERS])
    return [Selection(standing, since, given.get("from") or None, without) for standing in _standings(given)]


def _distinct(prefixes: Iterable[str]) -> list[str]:
    """Return the prefixes without those that a shorter one covers."""
    distinct: list[str] = []
    for one in sorted(prefixes):
        if not distinct or not one.startswith(distinct[-1]):
            distinct.append(one)
    return distinct
