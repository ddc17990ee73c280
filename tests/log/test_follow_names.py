"""Which file is the log, when its name holds a date; and what is not read under its name."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab.log import FIRST, Following, Log, Looking, Twin, fingerprint
from lab.wait import until

from eximcertd.errors import EximcertdError
from eximcertd.log.directory import Names, open_regular
from eximcertd.log.line import DEFAULT_MESSAGE, Grammar
from eximcertd.log.tailer import Tailer

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "log").mkdir()
    return tmp_path / "log" / "mainlog"


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(("template", "names"), [
    ("mainlog-%D", ["mainlog-20261130", "mainlog-20261201", "mainlog-20261202"]),
    ("exim_main.%M.log", ["exim_main.202611.log", "exim_main.202612.log", "exim_main.202701.log"]),
])  # fmt: skip
def test_a_dated_log_is_followed_over_midnight_with_late_lines_to_yesterdays(
    template: str, names: list[str], restarted: bool, path: Path
) -> None:
    looking = Looking(path.with_name(template))
    path.with_name("mainlog-latest").touch()
    path.with_name("mainlog-2026113").touch()
    looking.look()
    logs = [Log(path.with_name(names[0]))]
    for name in [*names[1:], ""]:
        logs[-1].reject(times=3)
        looking.look()
        assert looking.twin.taken() == logs[0].written
        if name:
            logs.append(Log(path.with_name(name), logs[0].written, days=len(logs)))
            logs[-1].reject(fingerprint(2))
            logs[-2].reject(fingerprint(3), times=2)
        if restarted:
            looking.kill()
        looking.look()
        assert looking.twin.taken() == logs[0].written
    looking.kill()


def test_dated_logs_that_were_written_while_down_are_all_read(path: Path) -> None:
    looking = Looking(path.with_name("mainlog-%D"))
    log = Log(path.with_name("mainlog-20261130"))
    log.reject()
    looking.look()
    looking.kill()
    log.reject()
    for day in range(1, 5):
        Log(path.with_name(f"mainlog-2026120{day}"), log.written, days=day).reject(fingerprint(day), times=day)
    looking.look()
    assert looking.twin.taken() == log.written
    looking.kill()


def test_at_the_very_first_start_only_todays_dated_log_is_read(path: Path) -> None:
    old, new = Log(path.with_name("mainlog-20261130")), Log(path.with_name("mainlog-20261201"))
    old.reject()
    new.reject(fingerprint(2))
    looking = Looking(path.with_name("mainlog-%D"))
    looking.look()
    assert looking.twin.taken() == new.written
    looking.kill()


@pytest.mark.parametrize(
    ("template", "siblings", "others"),
    [
        (
            "mainlog",
            ["mainlog.1", "mainlog.2.gz", "mainlog-20261122", "mainlog.01", "mainlog_old"],
            ["mainlog", "rejectlog.1", "mainlog2", "mainlog.1~", "mainlog.swp", "amainlog.1", "_old.mainlog"],
        ),
        ("main.log", ["main.log.1", "main-20261122.log", "main-20261122.log.gz"], ["maintenance.log", "main.txt"]),
        ("mainlog-%D", ["mainlog-20261122", "mainlog-20261122.gz"], ["mainlog-2026112", "mainlog-latest"]),
    ],
)
def test_a_name_tells_whether_an_older_part_of_the_log_may_lie_there(
    template: str, siblings: list[str], others: list[str]
) -> None:
    names = Names(Path("/x") / template)
    assert [name for name in siblings + others if names.is_sibling(name)] == siblings


def test_at_the_very_first_start_the_log_is_read_from_its_beginning_and_what_was_rotated_is_not(path: Path) -> None:
    old = Log(path)
    old.reject(fingerprint(2), times=3)
    path.rename(path.with_name("mainlog.1"))
    log = Log(path, days=1)
    log.reject(times=3)
    looking = Looking(path)
    looking.look()
    assert looking.twin.taken() == log.written
    old.reject(fingerprint(3))
    log.written[fingerprint(3)] = 1
    looking.look()
    assert looking.twin.taken() == log.written, "late lines to the rotated file are ours"
    looking.start()
    looking.look()
    assert looking.twin.taken() == log.written
    looking.kill()


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _directory(path: Path) -> None:
    path.mkdir()


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        here = Path.cwd()
        os.chdir(path.parent)
        bound.bind(path.name)
        os.chdir(here)


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize("make", [_fifo, _directory, _device, _socket, _loop])
@pytest.mark.parametrize("name", ["mainlog", "mainlog.1"])
def test_what_is_no_regular_file_is_told_and_waited_out(make: Callable[[Path], None], name: str, path: Path) -> None:
    odd = path.with_name(name)
    make(odd)
    with Following(path) as following:
        if odd == path:
            problem = until(lambda: following.follower.progress().problem, "the problem is told")
            assert problem is not None
            assert str(path) in problem
            odd.rmdir() if odd.is_dir() and not odd.is_symlink() else odd.unlink()
        log = Log(path)
        log.reject(times=3)
        following.expect(log.written)
        until(lambda: following.follower.progress().problem is None, "the problem is gone")


def test_a_fifo_that_takes_a_files_place_while_it_is_opened_is_closed_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system_open, opened = os.open, list[int]()

    def replaced_before(name: Path, flags: int) -> int:
        name.unlink()
        os.mkfifo(name)
        opened.append(system_open(name, flags))
        return opened[-1]

    path.touch()
    monkeypatch.setattr(os, "open", replaced_before)
    with pytest.raises(OSError, match="it is a FIFO"):
        open_regular(path)
    [descriptor] = opened
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_log_that_becomes_a_fifo_and_a_log_again_loses_nothing(path: Path) -> None:
    with Following(path) as following:
        log = Log(path)
        log.reject()
        following.expect(log.written)
        path.unlink()
        log.reject(fingerprint(2))
        os.mkfifo(path)
        following.expect(log.written)
        until(lambda: "FIFO" in (following.follower.progress().problem or ""), "the FIFO is told")
        path.unlink()
        log.close()
        log.reject(fingerprint(3))
        following.expect(log.written)


def test_a_log_that_may_not_be_read_is_told_and_read_once_it_may(path: Path) -> None:
    twin = Twin()
    log = Log(path)
    log.reject()
    path.chmod(0)
    status = path.stat()
    if os.access(path, os.R_OK):  # root may read all: a directory in the way instead
        path.rename(path.with_name("aside"))
        path.mkdir()
    with Following(path, twin) as following:
        until(lambda: following.follower.progress().problem, "the problem is told")
        if path.is_dir():
            path.rmdir()
            path.with_name("aside").rename(path)
        path.chmod(status.st_mode | 0o600)
        following.expect(log.written)


def test_times_without_a_zone_are_in_exims_and_come_out_in_utc(path: Path) -> None:
    log = Log(path)
    log.raw(f"2026-07-01 12:00:00 {DEFAULT_MESSAGE} {FIRST}\n".encode())
    log.raw(f"2026-07-01 12:00:00 +0200 {DEFAULT_MESSAGE} {fingerprint(2)}\n".encode())
    looking = Looking(path, timezone="<-05>5")
    looking.look()
    looking.kill()
    assert looking.twin.first == {
        FIRST: datetime(2026, 7, 1, 17, tzinfo=UTC),
        fingerprint(2): datetime(2026, 7, 1, 10, tzinfo=UTC),
    }


def test_a_line_without_a_time_is_of_now(path: Path) -> None:
    log = Log(path)
    log.raw(f"{DEFAULT_MESSAGE} {FIRST}\n".encode())
    before = datetime.now(UTC)
    looking = Looking(path)
    looking.look()
    looking.kill()
    assert before <= looking.twin.first[FIRST] <= datetime.now(UTC)


@pytest.mark.parametrize("position", ["", "{}", "nonsense", '{"version": 99}', '{"version": 1, "tracks": [{}]}'])
def test_a_position_that_cannot_be_understood_is_refused_and_not_started_over(position: str, path: Path) -> None:
    with pytest.raises(EximcertdError, match="cannot be understood"):
        Tailer(path, Grammar(), position)


def test_another_path_in_the_configuration_is_a_new_start_that_still_knows_a_moved_log(path: Path) -> None:
    log = Log(path)
    log.reject(times=30)
    looking = Looking(path)
    looking.look()
    looking.kill()
    elsewhere = path.parent.with_name("elsewhere")
    path.parent.rename(elsewhere)
    moved = Log(elsewhere / "mainlog", log.written)
    moved.reject(fingerprint(2))
    older = Log(elsewhere / "mainlog.1", days=-1)
    older.reject(fingerprint(3))
    looking.path = elsewhere / "mainlog"
    looking.look()
    looking.kill()
    assert looking.twin.taken() == log.written


def test_progress_tells_where_it_is_and_the_ledger_what_it_follows(path: Path) -> None:
    looking = Looking(path)
    log = Log(path)
    log.reject(times=30)
    looking.look()
    assert looking.follower is not None
    progress = looking.follower.progress()
    assert (progress.path, progress.position, progress.behind_bytes) == (str(path), path.stat().st_size, 0)
    assert progress.last_line_at is not None
    assert progress.lines == path.read_bytes().count(b"\n")
    log.raw(b"half an entry")
    looking.look()
    assert looking.follower.progress().behind_bytes == len(b"half an entry")
    assert looking.follower.progress().lines == progress.lines
    assert looking.follower.progress().beat > progress.beat
    (cursor,) = looking.twin.cursors()
    assert (cursor.start, cursor.end, cursor.live) == (0, progress.position, True)
    log.close()
    path.rename(path.with_name("mainlog.1"))
    looking.look()
    assert [left.end for left in looking.twin.cursors()] == [progress.position]
    looking.kill()


def test_each_batch_tells_how_far_the_file_is_counted_with_it(path: Path) -> None:
    log = Log(path)
    for number in range(9000):
        log.reject(fingerprint(number))
    tailer = Tailer(path, Grammar())
    batches = list(tailer.look())
    tailer.close()
    found = [batch for batch in batches if batch.sightings]
    assert len(found) > 2
    assert all(batch.files for batch in found)
    assert not any(batch.sightings for batch in batches if not batch.files)
