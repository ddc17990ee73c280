"""Reading old logs: each attempt is added once, whatever was scanned or followed before."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import shutil
import subprocess
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from lab.log import FIRST, Log, Looking, fingerprint

from eximcertd.errors import EximcertdError
from eximcertd.log import backlog
from eximcertd.log.backlog import Backlog
from eximcertd.log.cursor import FileCursor, from_json
from eximcertd.log.line import Grammar
from eximcertd.settings import DEFAULT_MESSAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path


class Scans:
    """What scans have added, and the segments that the ledger would keep."""

    def __init__(self, followed: Iterable[FileCursor] = ()) -> None:
        self.added: Counter[str] = Counter()
        self.kept: dict[str, FileCursor] = {cursor.key: cursor for cursor in followed}
        self.portions = 0

    def scan(self, path: Path, *, stop_after: int = 1 << 30) -> int:
        """Scan a file; return how many attempts were added. stop_after: killed after so many portions."""
        before = self.added.total()
        for portion in Backlog(Grammar(), UTC).read(str(path), list(self.kept.values())):
            assert 0 <= portion.read <= portion.size
            if portion.cursor is None:
                assert not portion.sightings
                continue
            self.kept[portion.cursor.key] = from_json(portion.cursor.to_json())
            for sighting in portion.sightings:
                self.added[sighting.fingerprint] += sighting.attempts
            self.portions += 1
            if self.portions >= stop_after:
                break
        return self.added.total() - before


@pytest.fixture
def log(tmp_path: Path) -> Log:
    (tmp_path / "log").mkdir()
    log = Log(tmp_path / "log" / "mainlog")
    for number in range(40):
        log.noise(number % 5)
        log.reject(fingerprint(number % 7))
    return log


PACK: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gz": gzip.compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
}
packings = pytest.mark.parametrize("packing", sorted(PACK))


def packed(path: Path, packing: str) -> Path:
    copy = path.parent.with_name(f"copy.{packing}")
    copy.write_bytes(PACK[packing](path.read_bytes()))
    return copy


def test_a_line_without_a_time_is_of_the_files_last_change(tmp_path: Path) -> None:
    path, changed = tmp_path / "mainlog.1", datetime(2026, 11, 22, 17, 3, 3, tzinfo=UTC)
    path.write_text(f"{DEFAULT_MESSAGE} {FIRST}\n")
    os.utime(path, (0, changed.timestamp()))
    found = [one for portion in Backlog(Grammar(), UTC).read(str(path), []) for one in portion.sightings]
    assert [one.first for one in found] == [changed.timestamp() * 1000]


@packings
def test_a_file_is_added_whole_and_once(packing: str, log: Log) -> None:
    scans, copy = Scans(), packed(log.path, packing)
    assert scans.scan(copy) == 40
    assert scans.added == log.written
    assert scans.scan(copy) == 0


@packings
def test_a_copy_of_what_was_scanned_adds_nothing_however_it_is_packed(packing: str, log: Log) -> None:
    scans = Scans()
    scans.scan(log.path)
    assert scans.scan(packed(log.path, packing)) == 0


@packings
def test_of_a_file_that_has_grown_the_rest_is_added(packing: str, log: Log) -> None:
    scans = Scans()
    scans.scan(packed(log.path, packing))
    log.reject(times=3)
    assert scans.scan(packed(log.path, packing)) == 3
    assert scans.added == log.written


@packings
def test_a_shorter_copy_of_what_was_scanned_adds_nothing(packing: str, log: Log) -> None:
    scans = Scans()
    earlier = packed(log.path, packing)
    log.reject(times=3)
    scans.scan(log.path)
    assert scans.scan(earlier) == 0


@packings
def test_what_was_followed_adds_nothing_live_or_rotated_or_packed(packing: str, log: Log) -> None:
    looking = Looking(log.path)
    looking.look()
    log.reject(times=3)
    assert Scans(looking.twin.cursors()).scan(log.path) == 0, "lines to come are the follower's as well"
    log.path.rename(log.path.with_name("mainlog.1"))
    log.close()
    log.reject(times=3)
    looking.look()
    followed = looking.twin.cursors()
    assert Scans(followed).scan(log.path) == 0
    assert Scans(followed).scan(packed(log.path.with_name("mainlog.1"), packing)) == 0
    looking.kill()


@packings
def test_what_lay_there_before_the_first_start_is_added_once_and_its_late_lines_are_the_followers(
    packing: str, log: Log
) -> None:
    old = log.path.rename(log.path.with_name("mainlog.1"))
    before = log.written.copy()
    looking = Looking(log.path)
    looking.look()
    log.reject(FIRST, times=2)
    looking.look()
    assert looking.twin.taken() == {FIRST: 2}
    scans = Scans(looking.twin.cursors())
    assert scans.scan(packed(old, packing)) == before.total()
    assert scans.added == before
    assert scans.scan(old) == 0
    looking.kill()


@pytest.mark.parametrize("end", [-1, 1 << 63, "1", None])
def test_a_segment_that_no_file_can_have_is_refused(end: object) -> None:
    known = json.loads(FileCursor().to_json())
    assert from_json({**known, "end": (1 << 63) - 1}).end == (1 << 63) - 1
    with pytest.raises(ValueError, match="a log file"):
        from_json({**known, "end": end})


@pytest.mark.parametrize("before", [b"", b"x" * 20_000], ids=["empty", "with the beginning of a huge entry"])
def test_late_lines_to_a_file_that_was_rotated_before_the_first_start_count(tmp_path: Path, before: bytes) -> None:
    log = Log(tmp_path / "mainlog")
    log.raw(before)
    log.path.rename(log.path.with_name("mainlog.1"))
    looking = Looking(log.path)
    looking.look()
    if before:
        log.raw(f"{log.stamp()} {DEFAULT_MESSAGE} {fingerprint(2)}\n".encode())  # the end of that entry
    log.reject()
    looking.look()
    assert looking.twin.taken() == log.written
    looking.kill()


def test_a_file_is_handed_over_in_portions_and_a_scan_that_is_killed_goes_on_where_it_was(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "MOST_FINGERPRINTS", 50)
    for number in range(3000):
        log.reject(fingerprint(number))
        log.raw(b"x" * 1000 + b"\n")
    scans = Scans()
    scans.scan(log.path, stop_after=3)
    assert 0 < scans.added.total() < log.written.total()
    scans.scan(log.path)
    assert scans.portions > 3
    assert scans.added == log.written


def test_half_an_entry_at_the_end_is_left_for_later_and_huge_ones_are_passed_over(log: Log) -> None:
    scans = Scans()
    entry = log.stamp().encode() + b" Attempt to relay from a certificate which has not been explicitly allowed: "
    log.raw(b"x" * (9 << 20) + b"\n")
    log.reject()
    log.raw(entry)
    assert scans.scan(log.path) == 41
    log.raw(FIRST.encode() + b"\n")
    log.written[FIRST] += 1
    assert scans.scan(log.path) == 1
    assert scans.added == log.written


def test_a_file_that_somebody_writes_to_meanwhile_is_read_all_the_same(log: Log) -> None:
    for _ in range(120):
        log.raw((b"y" * 4999 + b"\n") * 40)
        log.reject()
    log.close()
    reading = Backlog(Grammar(), UTC).read(str(log.path), [])
    first = next(reading)
    assert first.size > 20 << 20
    cut = subprocess.Popen(["/bin/sh", "-c", ': > "$1"', "sh", str(log.path)])
    assert cut.wait(20) == 0
    found = sum(sighting.attempts for portion in (first, *reading) for sighting in portion.sightings)
    assert 0 < found < log.written.total()


def test_of_a_packed_file_that_is_cut_off_what_it_holds_is_added_and_the_rest_told(log: Log) -> None:
    scans = Scans()
    for _ in range(3000):
        log.raw(os.urandom(40).hex().encode() + b"\n")
    log.reject(FIRST)
    whole = gzip.compress(log.path.read_bytes())
    cut = log.path.with_name("cut.gz")
    cut.write_bytes(whole[: len(whole) - 2000])
    with pytest.raises(EximcertdError, match="cut off"):
        scans.scan(cut)
    assert scans.added.total() == 40
    cut.write_bytes(whole)
    assert scans.scan(cut) == 1


@pytest.mark.parametrize("what", ["nothing", "directory", "fifo", "loop"])
def test_what_cannot_be_read_is_told_by_name(what: str, tmp_path: Path) -> None:
    path = tmp_path / "odd"
    if what == "directory":
        path.mkdir()
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "loop":
        path.symlink_to(path)
    with pytest.raises(EximcertdError, match="odd: cannot be read"):
        Scans().scan(path)


def test_two_files_are_two_even_if_one_is_a_copy_that_went_on_otherwise(log: Log) -> None:
    scans, other = Scans(), log.path.with_name("other")
    shutil.copy(log.path, other)
    log.reject(fingerprint(90))
    fork = Log(other)
    fork.reject(fingerprint(91), times=2)
    assert scans.scan(log.path) == 41
    assert scans.scan(other) == 42, "what differs before the end that was counted is another log"
