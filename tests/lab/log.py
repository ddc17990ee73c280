"""A log written as Exim writes it, somebody who takes what a source delivers, and a follower in a thread.

with Following(path) as following:
    log = Log(path)
    log.reject("A" * 64)
    following.expect(log.written)
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Self

from eximcertd.log.cursor import FileCursor, from_json
from eximcertd.log.line import DEFAULT_MESSAGE, Grammar
from eximcertd.log.tailer import Tailer
from lab.wait import until

if TYPE_CHECKING:
    from pathlib import Path

    from eximcertd.fingerprint import Fingerprint
    from eximcertd.log.sighting import Peer
    from eximcertd.log.source import Batch, Source

FIRST: Final = f"{0xF1A57:064X}"


def fingerprint(number: int) -> str:
    """Return one of many fingerprints."""
    return f"{number:064X}"


class Log:
    """A main log at a path: append, one write per entry, the time stamp a second further on every few entries.

    written: how often each fingerprint was refused; several logs may share one. still: the clock stands still,
    and the same entry is the same to the byte. days: so much later it begins.
    """

    def __init__(self, path: Path, written: Counter[str] | None = None, *, still: bool = False, days: int = 0) -> None:
        self.path = path
        self.written: Counter[str] = Counter() if written is None else written
        self._at = datetime(2026, 11, 22, 17, 3, 3, tzinfo=UTC) + timedelta(days=days)
        self._still = still
        self._lines = 0
        self._fd = -1

    def open(self) -> None:
        """Open the log as Exim does at the first entry or after it was renamed."""
        self.close()
        self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)

    def close(self) -> None:
        """Close it: the next entry opens it anew."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def raw(self, entry: bytes) -> None:
        """Write an entry as it is."""
        if self._fd < 0:
            self.open()
        os.write(self._fd, entry)

    def stamp(self) -> str:
        """Return the time stamp of the next entry."""
        self._lines += 1
        if not self._still and self._lines % 3 == 0:
            self._at += timedelta(seconds=1)
        return f"{self._at:%Y-%m-%d %H:%M:%S}"

    def number(self) -> int:
        """Return what makes an entry unlike the others: nothing, where the clock stands still."""
        return 0 if self._still else self._lines

    def reject(self, who: str = FIRST, *, times: int = 1, pid: int | None = None) -> None:
        """Refuse a certificate: the entry that counts and the one that names the peer."""
        for _ in range(times):
            stamp = self.stamp() + ("" if pid is None else f" [{pid}]")
            self.raw(f"{stamp} {DEFAULT_MESSAGE} {who}\n".encode())
            self.written[who] += 1
            self.raw(
                f"{stamp} H=(client.example) [127.0.0.1] X=TLS1.3:ECDHE_X25519__RSA_PSS_RSAE_SHA256__AES_256_GCM:256"
                f" CV=yes F=<s{self.number()}@example> rejected RCPT <r@remote.example>: relay not permitted\n".encode()
            )

    def noise(self, times: int = 1) -> None:
        """Log something else."""
        for _ in range(times):
            self.raw(f"{self.stamp()} no host name found for IP address 192.0.2.{self.number() % 250}\n".encode())


class Twin:
    """What the ledger would hold: sightings, position and files, taken in one step."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.first: dict[str, datetime] = {}
        self.last: dict[str, datetime] = {}
        self.peers: dict[Fingerprint, Peer] = {}
        self.certificates: dict[Fingerprint, bytes] = {}
        self.position: str | None = None
        self.files: dict[str, str] = {}
        self.batches = 0
        self._lock = threading.Lock()

    def take(self, batch: Batch) -> None:
        """Take a batch."""
        with self._lock:
            for sighting in batch.sightings:
                self.counts[sighting.fingerprint] += sighting.attempts
                if sighting.peer is not None:
                    self.peers[sighting.fingerprint] = sighting.peer
                if sighting.certificate is not None:
                    self.certificates[sighting.fingerprint] = sighting.certificate.der
                if sighting.first is not None and sighting.last is not None:
                    self.first.setdefault(sighting.fingerprint, datetime.fromtimestamp(sighting.first / 1000, UTC))
                    self.last[sighting.fingerprint] = datetime.fromtimestamp(sighting.last / 1000, UTC)
            self.position = batch.position
            self.files.update(batch.files)
            self.batches += 1

    def follow(self, source: Source) -> None:
        """Take all batches of a source, until it is stopped."""
        for batch in source.batches():
            self.take(batch)

    def cursors(self) -> list[FileCursor]:
        """Return what is kept of files."""
        with self._lock:
            return [from_json(text) for text in self.files.values()]

    def taken(self) -> Counter[str]:
        """Return the counts at this moment."""
        with self._lock:
            return +self.counts


class Following:
    """A follower in a thread of its own. twin: what it has found before, to go on from there.

    settings: for the Tailer; floor is short where nothing else is said, so that tests of what no event tells
    are quick.
    """

    def __init__(self, path: Path, twin: Twin | None = None, **settings: Any) -> None:
        self.twin = Twin() if twin is None else twin
        files = list(self.twin.files.values())
        self.follower = Tailer(path, Grammar(), self.twin.position, files, **{"floor": 0.3, **settings})
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="following")

    def __enter__(self) -> Self:
        """Start it, and wait for its first look: what is rotated before that is not its business."""
        self._thread.start()
        until(lambda: self.twin.batches or self.error, "the follower has looked once")
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it, and fail if it has failed."""
        self.follower.stop()
        self._thread.join(10)
        if self.error is not None:
            raise AssertionError("the follower ended with an error") from self.error
        if self._thread.is_alive():
            raise AssertionError("the follower does not stop")

    def _run(self) -> None:
        try:
            self.twin.follow(self.follower)
        except BaseException as error:  # noqa: BLE001 - it comes out at the end
            self.error = error

    def expect(self, written: Counter[str], *, limit: float = 10.0) -> None:
        """Wait until exactly this was counted. More than this fails at once."""

        def there() -> bool:
            taken = self.twin.taken()
            extra = taken - written
            assert not extra, f"counted twice: {extra}"
            return taken == +written

        until(there, f"all of {written.total()} attempts are counted; {self.twin.taken().total()} are", limit=limit)


class Looking:
    """A follower that looks when it is told to, and can be killed and started again between."""

    def __init__(self, path: Path, **settings: Any) -> None:
        self.path = path
        self.settings = settings
        self.twin = Twin()
        self.follower: Tailer | None = None

    def start(self) -> None:
        """Start it anew, without a look."""
        self.kill()
        files = list(self.twin.files.values())
        self.follower = Tailer(self.path, Grammar(), self.twin.position, files, **self.settings)

    def look(self) -> None:
        """Look once; start it if it does not run."""
        if self.follower is None:
            self.start()
        assert self.follower is not None
        for batch in self.follower.look():
            self.twin.take(batch)

    def kill(self) -> None:
        """Forget everything but what was delivered."""
        if self.follower is not None:
            self.follower.close()
            self.follower = None
