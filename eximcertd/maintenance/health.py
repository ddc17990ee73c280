"""Health: the findings that only eximcertd itself can make, for `eximcertctl check`, and events about problems."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from eximcertd.events import Event
from eximcertd.log.tailer import NO_FILE
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta

    from eximcertd.certificates.index import Index
    from eximcertd.intake import Intake
    from eximcertd.journal import Recorder
    from eximcertd.ledger import Ledger
    from eximcertd.maintenance.clock import Clock
    from eximcertd.maintenance.expiry import Expiry
    from eximcertd.publication.publisher import Publisher

_MOST_SHOWN: Final = 20


class Health:
    """Looks at the other parts. watch_problem: of the directory's watcher, or None."""

    def __init__(
        self,
        ledger: Ledger,
        index: Index,
        *,
        intake: Intake,
        publication: Publisher,
        expiry: Expiry,
        clock: Clock,
        recorder: Recorder,
        watch_problem: Callable[[], str | None],
    ) -> None:
        self._ledger = ledger
        self._index = index
        self._intake = intake
        self._publication = publication
        self._expiry = expiry
        self._clock = clock
        self._recorder = recorder
        self._watch_problem = watch_problem
        self._log_problem: str | None = None

    def tell_log(self) -> None:
        """Record an event, once, when the log cannot be read, and once when it can be read again.

        A missing log is no problem: after a rotation with nocreate there is none until the next line.
        """
        progress = self._intake.progress()
        problem = progress.problem if progress.problem and NO_FILE not in progress.problem else None
        if problem and problem != self._log_problem:
            self._recorder.record(Event.LOG_PROBLEM, problem, FILE=progress.path)
        elif self._log_problem and not problem:
            self._recorder.record(Event.LOG_BACK, f"{progress.path} is read again", FILE=progress.path)
        self._log_problem = problem

    async def findings(self, expires_within: timedelta) -> list[dict[str, Any]]:
        """Return Lines of the interface."""
        skipped = await asyncio.to_thread(self._index.skipped, _MOST_SHOWN)
        certificates = self._of_certificates(expires_within, skipped)
        return [*self._of_allowlist(), *self._of_log(), *certificates]

    def _of_allowlist(self) -> Iterator[dict[str, Any]]:
        state, publication = self._publication.state, self._publication
        if publication.live and state.ok:
            yield _line("ok", "Exim has loaded the list that was decided")
        else:
            remedy = "Correct the cause; eximcertd tries again on a timer, and at the next decision."
            why = f"{state.message or state.outcome} {state.exim}".strip()
            yield _line("error", f"the last publication failed: {why}", remedy)
        if publication.unknown_files:
            yield _line(
                "error",
                f"{publication.unknown_files} unknown fingerprints in the directory of allowed fingerprints",
                "Approve or delete them.",
            )
        withheld = self._ledger.decisions.withheld()
        if withheld:
            yield _line(
                "warning",
                f"approved fingerprints that were removed by hand: {len(withheld):,}",
                "Approve or revoke them.",
            )

    def _of_log(self) -> Iterator[dict[str, Any]]:
        problem = self._intake.progress().problem
        yield _line("error" if problem else "ok", problem or "the log is being read")
        dropped = self._ledger.sightings.dropped()
        if dropped:
            yield _line(
                "warning",
                f"fingerprints without a certificate that were dropped from the queue: {dropped:,}",
                "Look at [queue] unmatched_limit.",
            )

    def _of_certificates(self, expires_within: timedelta, skipped: list[tuple[str, str]]) -> Iterator[dict[str, Any]]:
        for problem in (self._index.problem, self._index.cache_problem, self._watch_problem()):
            if problem:
                yield _line("warning", problem)
        counts = self._index.counts()
        yield _line("ok", f"certificates in {self._index.directory}: {counts.distinct:,} (files: {counts.files:,})")
        for name, why in skipped:
            yield _line("warning", f"skipped: {name}: {why}")
        for number, what in (
            (len(self._expiry.expired()), "that have expired, and are off the list"),
            (self._expiry.not_yet_valid(), "that are not valid yet, and are off the list"),
            (len(self._expiry.expiring(expires_within)), "that expire soon"),
        ):
            if number:
                yield _line("warning", f"approved certificates {what}: {number:,}", "See eximcertctl list.")
        if not self._clock.trusted:
            yield _line("warning", "the clock has jumped", "Correct it: what is not valid by it is off the list.")


def _line(verdict: str, sentence: str, remedy: str = "") -> dict[str, Any]:
    return {"verdict": verdict, "sentence": clean(sentence), "remedy": remedy}
