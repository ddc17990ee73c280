"""When the log is looked at: at events, without events, and where events cannot be had or lie.

The slow look is half a minute away wherever events are to be what counts.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from lab.following import counted, follow
from lab.log import FIRST, Following, Log, fingerprint
from lab.wait import until

from eximcertd.log.log_watcher import LogWatcher, is_remote

SLOW = 30.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "log").mkdir()
    return tmp_path / "log" / "mainlog"


def test_lines_are_counted_at_events_one_by_one_and_after_a_storm_of_them(path: Path) -> None:
    log = Log(path)
    with Following(path, floor=SLOW) as following:
        for _ in range(10):
            log.reject()
            following.expect(log.written, limit=5)
        for number in range(3000):
            log.noise(4)
            log.reject(fingerprint(number % 7))
        following.expect(log.written, limit=5)
        for _ in range(5):
            log.reject()
            following.expect(log.written, limit=5)
        assert following.follower.progress().problem is None


def test_while_the_log_grows_without_a_pause_nothing_is_watched_and_afterwards_the_log_is_again(path: Path) -> None:
    def watches() -> int:
        found = 0
        for link in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                found += "inotify" in str(link.readlink())
        return found

    log = Log(path)
    stop = threading.Event()

    def grow() -> None:
        while not stop.wait(0.001):
            log.noise(5)

    growing = threading.Thread(target=grow)
    until(lambda: not watches(), "no other test watches any more")
    with Following(path, floor=SLOW):
        until(watches, "the log is watched")
        growing.start()
        try:
            until(lambda: not watches(), "nothing is watched")
        finally:
            stop.set()
            growing.join()
        until(watches, "the log is watched again")
    until(lambda: not watches(), "it watches no more")


def test_events_of_other_files_do_not_keep_it_from_the_log(path: Path) -> None:
    log = Log(path)
    other = path.with_name("mainlog.lock")
    stop = threading.Event()

    def storm() -> None:
        while not stop.is_set():
            other.write_text("x")
            other.unlink()

    noise = threading.Thread(target=storm)
    with Following(path, floor=SLOW) as following:
        noise.start()
        for _ in range(5):
            log.reject()
            following.expect(log.written, limit=5)
        stop.set()
        noise.join()
        log.reject()
        following.expect(log.written, limit=5)


def test_a_name_that_is_not_the_logs_ends_no_wait(path: Path) -> None:
    heard: list[bytes] = []

    def concerns(name: bytes) -> bool:
        heard.append(name)
        return name == b"mainlog"

    watcher = LogWatcher(threading.Event(), SLOW, concerns)
    watcher.wait([path.parent], found=False, expected=False)  # the watch is set up
    waiting = threading.Thread(target=watcher.wait, args=([path.parent],), kwargs={"found": False, "expected": False})
    waiting.start()
    path.with_name("mainlog.lock").touch()
    until(lambda: b"mainlog.lock" in heard, "the other file is heard")
    assert waiting.is_alive()
    path.touch()
    until(lambda: not waiting.is_alive(), "the log's file ends the wait")
    watcher.close()


def test_a_directory_that_is_removed_just_after_a_look_found_something_is_watched_again(path: Path) -> None:
    watcher = LogWatcher(threading.Event(), SLOW, lambda name: name == b"mainlog")

    def wait(*, found: bool = False) -> None:
        waiting = threading.Thread(
            target=watcher.wait, args=([path.parent],), kwargs={"found": found, "expected": False}
        )
        waiting.start()
        until(lambda: not waiting.is_alive(), "the wait ends")

    wait()  # the watch is set up
    path.parent.rmdir()
    wait(found=True)
    path.parent.mkdir()
    wait()
    path.touch()
    wait()
    watcher.close()


def test_a_file_moved_out_of_the_directory_holds_nothing_up_for_long(path: Path) -> None:
    log = Log(path)
    with Following(path, floor=SLOW) as following:
        for number in range(4):
            log.reject()
            following.expect(log.written, limit=5)
            path.rename(path.parent.with_name(f"away.{number}"))
            log.close()


def test_a_linked_directory_is_heard(path: Path) -> None:
    link = path.parent.with_name("link")
    link.symlink_to(path.parent.name)
    log = Log(path)
    with Following(link / "mainlog", floor=SLOW) as following:
        log.reject()
        following.expect(log.written, limit=5)


def test_the_directory_that_a_linked_log_lies_in_is_heard(path: Path) -> None:
    elsewhere = path.parent.with_name("elsewhere")
    elsewhere.mkdir()
    path.symlink_to(elsewhere / "today")
    log = Log(path)
    with Following(path, floor=SLOW) as following:
        for _ in range(3):
            log.reject()
            following.expect(log.written, limit=5)


def test_a_directory_that_is_removed_and_made_again_is_heard_again(path: Path) -> None:
    log = Log(path)
    with Following(path, floor=SLOW) as following:
        log.reject()
        following.expect(log.written, limit=5)
        for number in range(3):
            shutil.rmtree(path.parent)
            log.close()
            path.parent.mkdir()
            log.reject(fingerprint(number))
            following.expect(log.written, limit=5)


def test_a_directory_that_is_not_there_is_told_and_waited_for(path: Path) -> None:
    path.parent.rmdir()
    with Following(path, floor=SLOW) as following:
        until(lambda: following.follower.progress().problem, "the problem is told")
        path.parent.mkdir()
        log = Log(path)
        log.reject()
        following.expect(log.written, limit=5)


def test_a_watch_that_hears_nothing_is_noticed_and_made_up_for(path: Path) -> None:
    other = path.parent.with_name("other")
    log = Log(other)
    log.noise()
    path.hardlink_to(other)  # written to under the other name: nobody tells this directory
    with Following(path, floor=0.3) as following:

        def told() -> str | None:
            log.reject(fingerprint(1))  # as often as it takes: a busy machine may look twice between two lines
            following.expect(log.written, limit=30)
            with contextlib.suppress(AssertionError):  # a quiet while: only then it listens, and is deaf
                until(lambda: following.follower.progress().problem, "the problem is told", limit=1)
            return following.follower.progress().problem

        problem = until(told, "the problem is told", limit=30)
        assert problem is not None
        assert "not reported" in problem
        assert str(path.parent) in problem


def test_a_queue_of_events_that_overflows_loses_no_line(path: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    ledger.mkdir()
    log = Log(path)
    log.reject()
    process = multiprocessing.get_context("forkserver").Process(target=follow, args=(str(path), str(ledger), SLOW))
    process.start()
    until(lambda: counted(ledger) == +log.written, "the follower has begun")
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    for number in range(most):
        path.with_name(f"x{number}").symlink_to("y")  # an event each
    log.reject(times=3)
    path.rename(path.with_name("mainlog.1"))
    log.close()
    log.reject(fingerprint(2), times=3)
    os.kill(process.pid, signal.SIGCONT)
    until(lambda: counted(ledger) == +log.written, "all is counted")
    log.reject()
    until(lambda: counted(ledger) == +log.written, "what came later is counted")
    process.kill()
    process.join()


REFUSED = """
import sys
from pathlib import Path
from lab.log import Following, Log
from lab.wait import until
path = Path(sys.argv[1])
log = Log(path)
log.noise()
with Following(path, floor=30) as following:
    problem = until(lambda: following.follower.progress().problem, "the problem is told")
    for _ in range(3):
        log.reject()
        following.expect(log.written)
