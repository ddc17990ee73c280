"""Following real journal files, written by systemd-journal-remote."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import pytest
from lab.log import FIRST, Twin, fingerprint
from lab.shown import attempt_lines, syslog_parts
from lab.wait import until

from eximcertd.errors import EximcertdError
from eximcertd.log import journal as under_test
from eximcertd.log.journal import JournalSource
from eximcertd.log.line import DEFAULT_MESSAGE, Grammar
from eximcertd.log.sighting import Peer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.certificates import Identity

REMOTE: Final = "/lib/systemd/systemd-journal-remote"
CORPUS: Final = Path(__file__).parent / "corpus"
START: Final = datetime(2026, 11, 22, 17, 7, 20, tzinfo=UTC)


class Journal:
    """A directory of journal files. Each ``write`` appends entries (text, process id, identifier), a second each."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.entries = 0
        directory.mkdir()

    def write(self, *entries: tuple[str, int, str], file: str = "system") -> None:
        text = ""
        for message, pid, identifier in entries:
            self.entries += 1
            at = int((START + timedelta(seconds=self.entries)).timestamp() * 1e6)
            text += (
                f"__REALTIME_TIMESTAMP={at}\n__MONOTONIC_TIMESTAMP={self.entries * 1_000_000}\n"
                f"_BOOT_ID={'0123456789abcdef' * 2}\nSYSLOG_IDENTIFIER={identifier}\nSYSLOG_PID={pid}\n"
                f"MESSAGE={message}\n\n"
            )
        subprocess.run(
            [REMOTE, "-o", str(self.directory / f"{file}.journal"), "-"],
            input=text.encode(), check=True, stderr=subprocess.PIPE,
        )  # fmt: skip


