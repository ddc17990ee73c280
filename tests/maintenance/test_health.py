"""The findings of the running eximcertd, each with what to do, and the events about a log that cannot be read."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from lab.certificates import make
from lab.deciding import decide
from lab.rounds import DaemonParts

from eximcertd.certificates.lookup import CertificateLookup
from eximcertd.certificates.parsing import parse
from eximcertd.decisions.decide import Decider
from eximcertd.events import Event
from eximcertd.fingerprint import Fingerprint
from eximcertd.intake import Intake
from eximcertd.ledger.identities import Identity
from eximcertd.log.sighting import Sighting
from eximcertd.maintenance.clock import Clock
from eximcertd.maintenance.expiry import Expiry
from eximcertd.maintenance.health import Health
from eximcertd.publication.publisher import Publisher
from eximcertd.settings import AllowlistSettings
from eximcertd.status import Verb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ONE, TWO = (Fingerprint(f"{n:08X}".ljust(64, "0")) for n in (1, 2))
SOON = timedelta(days=30)


class Parts(DaemonParts):
    """What the health looks at, each of it real, over twins of the two programs; nothing runs by itself."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.wall = 1_800_000_000.0
        self.clock = Clock(self.ledger.running_time, lambda: self.wall, lambda: 0.0)
        self.watch_problem: str | None = None

    def run(self, *steps: Callable[[Health], object]) -> list[tuple[str, str, str]]:
        """Publish what was decided, do the steps, and return the findings: verdict, sentence and remedy."""
        return asyncio.run(self._run(steps))

    async def _run(self, steps: tuple[Callable[[Health], object], ...]) -> list[tuple[str, str, str]]:
        publication = Publisher(
            self.ledger,
            self.allowed,
            self.programs,
            decider=Decider(self.ledger, self.records),
            allowlist=AllowlistSettings(form="list"),
            recorder=self.records,
        )
        await publication.start()
        await publication.reconcile()
        health = Health(
            self.ledger,
            self.index,
            intake=Intake(
                "file", self.source, self.ledger, index=self.index, recorder=self.records, seen=lambda _: None
            ),
            publication=publication,
            expiry=Expiry(self.ledger, CertificateLookup(self.index, self.ledger.shown.of), self.records),
            clock=self.clock,
            recorder=self.records,
            watch_problem=lambda: self.watch_problem,
        )
        for step in steps:
            step(health)
        findings = await health.findings(SOON)
        await publication.stop()
        return [(line["verdict"], line["sentence"], line["remedy"]) for line in findings]

    def look(self, health: Health) -> None:
        """Read the log once, and tell what is to tell about it."""
        list(self.source.look())
        health.tell_log()

    def spoil(self, _: Health) -> None:
        """Put a link that leads to itself in the log's place."""
        self.log.unlink()
        self.log.symlink_to(self.log)

    def restore(self, _: Health) -> None:
        """Put a file back in its place."""
        self.log.unlink(missing_ok=True)
        self.log.touch()


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    parts = Parts(tmp_path)
    yield parts
    parts.close()


