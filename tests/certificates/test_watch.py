"""The index keeps up with its directory while running."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from lab.wait import until

from eximcertd.certificates.certificate_watcher import CertificateWatcher
from eximcertd.certificates.directory_watcher import DirectoryWatcher
from eximcertd.certificates.index import CertificateChanges, Index

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from lab.certificates import Identity


class Watched:
    """An index under watch, and all that was told of it."""

    def __init__(self, directory: Path, cache: Path | None, rescan: float) -> None:
        self.index = Index(directory, cache)
        self.told: list[CertificateChanges] = []
        self.watch = CertificateWatcher(self.index, self.told.append, rescan=rescan)

    def has(self, identity: Identity) -> None:
        until(lambda: identity.fingerprint in self.index, f"{identity.name} is in the index", pause=0.001)

    def lost(self, identity: Identity) -> None:
        until(lambda: identity.fingerprint not in self.index, f"{identity.name} has vanished")


@contextmanager
def watched(directory: Path, cache: Path | None = None, rescan: float = 300.0) -> Iterator[Watched]:
    """Watch a directory until the first look is told."""
    it = Watched(directory, cache, rescan)
    it.watch.start()
    try:
        until(lambda: it.told, "the first look is told")
        yield it
    finally:
        it.watch.stop()


def test_what_is_there_is_told_first_and_what_comes_when_it_comes(certs: Path, some: list[Identity]) -> None:
    (certs / "0.pem").write_text(some[0].pem)
    with watched(certs) as it:
        assert set(it.told[0].appeared) == {some[0].fingerprint}
        assert it.watch.problem is None
        for number, one in enumerate(some[1:], 1):
            (certs / f"{number}.pem").write_text(one.pem)
            it.has(one)
        until(lambda: len(it.told) == 5, "each is told")
        assert set(it.told[4].appeared) == {some[4].fingerprint}


def test_an_empty_directory_is_told_too(certs: Path) -> None:
    with watched(certs) as it:
        assert not it.told[0]


def test_renamed_linked_and_rewritten_files_are_seen(certs: Path, tmp_path: Path, some: list[Identity]) -> None:
    with watched(certs) as it:
        (certs / ".new").write_text("")
        (tmp_path / "elsewhere").write_text(some[0].pem)
        (tmp_path / "elsewhere").rename(certs / "moved-in.pem")
        it.has(some[0])
        (tmp_path / "target").write_text(some[1].pem)
        (certs / "link.pem").symlink_to(tmp_path / "target")
        it.has(some[1])
        with (certs / "moved-in.pem").open("a") as stream:
            stream.write(some[2].pem)
        it.has(some[2])
        (certs / "moved-in.pem").rename(certs / "renamed.pem")
        until(lambda: it.index.files(some[0].fingerprint)[-1:] == [certs / "renamed.pem"], "the new name is known")


def test_a_removed_file_vanishes_after_the_grace_and_is_told_once(certs: Path, some: list[Identity]) -> None:
    (certs / "0.pem").write_text(some[0].pem)
    with watched(certs) as it:
        (certs / "0.pem").unlink()
        it.lost(some[0])
        until(lambda: len(it.told) == 2, "it is told")
        assert set(it.told[1].vanished) == {some[0].fingerprint}


def test_a_rewrite_of_all_links_makes_nothing_vanish_at_any_moment(
    certs: Path, tmp_path: Path, some: list[Identity]
) -> None:
    (tmp_path / "target").write_text(some[0].pem)
    names = [certs / f"{number:03}.pem" for number in range(300)]

    def link_all() -> None:
        for name in names:
            name.symlink_to(tmp_path / "target")

    link_all()
    with watched(certs) as it:
        seen_absent, ended = threading.Event(), threading.Event()

        def poll() -> None:
            while not ended.wait(0.0002):
                if some[0].fingerprint not in it.index:
                    seen_absent.set()

        poller = threading.Thread(target=poll)
        poller.start()
        for name in names:
            name.unlink()
        (certs / "between.pem").write_text(some[1].pem)
        it.has(some[1])  # so a look fell between removal and remaking
        link_all()
        (certs / "behind.pem").write_text(some[2].pem)
        it.has(some[2])
        until(lambda: not it.index.unsettled(), "every link is found again")
        ended.set()
        poller.join()
        assert not seen_absent.is_set()
        assert not any(changes.vanished for changes in it.told)


def test_a_directory_that_is_removed_and_made_again_is_watched_again(certs: Path, some: list[Identity]) -> None:
    with watched(certs) as it:
        certs.rmdir()
        until(lambda: it.index.problem, "its absence is a problem")
        certs.mkdir()
        (certs / "0.pem").write_text(some[0].pem)
        it.has(some[0])
        until(lambda: it.watch.problem is None, "it is watched again")
        assert it.index.problem is None
        (certs / "1.pem").write_text(some[1].pem)
        it.has(some[1])


def test_a_directory_that_appears_after_the_start_is_watched(certs: Path, some: list[Identity]) -> None:
    late = certs / "late"
    with watched(late) as it:
        assert it.index.problem is not None
        late.mkdir()
        (late / "0.pem").write_text(some[0].pem)
        it.has(some[0])


def test_a_link_to_the_directory_is_watched_behind_it(certs: Path, tmp_path: Path, some: list[Identity]) -> None:
    (tmp_path / "link").symlink_to(certs)
    with watched(tmp_path / "link") as it:
        (certs / "0.pem").write_text(some[0].pem)
        it.has(some[0])
        assert it.index.files(some[0].fingerprint) == [tmp_path / "link" / "0.pem"]


def test_a_link_that_is_pointed_elsewhere_is_followed_at_the_next_look(
    certs: Path, tmp_path: Path, some: list[Identity]
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "0.pem").write_text(some[0].pem)
    (tmp_path / "link").symlink_to(certs)
    with watched(tmp_path / "link") as it:
        (tmp_path / "link").unlink()
        (tmp_path / "link").symlink_to(tmp_path / "other")
        it.watch.look()
        it.has(some[0])
        (tmp_path / "other" / "1.pem").write_text(some[1].pem)
        it.has(some[1])


def test_a_change_that_no_event_tells_is_found_by_the_slow_look(
    certs: Path, tmp_path: Path, some: list[Identity]
) -> None:
    (tmp_path / "target").write_text("not yet")
    (certs / "0.pem").symlink_to(tmp_path / "target")
    with watched(certs, rescan=0.05) as it:
        (tmp_path / "target").write_text(some[0].pem)
        it.has(some[0])


def test_a_burst_of_files_is_found_whole(certs: Path, tmp_path: Path, alice: Identity) -> None:
    at = alice.der.index(b"\x02\x14") + 2
    certificates = [alice.der[:at] + number.to_bytes(20, "big") + alice.der[at + 20 :] for number in range(3000)]
    with watched(certs) as it:
        for number, der in enumerate(certificates):
            (certs / f"{number}.der").write_bytes(der)
        until(lambda: len(it.index) == len(certificates), "all are found")


def test_our_own_reading_is_not_heard(certs: Path, alice: Identity) -> None:
    for number in range(50):
        (certs / f"{number}.pem").write_text(alice.pem)
    heard: list[bytes] = []

    def hear(names: Iterable[bytes] | None) -> None:
        heard.extend(names or [b"anything"])

    ears = DirectoryWatcher(certs, hear)
    ears.open()
    try:
        Index(certs).refresh()
        (certs / "marker").touch()
        until(lambda: b"marker" in heard, "the marker is heard")
    finally:
        ears.close()
    assert set(heard) == {b"marker"}


def test_a_directory_that_is_made_again_under_the_same_inode_is_watched_again(tmp_path: Path) -> None:
    directory = tmp_path / "again"
    heard: set[bytes | None] = set()
    watcher = DirectoryWatcher(directory, lambda names: heard.update([None] if names is None else names))
    directory.mkdir()
    watcher.open()
    for number in range(20):  # for a moment, the thread that watched the old one still runs
        directory.rmdir()
        directory.mkdir()
        until(lambda: None in heard, "its removal is heard", pause=0)
        heard.clear()
        watcher.open()
        (directory / "new").touch()
        until(lambda: b"new" in heard, f"what comes into it is heard at try {number}")
        (directory / "new").unlink()
        heard.discard(None)
    watcher.close()


def test_a_restart_begins_with_what_the_cache_kept(certs: Path, tmp_path: Path, some: list[Identity]) -> None:
    (certs / "0.pem").write_text(some[0].pem)
    cache = tmp_path / "c.sqlite"
    with watched(certs, cache):
        pass
    (certs / "1.pem").write_text(some[1].pem)
    with watched(certs, cache) as it:
        assert set(it.told[0].appeared) == {some[1].fingerprint}
        assert some[0].fingerprint in it.index


def test_stopping_ends_every_thread(certs: Path) -> None:
    before = set(threading.enumerate())
    with watched(certs):
        assert set(threading.enumerate()) > before
    until(lambda: set(threading.enumerate()) <= before, "they have ended")


def test_a_watch_that_never_began_can_be_stopped(certs: Path) -> None:
    CertificateWatcher(Index(certs), lambda _: None).stop()


_WITHOUT_INOTIFY = """
import sys, time
from pathlib import Path
from eximcertd.certificates import certificate_watcher
from eximcertd.certificates.index import Index
certificate_watcher.DEAF_RESCAN = 0.05
directory, source = Path(sys.argv[1]), Path(sys.argv[2])
index, told = Index(directory), []
it = certificate_watcher.CertificateWatcher(index, told.append)
it.start()
while not told: time.sleep(0.01)
print(it.problem)
(directory / "a.pem").write_bytes(source.read_bytes())
while not len(index): time.sleep(0.01)
print("found")
it.stop()
"""


def test_where_inotify_is_refused_it_looks_now_and_then_and_says_so(certs: Path, alice: Identity) -> None:
    limit = 'echo 0 >/proc/sys/user/max_inotify_instances && exec "$@"'
    wrap = ["unshare", "--user", "--map-root-user", "sh", "-c", limit, "sh"]
    if subprocess.run([*wrap, "true"], capture_output=True, check=False).returncode:
        pytest.skip("user namespaces are not to be had here, so inotify cannot be refused for one process")
    program = [sys.executable, "-c", _WITHOUT_INOTIFY, str(certs), str(alice.certificate)]
    said = subprocess.run([*wrap, *program], capture_output=True, text=True, check=False, timeout=60)
    assert said.returncode == 0, said.stderr
    problem, found = said.stdout.splitlines()
    assert problem.startswith(f"{certs}: cannot be watched: ")
    assert "max_user_instances" in problem
    assert found == "found"


def test_names_that_are_no_utf_8_are_heard(certs: Path, some: list[Identity]) -> None:
    with watched(certs) as it:
        (certs / os.fsdecode(b"caf\xe9.pem")).write_text(some[0].pem)
        it.has(some[0])
