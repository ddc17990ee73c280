"""SIGKILL at any moment, hundreds of times, while lines flow and the log is rotated: the counts are exact."""

from __future__ import annotations

import gzip
import multiprocessing
import os
import random
import shutil
import threading
import time
from typing import TYPE_CHECKING, Self

import pytest
from lab.following import counted, follow
from lab.log import Log, fingerprint
from lab.wait import until

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 250


class Writing:
    """A thread in which Exims write, and something befalls the log every now and then."""

    def __init__(self, path: Path, befall: str) -> None:
        self.path = path
        self.log = Log(path)
        self.befall = befall
        self.rotations = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._chance = random.Random(befall)  # noqa: S311 - no secret

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self.log.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            for _ in range(self._chance.randrange(12)):
                self.log.reject(fingerprint(self._chance.randrange(40)))
                self.log.noise(self._chance.randrange(3))
            if self._chance.random() < 0.03:
                self._rotate()
            self._stop.wait(self._chance.random() * 0.004)

    def _rotate(self) -> None:
        self.rotations += 1
        older = sorted(self.path.parent.glob("mainlog.*"), key=lambda path: -int(path.name.split(".")[1]))
        for path in older:
            _, number, *packed = path.name.split(".")
            path.rename(self.path.with_name(".".join(["mainlog", str(int(number) + 1), *packed])))
        first = self.path.with_name("mainlog.1")
        if self.befall == "copied":
            shutil.copy(self.path, first)
            os.truncate(self.path, 0)
            return
        self.path.rename(first)
        if self._chance.random() < 0.5:
            self.log.reject(fingerprint(1), times=2)
        self.log.close()
        second = self.path.with_name("mainlog.2")
        if second.exists():
            status = second.stat()
            copy = self.path.with_name("mainlog.2.gz")
            copy.write_bytes(gzip.compress(second.read_bytes()))
            os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
            second.unlink()


@pytest.mark.parametrize("befall", ["renamed and packed", "copied"])
def test_every_attempt_is_counted_once_whenever_the_follower_is_killed(befall: str, tmp_path: Path) -> None:
    path, ledger = tmp_path / "log" / "mainlog", tmp_path / "ledger"
    path.parent.mkdir()
    ledger.mkdir()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lab.following"])
    chance = random.Random(7)  # noqa: S311 - no secret

    def start() -> multiprocessing.process.BaseProcess:
        process = context.Process(target=follow, args=(str(path), str(ledger)), daemon=True)
        process.start()
        return process

    def kill(process: multiprocessing.process.BaseProcess) -> None:
        process.kill()
        process.join()

    process = start()
    writing = Writing(path, befall)
    writing.log.reject(fingerprint(98))
    until(lambda: counted(ledger), "the first follower has looked")
    with writing:
        for _ in range(KILLS):
            kill(process)
            process = start()
            time.sleep(chance.random() * 0.03)  # any moment: nothing is waited for
        writing.stop()
        until(lambda: counted(ledger) == +writing.log.written, "all is counted", limit=20)
        kill(process)
        process = start()
        until(process.is_alive, "it goes on")
        writing.log.reject(fingerprint(99))
        until(lambda: fingerprint(99) in counted(ledger), "it has looked again")
        kill(process)
    assert counted(ledger) == +writing.log.written
    assert writing.rotations > 10
