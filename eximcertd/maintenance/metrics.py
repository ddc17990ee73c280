"""Metrics for Prometheus: a file for node_exporter's textfile collector, written by prometheus-client (optional)."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from eximcertd.events import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from eximcertd.intake import Intake
    from eximcertd.journal import Recorder
    from eximcertd.ledger import Ledger
    from eximcertd.ledger.fleet import FleetActs
    from eximcertd.maintenance.expiry import Expiry
    from eximcertd.publication.publisher import Publisher

EVERY: Final = 60.0
"""Seconds between two writes."""

_MODE: Final = 0o644  # another user's program reads it


class Measured(NamedTuple):
    """One metric. label: the name of its only label, or "". values: value of the label (or "") -> value."""

    name: str
    text: str
    values: Mapping[str, float]
    label: str = ""
    counter: bool = False


class Metrics:
    """Writes the file. file: of the running configuration. loads: reloads by outcome, see publication.ask.Programs.

    Counters begin at 0 when eximcertd starts, which Prometheus expects; unmatched_dropped is kept in the ledger.
    """

    def __init__(
        self,
        file: Callable[[], Path | None],
        ledger: Ledger,
        *,
        intake: Intake,
        publication: Publisher,
        loads: Mapping[str, int],
        expiry: Expiry,
        recorder: Recorder,
    ) -> None:
        self._file = file
        self._ledger = ledger
        self._intake = intake
        self._publication = publication
        self._loads = loads
        self._expiry = expiry
        self._recorder = recorder
        self._problem = ""

    async def run(self) -> None:
        """Write once a minute, until cancelled."""
        while True:
            if (file := self._file()) is not None:
                self._tell(await asyncio.to_thread(write, file, list(self.measured())))
            await asyncio.sleep(EVERY)

    def measured(self) -> Iterator[Measured]:
        """Yield the metrics. Raises LedgerError."""
        ledger, progress = self._ledger, self._intake.progress()
        counts = ledger.entries.counts()
        named = {name: getattr(counts, name) for name in ("pending", "unmatched", "approved", "rejected", "revoked")}
        yield Measured("fingerprints", "Fingerprints by status.", named, "status")
        enrolled = {name[:16]: number for name, number in ledger.authorities.counts().items()}
        yield Measured("enrolled", "Certificates that an authority vouches for.", enrolled, "authority")
        yield Measured(
            "attempts", "Refused attempts of the fingerprints that are kept.", _one(ledger.entries.attempts())
        )
        yield Measured("log_lines", "Lines of the log that were read.", _one(progress.lines), counter=True)
        yield Measured("log_position_bytes", "Offset in the log.", _one(progress.position))
        yield Measured("log_behind_bytes", "Bytes of the log that are not read yet.", _one(progress.behind_bytes))
        if progress.last_line_at is not None:
            at = progress.last_line_at.timestamp()
            yield Measured("log_last_line_timestamp_seconds", "When a line was read last.", _one(at))
        confirmed, state = ledger.publications.last_confirmed(), self._publication.state
        if confirmed.at is not None:
            yield Measured("published_timestamp_seconds", "When a list was last live.", _one(confirmed.at / 1000))
        yield Measured("live", "1 if Exim honours exactly what was decided.", _one(self._publication.live))
        yield Measured("exim_down", "1 if Exim ended at the last reload.", _one(state.outcome == "died"))
        outcomes = ledger.publications.outcomes
        yield Measured("publications", "Publications by outcome.", outcomes, "outcome", counter=True)
        yield Measured(
            "reloads", "Times that Exim was to load the list, by outcome.", self._loads, "outcome", counter=True
        )
        dropped = _one(ledger.sightings.dropped())
        yield Measured("unmatched_dropped", "Fingerprints dropped to keep unmatched_limit.", dropped, counter=True)
        yield Measured("expired", "Approved certificates that have expired.", _one(len(self._expiry.expired())))
        expiring = {f"{days}d": float(len(self._expiry.expiring(timedelta(days=days)))) for days in (7, 30)}
        yield Measured("expiring", "Approved certificates that expire within this time.", expiring, "within")
        if ledger.fleet is not None:
            yield from _of_fleet(ledger.fleet)
        yield Measured("written_timestamp_seconds", "When these metrics were written.", _one(time.time()))

    def _tell(self, problem: str) -> None:
        """Record a problem once, until it is another one or none."""
        if problem and problem != self._problem:
            self._recorder.record(Event.METRICS_FAILED, problem)
        self._problem = problem


def write(file: Path, metrics: Iterable[Measured]) -> str:
    """Write the file in one rename; return why that failed, or ""."""
    try:
        from prometheus_client import CollectorRegistry, write_to_textfile  # noqa: PLC0415 - optional
        from prometheus_client.core import CounterMetricFamily as Counter  # noqa: PLC0415 - the same
        from prometheus_client.core import GaugeMetricFamily as Gauge  # noqa: PLC0415 - the same
        from prometheus_client.registry import Collector  # noqa: PLC0415 - the same
    except ImportError:
        return "[metrics] file: prometheus-client is not installed (Debian: python3-prometheus-client)"

    class Once(Collector):
        def collect(self) -> Iterator[Counter | Gauge]:
            for one in metrics:
                kind = Counter if one.counter else Gauge
                metric = kind(f"eximcertd_{one.name}", one.text, labels=[one.label] if one.label else [])
                for label, value in one.values.items():
                    metric.add_metric([label] if one.label else [], float(value))
                yield metric

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Once())
    new = file.with_name(f"{file.name}.new")  # the textfile collector reads *.prom only
    try:
        write_to_textfile(str(new), registry)
        new.chmod(_MODE)
        new.replace(file)
    except OSError as error:
        return f"[metrics] file: {file} cannot be written: {error.strerror or error}"
    return ""


def _of_fleet(fleet: FleetActs) -> Iterator[Measured]:
    acts = {"taken": fleet.head().generation, "live": int(fleet.fact("live") or 0)}
    yield Measured("fleet_generation", "Last act of the fleet that was taken, and that is live.", acts, "state")
    yield Measured("fleet_open", "Decisions of this relay that no act has settled.", _one(fleet.news.own_count()))
    yield Measured("fleet_held", "1 if an act waits for a person.", _one(bool(fleet.fact("held"))))


def _one(value: float) -> dict[str, float]:
    return {"": float(value)}
