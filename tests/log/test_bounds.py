"""What an odd or a huge file does to the reader: no forged line, no wait for the log itself, and losses are told."""

from __future__ import annotations

import bz2
import gzip
import json
import os
import shutil
from collections import Counter
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab.log import FIRST, Following, Log, Looking, fingerprint
from lab.wait import until

from eximcertd.log.backlog import LENGTH, Backlog
from eximcertd.log.buffer import BUFFER_LENGTH
from eximcertd.log.cursor import TAIL_LENGTH
from eximcertd.log.line import DEFAULT_MESSAGE, Grammar
from eximcertd.log.tailer import MOST_HELD, Tailer

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "log").mkdir()
    return tmp_path / "log" / "mainlog"


def followed(path: Path) -> Counter[str]:
    looking = Looking(path)
    looking.look()
    looking.kill()
    return looking.twin.taken()


def scanned(path: Path) -> Counter[str]:
    counts: Counter[str] = Counter()
    for portion in Backlog(Grammar(), UTC).read(str(path), []):
        for sighting in portion.sightings:
            counts[sighting.fingerprint] += sighting.attempts
    return counts


def scanned_packed(path: Path) -> Counter[str]:
    packed = path.with_name("packed")
    packed.write_bytes(gzip.compress(path.read_bytes(), 1))
    return scanned(packed)


@pytest.mark.parametrize("read", [followed, scanned, scanned_packed])
@pytest.mark.parametrize("pieces", [1, 2, 3])
@pytest.mark.parametrize("less", [0, TAIL_LENGTH])
def test_an_entry_longer_than_the_buffer_exposes_no_forged_line_at_its_pieces_ends(
    read: Callable[[Path], Counter[str]], pieces: int, less: int, path: Path
) -> None:
    log = Log(path)
    forged = f"2026-11-22 17:03:03 {DEFAULT_MESSAGE} {fingerprint(66)}\n".encode()
    length = BUFFER_LENGTH if read is followed else LENGTH
    log.raw(b"x" * (length + (pieces - 1) * (length - less)) + forged)
    log.reject()
    assert read(path) == log.written


def test_a_huge_rotated_file_does_not_keep_the_log_waiting_and_counts_as_behind(path: Path) -> None:
    log = Log(path)
    log.reject()
    with Following(path) as following:
        following.expect(log.written)
        sparse = path.with_name("mainlog.7")
        sparse.touch()
        os.truncate(sparse, 300 << 30)
        until(lambda: following.follower.progress().behind_bytes > 200 << 30, "the huge file is behind")
        assert following.follower.progress().behind_bytes <= 301 << 30, "and counted once"
        for number in range(3):
            log.reject(fingerprint(number))
            following.expect(log.written, limit=5)
        assert following.follower.progress().behind_bytes > 200 << 30
        sparse.unlink()


def test_skipping_what_was_counted_of_a_packed_file_is_progress_and_hears_a_stop(path: Path) -> None:
    log = Log(path)
    log.reject()
    for _ in range(40):
        log.raw((b"2026-11-22 17:03:14 " + b"n" * 4075 + b"\n") * 64)
    looking = Looking(path)
    looking.look()
    looking.kill()
    pieces = path.stat().st_size // BUFFER_LENGTH
    path.with_name("mainlog.2.bz2").write_bytes(bz2.compress(path.read_bytes()))
    path.unlink()
    for stopped in (True, False):
        tailer = Tailer(path, Grammar(), looking.twin.position, list(looking.twin.files.values()))
        before = tailer.progress().beat
        if stopped:
            tailer.stop()
        list(tailer.look())
        assert (tailer.progress().beat - before > pieces) is not stopped
        tailer.close()


def test_a_copy_that_is_not_found_after_a_truncation_is_told(path: Path) -> None:
    log = Log(path)
    log.reject(times=5)
    looking = Looking(path)
    looking.look()
    assert looking.follower is not None
    log.reject(FIRST)
    far = path.parent.parent / "a" / "b" / "c"
    far.mkdir(parents=True)
    shutil.copy(path, far / "mainlog.1")
    os.truncate(path, 0)
    log.reject(times=2)
    looking.look()
    problem = looking.follower.progress().problem
    assert problem is not None
    assert str(path) in problem
    assert "truncated" in problem
    assert looking.twin.taken() == {FIRST: 7}
    looking.start()
    looking.look()
    assert looking.follower.progress().problem is None, "told once"
    looking.kill()


