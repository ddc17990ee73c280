"""A twin of eximcertd: the real control socket before a ledger that is a dictionary.

    with Twin(tmp_path / "control") as twin:
        twin.see(FINGERPRINT, certificate("CN=laptop"))
        Client(twin.path).call("Status")

It knows no Exim: what its publications say is what the test put into ``twin.publication``.
"""

from __future__ import annotations

import asyncio
import os
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self

from eximcertd import __version__
from eximcertd.control.rights import Rights
from eximcertd.control.server import Caller, Handler, Limits, Server
from eximcertd.errors import NoSuchFingerprintError, RefusedError
from eximcertd.fingerprint import NEVER, Fingerprint, is_exact, parse_prefix
from eximcertd.status import Refusal, Status, Verb, after
from lab.entries import listed, selected, standing, unseen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

LIVE: Final = {
    "live": True,
    "form": "list",
    "revision": 7,
    "outcome": "live",
    "step": "",
    "message": "",
    "exim": "",
    "retry": "",
    "exim_pid": None,
    "loaded_at": "2026-11-22T17:03:03.250Z",
}

PORTION: Final = 500


class Twin:
    """eximcertd without log, certificates, ledger and Exim. readers, approvers: groups by number.

    methods: handlers instead of the twin's own. publication, lines, status: what is answered.
    """

    def __init__(
        self,
        path: Path,
        *,
        rights: Rights | None = None,
        limits: Limits | None = None,
        methods: Mapping[str, Handler] | None = None,
    ) -> None:
        self.path: Final = path
        self.entries: dict[str, dict[str, Any]] = {}
        self.records: list[dict[str, Any]] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.callers: list[Caller] = []
        self.publication: dict[str, Any] = dict(LIVE)
        self.lines: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.edits: dict[str, list[dict[str, Any]]] = {"removed": [], "added": []}
        self.edits_beyond = 0
        self.issuers: list[dict[str, Any]] = []
        self.current, self.last = True, 1
        self.authorities: list[dict[str, Any]] = []
        self.uses_since: str | None = None
        own: dict[str, Handler] = {
            "Status": self._status,
            "List": self._list,
            "Count": self._count,
            "Issuers": self._issuers,
            "Authorities": self._authorities,
            "Show": self._show,
            "Find": self._find_name,
            "Complete": self._complete,
            "History": self._history,
            "Check": self._check,
            "Decide": self._decide,
            "Last": self._last,
            "Edits": self._edits,
            "Segments": self._segments,
            "Record": self._record,
            "Export": self._export,
            "Import": self._import,
            "Retry": self._retry,
            "Watch": self._watch,
        }
        # The user that runs the tests may do everything, root or not.
        may = rights or Rights(approvers=frozenset({os.getegid()}))
        self._server = Server(path, may, {**own, **(methods or {})}, limits=limits)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="twin", daemon=True)

    def __enter__(self) -> Self:
        """Start it."""
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._server.start(), self._loop).result(10)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.close()
        self._end()

    def close(self) -> None:
        """Close its socket and its connections."""
        asyncio.run_coroutine_threadsafe(self._server.close(), self._loop).result(10)

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def see(self, fingerprint: str, of: dict[str, Any] | None = None, **other: Any) -> dict[str, Any]:
        """Let a client have been refused once more; ``other`` replaces parts of its entry."""
        entry = self._entry(fingerprint)
        if entry["standing"] == "unseen":
            entry["standing"] = "pending"
        entry["certificate"] = of
        entry["attempts"] += 1
        entry["first_seen"] = entry["first_seen"] or "2026-11-22T17:00:00Z"
        entry["last_seen"] = "2026-11-22T17:03:03Z"
        entry.update(other)
        return entry

    def called(self, method: str) -> list[dict[str, Any]]:
        """Return the parameters of every call of a method so far."""
        return [parameters for name, parameters in self.calls if name == method]

    def _entry(self, fingerprint: str) -> dict[str, Any]:
        return self.entries.setdefault(fingerprint, unseen(fingerprint))

    def _note(self, method: str, caller: Caller, parameters: dict[str, Any]) -> None:
        self.calls.append((method, parameters))
        self.callers.append(caller)

    def _find(self, given: str) -> str:
        prefix = parse_prefix(given)
        found = [fingerprint for fingerprint in self.entries if fingerprint.startswith(prefix)]
        if len(found) == 1 or (not found and is_exact(prefix)):
            return found[0] if found else prefix
        what = "more than one fingerprint begins with" if found else "no fingerprint begins with"
        near = found or [fingerprint for fingerprint in self.entries if fingerprint[:4] == prefix[:4]]
        raise NoSuchFingerprintError(f"{what} {prefix}", candidates=near)

    async def _status(self, caller: Caller, parameters: dict[str, Any]) -> dict[str, Any]:
        self._note("Status", caller, parameters)
        standings = [entry["standing"] for entry in self.entries.values()]
        unmatched = sum(e["standing"] == "pending" and e["certificate"] is None for e in self.entries.values())
        counts = {standing: standings.count(standing) for standing in ("pending", "approved", "rejected", "revoked")}
        counts["pending"] -= unmatched
        return {
            "status": {
                "version": __version__,
                "pid": os.getpid(),
                "log": {
                    "path": "/var/log/exim4/mainlog",
                    "position": 4711,
                    "behind_bytes": 0,
                    "last_line_at": "2026-11-22T17:03:03Z",
                    "problem": None,
                    "timezone": "",
                    "uses_since": self.uses_since,
                },
                "certificates": {
                    "files": 301,
                    "distinct": 150,
                    "expired": 0,
                    "expiring": 0,
                    "not_yet_valid": 0,
                    "problem": None,
                },
                "counts": {**counts, "unmatched": unmatched, "unmatched_dropped": 0},
                "allowlist": {
                    "form": self.publication["form"],
                    "revision": self.publication["revision"],
                    "published_at": self.publication["loaded_at"],
                    "loaded_at": self.publication["loaded_at"],
                    "live": self.publication["live"],
                    "error": self.publication["message"] or None,
                    "exim_is_down": self.publication["outcome"] == "died",
                    "retry_at": None,
                    "removed_by_hand": [],
                },
                "control": {"readers": [], "approvers": []},
            }
        }

    async def _list(self, caller: Caller, parameters: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        self._note("List", caller, parameters)
        found = [
            listed(entry)
            for entry in self.entries.values()
            if not parameters["standings"] or standing(entry) in parameters["standings"]
        ]
        if parameters["newest"] is not None:
            found = selected(found, parameters)[: parameters["newest"]]
        for start in range(0, len(found), PORTION):
            yield {"entries": found[start : start + PORTION]}

    async def _issuers(self, _: Caller, __: dict[str, Any]) -> dict[str, Any]:
        return {"issuers": self.issuers}

    async def _authorities(self, _: Caller, __: dict[str, Any]) -> dict[str, Any]:
        return {"authorities": self.authorities}

    async def _count(self, caller: Caller, parameters: dict[str, Any]) -> dict[str, Any]:
        self._note("Count", caller, parameters)
        found = [entry for entry in self.entries.values() if standing(entry) in parameters["standings"]]
        return {"count": len(selected(found, parameters))}

    async def _show(self, caller: Caller, parameters: dict[str, Any]) -> dict[str, Any]:
        self._note("Show", caller, parameters)
        fingerprint = self._find(parameters["fingerprint"])
        if fingerprint not in self.entries:
            raise NoSuchFingerprintError(f"nothing is known of {fingerprint}")
        history = [record for record in self.records if record["fingerprint"] == fingerprint]
        return {"entry": self.entries[fingerprint], "history": history}

    async def _find_name(self, caller: Caller, parameters: dict[str, Any]) -> dict[str, Any]:
        self._note("Find", caller, parameters)
        for entry in self.entries.values():
            if entry["certificate"] and parameters["name"] in entry["certificate"]["subject"]:
                return {"entry": entry}
        raise NoSuchFingerprintError(f"no certificate has the name {parameters['name']}")

    async def _complete(self, caller: Caller, parameters: dict[str, Any]) -> dict[str, Any]:
        self._note("Complete", caller, parameters)
        beginning = parameters["beginning"]
        offers = []
        for fingerprint, entry in self.entries.items():
            of = entry["certificate"] or {"subject": "", "source": ""}
            name = of["subject"].removeprefix("CN=")
            fits = fingerprint.startswith(beginning.upper()) or beginning in name
            if fits and standing(entry) in parameters["standings"]:
                offers.append({"fingerprint": fingerprint, "name": name, "named": of["source"] == "directory"})
        return {"offers": offers}

    async def _history(self, caller: Caller, parameters: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        self._note("History", caller, parameters)
        asked = parameters["fingerprint"]
        fingerprint = None if asked is None else self._find(asked)
        found = [record for record in self.records[::-1] if fingerprint in {None, record["fingerprint"]}]
        yield {"decisions": found[: parameters["limit"]]}

    async def _check(self, caller: Caller, parameters: dict[str, Any]) -> dict[str, Any]:
        self._note("Check", caller, parameters)
        return {"lines": self.lines}

    async def _decide(self, caller: Caller, parameters: dict[str, Any]) -> dict[str, Any]:
        self._note("Decide", caller, parameters)
        verb = Verb(parameters["verb"])
        chosen = [self._find(given) for given in parameters["fingerprints"]]
        for fingerprint in chosen:
            entry = self.entries.get(fingerprint)
            becomes = after(Status(entry["standing"]) if entry else Status.UNSEEN, verb)
            if isinstance(becomes, Refusal):
                raise RefusedError(f"{fingerprint} {becomes.sentence}")
            if Fingerprint(fingerprint) in NEVER:
                raise RefusedError(f"{fingerprint} can never be approved: {NEVER[Fingerprint(fingerprint)]}")
            known = entry is not None and entry["certificate"] is not None
            if verb is Verb.APPROVE and not known and "without-certificate" not in parameters["insist"]:
                raise RefusedError(f"{fingerprint}: no certificate is found", hint="insist: --without-certificate")
        for fingerprint in chosen:
            entry = self._entry(fingerprint)
            becomes = after(Status(entry["standing"]), verb)
            if not isinstance(becomes, Refusal):
                entry["standing"] = becomes.status.value
            at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
            decision = {"verb": verb.value, "by": caller.name, "at": at, "note": parameters["note"]}
            entry["decision"] = decision
            self.records.append({"fingerprint": fingerprint, **decision})
        decided = [listed(self.entries[fingerprint]) for fingerprint in chosen]
        return {"decided": decided, "publication": self.publication}

    async def _last(self, caller: Caller, parameters: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        self._note("Last", caller, parameters)
        yield {"decisions": self.records[-self.last :] if self.last else [], "current": self.current}

    async def _edits(self, caller: Caller, parameters: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        self._note("Edits", caller, parameters)
        totals = {f"{what}_total": len(some) + self.edits_beyond for what, some in self.edits.items()}
        yield {"removed": [], "added": [], **totals}
        for what, some in self.edits.items():
            for start in range(0, len(some), PORTION):
                yield {"removed": [], "added": [], **totals, what: some[start : start + PORTION]}

    async def _segments(self, caller: Caller, parameters: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        self._note("Segments", caller, parameters)
        yield {"segments": []}

    async def _record(self, caller: Caller, parameters: dict[str, Any]) -> dict[str, Any]:
        self._note("Record", caller, parameters)
        return {"added": len(parameters["sightings"])}

    async def _export(self, caller: Caller, parameters: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        self._note("Export", caller, parameters)
        for start in range(0, len(self.records), PORTION):
            yield {"records": self.records[start : start + PORTION]}

    async def _import(self, caller: Caller, parameters: dict[str, Any]) -> dict[str, Any]:
        self._note("Import", caller, parameters)
        before = len(self.records)
        known = {tuple(record.values()) for record in self.records}
        for given in parameters["records"]:
            record = {key: given.get(key) for key in ("fingerprint", "verb", "by", "at", "note")}
            if tuple(record.values()) not in known:
                self.records.append(record)
        return {"added": len(self.records) - before, "older": 0}

    async def _retry(self, caller: Caller, parameters: dict[str, Any]) -> dict[str, Any]:
        self._note("Retry", caller, parameters)
        return {"publication": self.publication}

    async def _watch(self, caller: Caller, parameters: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        self._note("Watch", caller, parameters)
        for event in self.events:
            yield {"events": [event]}
        await asyncio.Event().wait()