print(problem)
"""


def test_where_inotify_is_refused_it_goes_on_by_looking_and_says_so(path: Path) -> None:
    tests = Path(__file__).parents[1]
    limited = 'echo 0 > /proc/sys/user/max_inotify_instances && exec "$@"'
    done = subprocess.run(
        [
            "/usr/bin/unshare", "--user", "--map-root-user", "/bin/sh", "-c", limited, "sh",
            sys.executable, "-c", REFUSED, str(path),
        ],
        check=False, capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": f"{tests.parent}:{tests}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "max_user_instances" in done.stdout or "cannot be watched" in done.stdout
    assert "every 0.25 s" in done.stdout


@pytest.mark.parametrize(
    ("kind", "remote"),
    [("nfs4", True), ("cifs", True), ("fuse.sshfs", True), ("9p", True), ("ext4", False), ("tmpfs", False)],
)
def test_a_network_file_system_is_told_by_the_table_of_mounts(kind: str, remote: bool, tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    table = (
        "21 1 0:0 / /proc rw - proc proc rw\n"
        f"36 35 {os.major(device)}:{os.minor(device)} / /mnt\\040x rw,noatime master:1 - {kind} source rw\n"
        "37 35 0:99 / /other rw - nfs4 server:/ rw\n"
    )
    assert is_remote(tmp_path, table) is remote


def test_the_machines_own_table_of_mounts_is_understood() -> None:
    assert is_remote(Path("/proc")) is False
    assert is_remote(Path("/nonexistent")) is False


def test_stopping_ends_every_wait_at_once(path: Path) -> None:
    with Following(path, floor=SLOW) as following:
        log = Log(path)
        log.reject(FIRST)
        following.expect(log.written)
