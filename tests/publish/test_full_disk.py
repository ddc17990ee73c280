"""A disk that is full, or that fails, at any write of a publication: the old list stands, or the new one is live."""

from __future__ import annotations

import hashlib
import subprocess
from typing import TYPE_CHECKING

import pytest
from lab import trace
from lab.exim import EximServer
from lab.publishing import Publisher
from lab.smtp import ask
from lab.wait import until

from eximcertd.fingerprint import Fingerprint
from eximcertd.publication.ask import decode_publish, encode
from eximcertd.publish.request import FIRST_LINE, Answer, Request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.certificates import Identity

OTHER = Fingerprint("AA" * 32)


def asked(*fingerprints: str) -> Request:
    return Request("write list", None, tuple(sorted(map(Fingerprint, fingerprints))))


def accepted(exim: EximServer, identity: Identity) -> bool:
    """Ask Exim; anything but yes or no fails the test. A connection that its own reload refused is made again."""
    until(lambda: not (seen := ask(exim.port, identity)).unreachable and seen, "Exim answers")
    seen = ask(exim.port, identity)
    assert seen.accepted or seen.refused, seen
    return seen.accepted


def written(exim: EximServer, answer: Answer, old: bytes) -> None:
    """Hold what was answered against what stands."""
    stands = exim.macro_file.read_bytes()
    if answer.outcome != "done":
        assert answer.outcome == "failed", answer
        assert "No space left" in answer.message or "Input/output error" in answer.message
        assert stands == old or answer.changed
    if answer.found is not None:
        assert answer.found.digest == hashlib.sha256(stands).hexdigest()


@pytest.mark.parametrize(("error", "at"), [("ENOSPC", "write fchmod renameat openat unlinkat"), ("EIO", "write fsync")])
def test_a_write_that_fails_at_any_call_leaves_one_of_the_two_lists(
    exim: EximServer, alice: Identity, tmp_path: Path, error: str, at: str
) -> None:
    publisher = Publisher(exim, wrapper=trace.recorder(tmp_path / "trace"))
    assert publisher.ask(asked(OTHER, alice.fingerprint)).outcome == "done"
    assert publisher.ask(asked(OTHER)).outcome == "done"
    publisher.wrapper = ()
    calls = [
        call
        for call in trace.read((tmp_path / "trace").read_text().splitlines())
        if call.changes_something() and call.name in at.split() and "write(1," not in call.text
    ]
    assert len(calls) > 5
    stands = False
    for call in calls:
        old = exim.macro_file.read_bytes()
        wanted = asked(OTHER, *([] if stands else [alice.fingerprint]))
        publisher.wrapper = call.strace(f"error={error}")
        done = publisher.raw(encode(FIRST_LINE, wanted))
        publisher.wrapper = ()
        written(exim, decode_publish(done.stdout), old)
        assert publisher.carry(*wanted.fingerprints).outcome == "live", call
        stands = not stands
        assert accepted(exim, alice) == stands, call
    assert exim.alive()


@pytest.fixture
def small(alice: Identity) -> Iterator[tuple[EximServer, Path]]:
    """Put the macro file onto a file system that a few pages fill."""
    with EximServer(trusted=[alice]) as exim:
        disk = exim.directory / "small"
        disk.mkdir()
        subprocess.run(
            ["/usr/bin/mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=24,mode=0755", "small", disk], check=True
        )
        try:
            exim.macro_file = disk / "relay_from_certs"
            exim.allow([])
            exim.configure()
            exim.reload()
            yield exim, disk
        finally:
            subprocess.run(["/usr/bin/umount", "-l", disk], check=True)


@pytest.mark.parametrize("pages", range(4))
@pytest.mark.parametrize("names", [0, 3, 20])
def test_a_disk_with_little_room_left_keeps_the_old_list_or_takes_the_new_one(
    small: tuple[EximServer, Path], alice: Identity, pages: int, names: int
) -> None:
    exim, disk = small
    publisher = Publisher(exim)
    many = [f"{index:064X}" for index in range(60)]  # more than a page
    assert publisher.ask(asked(*many)).outcome == "done"
    old = exim.macro_file.read_bytes()
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(b"x" * 4096)
        except OSError:
            stream.truncate(max(0, stream.tell() - pages * 4096))
    fillers: list[Path] = []
    try:
        while True:
            fillers.append(disk / f"name{len(fillers)}")
            fillers[-1].touch()
    except OSError:
        fillers.pop()
    for path in fillers[:names]:
        path.unlink()
    written(exim, publisher.ask(asked(*many, alice.fingerprint)), old)
    accepted(exim, alice)
    for path in (filler, *fillers):
        path.unlink(missing_ok=True)
    assert publisher.carry(*many, alice.fingerprint).outcome == "live"
    assert accepted(exim, alice)