def wrong(findings: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    return [line for line in findings if line[0] != "ok"]


def test_where_all_is_well_each_part_says_so(parts: Parts) -> None:
    assert parts.run() == [
        ("ok", "Exim has loaded the list that was decided", ""),
        ("ok", "the log is being read", ""),
        ("ok", f"certificates in {parts.index.directory}: 0 (files: 0)", ""),
    ]


def test_a_list_that_is_not_live_is_an_error_with_the_reason_in_exims_words(parts: Parts) -> None:
    decide(parts.ledger, Verb.APPROVE, ONE)
    parts.programs.broken = "option setting expected"
    [(verdict, sentence, remedy)] = wrong(parts.run())
    assert verdict == "error"
    assert sentence == "the last publication failed: Exim rejects its configuration option setting expected"
    assert remedy.startswith("Correct the cause")


def test_a_decision_that_is_not_published_yet_is_an_error(parts: Parts) -> None:
    [(verdict, sentence, _)] = wrong(parts.run(lambda _: decide(parts.ledger, Verb.APPROVE, ONE)))
    assert (verdict, sentence) == ("error", "the last publication failed: live")


def test_files_that_nobody_approved_and_entries_that_were_removed_by_hand_wait_for_a_person(parts: Parts) -> None:
    decide(parts.ledger, Verb.APPROVE, ONE, TWO)
    parts.run()
    parts.programs.edit(TWO)
    parts.allowed.change([Fingerprint(f"{number:064X}") for number in range(100, 130)], [])
    assert wrong(parts.run()) == [
        ("error", "30 unknown fingerprints in the directory of allowed fingerprints", "Approve or delete them."),
        ("warning", "approved fingerprints that were removed by hand: 1", "Approve or revoke them."),
    ]


def test_fingerprints_that_were_dropped_from_the_queue_are_a_warning(parts: Parts) -> None:
    parts.ledger.sightings.unmatched_limit = 1
    seen = [Sighting(Fingerprint(f"{number:064X}"), 1, number, number) for number in range(5)]
    parts.ledger.sightings.record("file", "1", seen, lambda _: False)
    assert wrong(parts.run()) == [
        (
            "warning",
            "fingerprints without a certificate that were dropped from the queue: 4",
            "Look at [queue] unmatched_limit.",
        )
    ]


def test_what_is_wrong_with_the_certificates_is_a_warning_each(parts: Parts) -> None:
    make(parts.index.directory, "laptop.example")
    (parts.index.directory / "x\x1b.pem").write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    parts.index.refresh()
    parts.index.cache_problem, parts.watch_problem = "the cache is stale", "changes are found late"
    findings = parts.run()
    [told] = [sentence for verdict, sentence, _ in findings if verdict == "ok" and "certificates in" in sentence]
    assert told.startswith("certificates in ")
    assert ": 1 (files: 1)" in told
    assert [line[:2] for line in wrong(findings)][:2] == [
        ("warning", "the cache is stale"),
        ("warning", "changes are found late"),
    ]
    assert any(sentence.startswith(r"skipped: x\x1b.pem: ") for _, sentence, _ in wrong(findings))


def test_approved_certificates_that_have_ended_or_soon_will_are_counted(parts: Parts, tmp_path: Path) -> None:
    decide(parts.ledger, Verb.APPROVE, ONE, TWO)
    kept = Identity.of(parse(make(tmp_path / "ids", "laptop.example").der))
    parts.ledger.identities.keep([Identity(ONE, kept.spki, kept.subject, kept.issuer, 1)])
    [ended] = wrong(parts.run())
    assert ended == (
        "warning",
        "approved certificates that have expired, and are off the list: 1",
        "See eximcertctl list.",
    )


def test_a_clock_that_has_jumped_is_a_warning_until_it_is_corrected(parts: Parts) -> None:
    def jump(by: float) -> Callable[[Health], object]:
        def step(_: Health) -> None:
            parts.clock.look()
            parts.wall += by
            parts.clock.look()

        return step

    assert [line[:2] for line in wrong(parts.run(jump(86_400)))] == [("warning", "the clock has jumped")]
    assert wrong(parts.run(jump(-86_400))) == []


def test_a_log_that_cannot_be_read_is_an_error_and_told_once_and_told_when_it_is_read_again(parts: Parts) -> None:
    [(verdict, sentence, _)] = wrong(parts.run(parts.spoil, parts.look, parts.look))
    assert verdict == "error"
    assert "Too many levels of symbolic links" in sentence
    problems = [fields for event, _, fields in parts.records.kept if event is Event.LOG_PROBLEM]
    assert problems == [{"FILE": str(parts.log)}]
    parts.records.kept.clear()
    parts.run(parts.look, parts.restore, parts.look, parts.look)
    told = [(event, message, fields) for event, message, fields in parts.records.kept if "FILE" in fields]
    assert [event for event, _, _ in told] == [Event.LOG_PROBLEM, Event.LOG_BACK]
    assert told[1][1:] == (f"{parts.log} is read again", {"FILE": str(parts.log)})


def test_a_log_that_is_missing_is_no_event(parts: Parts) -> None:
    parts.run(lambda _: parts.log.unlink(), parts.look, parts.restore, parts.look)
    assert not {Event.LOG_PROBLEM, Event.LOG_BACK} & set(parts.records.events())


def test_a_log_that_is_missing_after_a_problem_ends_the_problem(parts: Parts) -> None:
    parts.run(parts.spoil, parts.look, lambda _: parts.log.unlink(), parts.look)
    assert parts.records.events().count(Event.LOG_BACK) == 1