class Reading:
    """A source in a thread."""

    def __init__(self, journal: Journal, twin: Twin | None = None) -> None:
        self.twin = twin or Twin()
        self.source = JournalSource(Grammar(), self.twin.position, directory=journal.directory)
        self._thread = threading.Thread(target=self.twin.follow, args=(self.source,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.source.stop()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def expect(self, **counts: int) -> None:
        wanted = Counter({name.removeprefix("_"): count for name, count in counts.items()})
        until(lambda: self.twin.taken() == wanted, f"{wanted} is counted; it is {self.twin.taken()}")


def exim(*messages: str, pid: int = 2342) -> Sequence[tuple[str, int, str]]:
    return [(message, pid, "exim") for message in messages]


def rejection(who: str = FIRST, stamp: str = "2026-11-22 17:07:21 ") -> str:
    return f"{stamp}{DEFAULT_MESSAGE} {who}"


def test_what_a_real_exim_sent_to_syslog_is_counted_with_its_time_and_its_peer(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    datagrams = [ast.literal_eval(line) for line in (CORPUS / "syslog.datagrams.repr").read_text().splitlines()]
    for datagram in datagrams:
        header, _, text = datagram.decode().partition(": ")
        journal.write((text, int(header.partition("[")[2].rstrip("]")), "exim"))
    who = "58CD37DA33201183871839DBB4C73323F8A9AC3642714D1182DB5CB267BD8AC6"
    with Reading(journal) as reading:
        reading.expect(**{who: 1})
        until(lambda: reading.twin.peers, "the peer is known")
    assert reading.twin.first[who] == datetime(2026, 11, 22, 17, 7, 21, tzinfo=UTC)
    assert list(reading.twin.peers.values()) == [
        Peer("127.0.0.1", "client.lab.example", "s@lab.example", "r@remote.example")
    ]


def test_many_entries_are_handed_over_in_a_few_batches(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.write(*exim(*(rejection(fingerprint(number)) for number in range(1200))))
    with Reading(journal) as reading:
        until(lambda: reading.twin.taken().total() == 1200, "all are counted")
    assert reading.twin.batches == 3


def test_the_beat_goes_on_where_nothing_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "_FLOOR_MS", 10)
    with Reading(Journal(tmp_path / "journal")) as reading:
        until(lambda: reading.source.progress().beat > 10, "it beats")


def test_a_certificate_comes_with_its_attempt_in_parts_between_those_of_another_process(
    tmp_path: Path, alice: Identity, mallory: Identity
) -> None:
    journal = Journal(tmp_path / "journal")
    big, small = (
        [p for line in attempt_lines(of).splitlines() for p in syslog_parts(line, 200)] for of in (alice, mallory)
    )
    entries = [entry for pair in zip(exim(*big, pid=7), exim(*small, pid=8), strict=True) for entry in pair]
    journal.write(*entries[:4])
    with Reading(journal) as reading:
        journal.write(*entries[4:])
        reading.expect(**{f"_{alice.fingerprint}": 1, f"_{mallory.fingerprint}": 1})
    assert reading.twin.certificates == {alice.fingerprint: alice.der, mallory.fingerprint: mallory.der}


def test_an_entry_without_an_inner_time_has_the_journals(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.write(*exim("nothing", rejection(stamp="")))
    with Reading(journal) as reading:
        reading.expect(**{FIRST: 1})
    assert reading.twin.first[FIRST] == START + timedelta(seconds=2)


def test_an_inner_time_without_a_zone_is_in_exims(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.write(*exim(rejection()))
    twin = Twin()
    source = JournalSource(Grammar(), directory=journal.directory, timezone="<-05>5")
    thread = threading.Thread(target=twin.follow, args=(source,))
    thread.start()
    until(lambda: twin.counts, "it is counted")
    source.stop()
    thread.join()
    assert twin.first[FIRST] == datetime(2026, 11, 22, 22, 7, 21, tzinfo=UTC)


def test_only_exims_entries_count_and_only_those_that_are_the_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.write(
        (rejection(), 1, "sshd"),
        (rejection(), 2, "exim4"),
        ("x " + rejection(), 3, "exim"),
        (rejection() + " x", 3, "exim"),
    )
    with Reading(journal) as reading:
        reading.expect(**{FIRST: 1})


def test_an_exim_under_another_name_counts_when_it_is_told(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.write((rejection(), 1, "mx1"), (rejection(), 2, "mx2"), (rejection(), 3, "exim"))
    twin = Twin()
    source = JournalSource(Grammar(), directory=journal.directory, name="mx1")
    thread = threading.Thread(target=twin.follow, args=(source,))
    thread.start()
    until(lambda: twin.counts.total() == 2, "both are counted")
    source.stop()
    thread.join()
    assert twin.taken() == {FIRST: 2}


def test_an_entry_that_syslog_split_is_joined_across_other_processes_entries(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    whole, other = rejection(), rejection(fingerprint(2))
    journal.write((f"[1/2] {whole[:70]}", 7, "exim"), (f"[1/3] {other[:9]}", 8, "exim"))
    journal.write((f"[2/2] {whole[70:]}", 7, "exim"), (f"[2/3] {other[9:30]}", 8, "exim"))
    journal.write((f"[3/3] {other[30:]}", 8, "exim"))
    with Reading(journal) as reading:
        reading.expect(**{FIRST: 1, "_" + fingerprint(2): 1})


@pytest.mark.parametrize(
    "parts",
    [
        ["[2/2] " + rejection()],
        ["[1/2] x", "[2/2] " + rejection()],
        ["[1\\2] " + rejection(), "[2/2]  Suggested action: none"],
        ["[1/2] " + rejection()[:50], "[1/2] " + rejection()[:50], "[3/3] " + rejection()[50:]],
    ],
)
def test_a_part_of_an_entry_is_no_entry(parts: list[str], tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.write(*exim(*parts), *exim(rejection(fingerprint(2)), pid=9))
    with Reading(journal) as reading:
        reading.expect(**{fingerprint(2): 1})


def test_entries_are_counted_as_they_come_and_in_files_that_come(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    with Reading(journal) as reading:
        journal.write(*exim(rejection()))
        reading.expect(**{FIRST: 1})
        journal.write(*exim(rejection(), rejection()))
        reading.expect(**{FIRST: 3})
        journal.write(*exim(rejection()), file="later")
        reading.expect(**{FIRST: 4})
        assert reading.source.progress().problem is None
        assert reading.source.progress().lines == 4


def test_a_restart_counts_what_came_meanwhile_once_even_an_entry_half_read(tmp_path: Path) -> None:
    journal, twin = Journal(tmp_path / "journal"), Twin()
    whole = rejection(fingerprint(2))
    journal.write(*exim(rejection()), (f"[1/2] {whole[:70]}", 7, "exim"))
    for times in range(1, 4):
        with Reading(journal, twin) as reading:
            reading.expect(**{FIRST: times})
        journal.write(*exim(rejection()))
    journal.write((f"[2/2] {whole[70:]}", 7, "exim"))
    with Reading(journal, twin) as reading:
        reading.expect(**{FIRST: 4, "_" + fingerprint(2): 1})


def test_a_cursor_whose_entry_is_gone_goes_on_with_the_next_one(tmp_path: Path) -> None:
    journal, twin = Journal(tmp_path / "journal"), Twin()
    journal.write(*exim(rejection()), file="old")
    with Reading(journal, twin) as reading:
        reading.expect(**{FIRST: 1})
    journal.write(*exim(rejection(), rejection()), file="new")
    (journal.directory / "old.journal").unlink()
    with Reading(journal, twin) as reading:
        reading.expect(**{FIRST: 3})


def test_a_position_of_another_version_is_refused_with_what_to_do() -> None:
    with pytest.raises(EximcertdError, match="cannot be understood"):
        JournalSource(Grammar(), json.dumps({"version": 99, "cursor": "s=1"}))


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(under_test, "importlib", type("Missing", (), {"import_module": staticmethod(missing)}))
    with pytest.raises(EximcertdError, match="python3-systemd"):
        JournalSource(Grammar())
    assert importlib.import_module("systemd.journal")


@pytest.mark.parametrize("readable", [True, False])
def test_a_journal_that_eximcertd_may_not_read_is_told_with_the_group_that_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readable: bool
) -> None:
    (tmp_path / "journal").mkdir()
    monkeypatch.setattr(under_test, "_PLACES", (tmp_path / "none", tmp_path / ("journal" if readable else "neither")))
    source = JournalSource(Grammar())
    reading = threading.Thread(target=lambda: list(source.batches()))
    reading.start()
    until(lambda: source.progress().beat, "it has read")
    progress = source.progress()
    source.stop()
    reading.join(10)
    assert (progress.path, progress.position, progress.behind_bytes) == ("journal", 0, 0)
    assert (progress.problem is None) is readable
    if progress.problem is not None:
        assert progress.problem.endswith("there is none, or eximcertd is not in the group systemd-journal")


@pytest.mark.parametrize(
    ("field", "number"),
    [
        (b"7", 7),
        ([b"7", b"8"], 7),
        (b"", 0),
        ([], 0),
        (None, 0),
        (b"7x", 0),
        ("7", 0),
        (b"9" * 10, 9999999999),
        (b"9" * 11, 0),
    ],
)
def test_a_process_id_is_a_number_of_at_most_ten_digits(field: object, number: int) -> None:
    assert under_test._number(field) == number
