"""Real logrotate, in all its ways and up to 60 logs deep, with kills and restarts between: each attempt counts once."""

from __future__ import annotations

import random
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

import pytest
from lab.log import Log, Looking, fingerprint

if TYPE_CHECKING:
    from pathlib import Path

LOGROTATE: Final = shutil.which("logrotate", path="/usr/sbin:/usr/bin:/sbin:/bin")
STEPS: Final = 70
PACKERS: Final = {"gzip": ".gz", "xz": ".xz", "bzip2": ".bz2"}

pytestmark = pytest.mark.skipif(LOGROTATE is None, reason="logrotate is not installed")


class Rotation:
    """One configuration of logrotate, and its runs.

    The olddir is one that eximcertd can find: below the log's directory or beside it.
    """

    def __init__(self, path: Path, chance: random.Random, **fixed: object) -> None:
        self.copies = bool(fixed.get("copytruncate", chance.random() < 0.25))
        self.olddir = fixed.get("olddir", chance.random() < 0.25)
        self.rotate = int(str(fixed.get("rotate", chance.choice([14, 20, 60]))))
        self.dated = bool(fixed.get("dateext", chance.random() < 0.2))
        packs = bool(fixed.get("compress", chance.random() < 0.75))
        packer = chance.choice(sorted(PACKERS))
        lines = ["missingok", "notifempty", f"rotate {self.rotate}", "copytruncate" if self.copies else "nocreate"]
        if packs:
            lines += ["compress", f"compresscmd {shutil.which(packer)}", f"compressext {PACKERS[packer]}"]
            packs = not fixed.get("delaycompress", chance.random() < 0.4)
            lines += [] if packs else ["delaycompress"]
        self.takes_late_lines = not (self.copies or packs)
        if self.olddir:
            old = path.parent / "old"
            old.mkdir()
            lines.append(f"olddir {old}")
        if self.dated:
            lines += ["dateext", "dateformat -%Y%m%d-%s"]
        self.text = "\n  ".join(lines)
        self._config = path.parent.with_name("logrotate.conf")
        self._config.write_text(f"{path} {{\n  {self.text}\n}}\n")
        self._config.chmod(0o600)
        self._state = path.parent.with_name("logrotate.state")

    def run(self) -> None:
        assert LOGROTATE is not None
        command = [LOGROTATE, "--force", "--state", str(self._state), str(self._config)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 or (self.dated and "exists" in done.stderr), done.stderr  # twice in a second


def play(path: Path, chance: random.Random, **fixed: object) -> None:
    """Write, rotate, look, kill and start anew in some order; compare the counts at the end, and after a restart."""
    path.parent.mkdir()
    rotation, looking, log = Rotation(path, chance, **fixed), Looking(path), Log(path)
    log.reject(fingerprint(1))
    looking.look()  # what was rotated before the very first look is not counted
    unseen = 0
    for step in range(STEPS):
        for _ in range(chance.randrange(1, 4)):
            log.reject(fingerprint(chance.randrange(30)))
            log.noise(chance.randrange(3))
        if chance.random() < 0.75 and unseen < rotation.rotate - 2:
            late = Log(path, log.written)
            late.open()
            rotation.run()
            unseen += 1
            if rotation.takes_late_lines and chance.random() < 0.5:
                late.reject(fingerprint(100 + step % 3))
            late.close()
            log.close()
        if chance.random() < 0.2:
            looking.kill()
        if chance.random() < 0.6:
            looking.look()
            unseen = 0
            taken = looking.twin.taken()
            assert not taken - log.written, f"counted twice in step {step} of\n{rotation.text}"
    looking.look()
    assert looking.twin.taken() == log.written, rotation.text
    looking.kill()
    looking.look()
    assert looking.twin.taken() == log.written, f"after a restart: {rotation.text}"
    looking.kill()
    log.close()


@pytest.mark.parametrize("seed", range(16))
def test_each_attempt_counts_once_however_logrotate_is_configured(seed: int, tmp_path: Path) -> None:
    play(tmp_path / "log" / "mainlog", random.Random(seed))  # noqa: S311 - no secret


@pytest.mark.parametrize("rotate", [14, 60])
def test_packed_at_once_and_kept_for_long_no_log_is_counted_again_as_it_ages(rotate: int, tmp_path: Path) -> None:
    play(
        tmp_path / "log" / "mainlog", random.Random(rotate),  # noqa: S311 - no secret
        compress=True, delaycompress=False, copytruncate=False, olddir=False, dateext=False, rotate=rotate,
    )  # fmt: skip


@pytest.mark.parametrize("seed", [153, 197])
def test_packed_at_once_into_another_directory_nothing_is_lost(seed: int, tmp_path: Path) -> None:
    play(tmp_path / "log" / "mainlog", random.Random(seed))  # noqa: S311 - no secret


@pytest.mark.parametrize("seed", range(2))
def test_copied_into_another_directory_and_truncated_nothing_is_lost(seed: int, tmp_path: Path) -> None:
    play(tmp_path / "log" / "mainlog", random.Random(seed), copytruncate=True, olddir=True, rotate=60)  # noqa: S311
