"""A full disk under the ledger: a sentence, nothing lost, nothing counted twice, and it goes on by itself."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lab.daemon import Eximcertd
from lab.smtp import ask
from lab.wait import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.certificates import Identity
    from lab.exim import EximServer


@contextmanager
def small_disk(directory: Path) -> Iterator[None]:
    """Mount a file system of 1 MiB there."""
    subprocess.run(["/usr/bin/mount", "-t", "tmpfs", "-o", "size=1m,mode=755", "tmpfs", directory], check=True)
    try:
        yield
    finally:
        subprocess.run(["/usr/bin/umount", directory], check=True)


def fill(directory: Path) -> Path:
    """Leave no byte free."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as stream:
        for size in (65536, 4096, 1):
            try:
                while True:
                    stream.write(b"x" * size)
            except OSError:
                continue
    return filler


def test_with_a_full_disk_attempts_wait_and_decisions_fail_aloud_and_both_go_on_once_there_is_room(
    exim: EximServer, alice: Identity, mallory: Identity
) -> None:
    daemon = Eximcertd(exim)
    with small_disk(daemon.state), daemon:
        assert daemon.ctl("approve", alice.fingerprint).returncode == 0
        filler = fill(daemon.state)
        for _ in range(3):
            assert ask(exim.port, mallory).refused
        until(lambda: "full" in str(daemon.status()["log"]["problem"]), "status tells of the full disk")
        failed = daemon.ctl("revoke", alice.fingerprint)
        assert failed.returncode in {1, 6}
        assert "the disk is full" in failed.stderr
        assert "Traceback" not in failed.stderr + daemon.words()
        assert ask(exim.port, alice).accepted
        assert daemon.alive()
        filler.unlink()
        until(lambda: mallory.fingerprint in daemon.entries("pending"), "what waited is stored", limit=30)
        assert daemon.entries("pending")[mallory.fingerprint]["attempts"] == 3
        assert daemon.status()["log"]["problem"] is None
        assert daemon.ctl("revoke", alice.fingerprint).returncode == 0
        assert ask(exim.port, alice).refused