def test_a_log_that_is_gone_after_a_restart_is_told(path: Path) -> None:
    log = Log(path)
    log.reject(times=5)
    looking = Looking(path)
    looking.look()
    looking.kill()
    log.reject(fingerprint(2))
    path.unlink()
    log.close()
    log.reject(times=2)
    looking.look()
    assert looking.follower is not None
    problem = looking.follower.progress().problem
    assert problem is not None
    assert "deleted" in problem
    looking.kill()


def test_after_many_rotations_few_files_are_held_open(path: Path) -> None:
    log = Log(path)
    looking = Looking(path)
    for number in range(2 * MOST_HELD):
        log.reject(fingerprint(number))
        looking.look()
        path.rename(path.with_name(f"mainlog.{number}"))
        log.close()
    looking.look()
    assert looking.twin.taken() == log.written
    links = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert 0 < sum(link.parent == path.parent for link in links) <= MOST_HELD
    looking.kill()


@pytest.mark.parametrize("rotations", [1, 3])
def test_a_log_that_was_moved_or_copied_to_where_it_can_be_found_is_no_loss(rotations: int, path: Path) -> None:
    log = Log(path)
    log.reject(times=5)
    looking = Looking(path)
    looking.look()
    (path.parent / "old").mkdir()
    for number in range(rotations):
        log.reject(fingerprint(number), times=2)
        shutil.copy(path, path.parent / "old" / f"mainlog.{number + 1}")
        os.truncate(path, 0)
        log.reject(times=2)
        looking.look()
        assert looking.follower is not None
        assert looking.follower.progress().problem is None
        assert looking.twin.taken() == log.written
    looking.kill()
    log.reject()
    path.rename(path.parent / "old" / "mainlog.9")
    log.close()
    looking.look()
    assert looking.twin.taken() == log.written
    looking.kill()


def test_a_position_of_the_first_version_is_understood_with_the_files_in_it(path: Path) -> None:
    log = Log(path)
    log.reject(times=30)
    looking = Looking(path)
    looking.look()
    looking.kill()
    (cursor,) = looking.twin.cursors()
    names = (
        "dev", "ino", "mtime", "start", "end", "middle", "first", "distinct", "truncated", "head_length", "head",
        "tail_length", "tail", "packed",
    )  # fmt: skip
    track = {name: getattr(cursor, name) for name in names}
    looking.twin.files.clear()
    looking.twin.position = json.dumps(
        {"version": 1, "path": str(path), "since": "", "horizon": 0, "olddirs": [], "tracks": [track]}
    )
    log.reject(times=2)
    for _ in range(2):
        looking.look()
        assert looking.twin.taken() == log.written
        looking.kill()


@pytest.mark.parametrize(("count", "shown"), [(30_000, 0), (6_000, 1500)], ids=["attempts", "with certificates"])
@pytest.mark.parametrize("killed", [False, True])
def test_in_a_flood_a_client_with_a_certificate_is_counted_first_and_once(
    killed: bool, count: int, shown: int, path: Path
) -> None:
    log = Log(path)
    for number in range(count):
        log.raw(b"x" * shown + b"\n" if shown else b"")
        log.raw(f"{log.stamp()} {DEFAULT_MESSAGE} {fingerprint(number)}\n".encode())
        log.written[fingerprint(number)] += 1
        if number % (count // 3) == 0:
            log.reject(FIRST, pid=number + 1)
    looking = Looking(path, known=lambda one: one == FIRST)
    looking.start()
    assert looking.follower is not None
    for batch in looking.follower.look():
        looking.twin.take(batch)
        if looking.twin.taken()[FIRST] == 3:
            break
    assert looking.twin.taken().total() < count // 3
    assert looking.twin.peers
    log.reject(FIRST, times=2)
    log.raw((b"x" * 999 + b"\n") * 3000)
    log.reject(fingerprint(7), times=2)
    if killed:
        looking.kill()
    looking.look()
    assert looking.twin.taken() == log.written
    looking.kill()
