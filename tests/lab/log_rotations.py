"""What logrotate and its like do to a log: it is renamed or copied, truncated, packed, moved.

Each is a story that pauses wherever somebody may look (or start anew, or not), and says where a look is
needed because what follows destroys lines for good.
"""

from __future__ import annotations

import bz2
import gzip
import importlib
import importlib.util
import lzma
import os
import shutil
from typing import TYPE_CHECKING, Final

from lab.log import Log, fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Story = Callable[[Path, Log], Iterator[bool]]

MUST: Final = True
MAY: Final = False
SUFFIXES: Final = ("gz", "xz", "bz2", "zst") if importlib.util.find_spec("zstandard") else ("gz", "xz", "bz2")


def rotate(log: Path, *, keep: int = 6, olddir: Path | None = None) -> None:
    """Rename as logrotate does: mainlog.1 to mainlog.2 and so on, the log to mainlog.1, a second old."""
    where = olddir or log.parent
    for number in range(keep, 0, -1):
        for packed in ("", ".gz", ".xz", ".bz2", ".zst"):
            old = where / f"{log.name}.{number}{packed}"
            if old.exists():
                old.rename(where / f"{log.name}.{number + 1}{packed}")
    if log.exists():
        last = log.stat().st_mtime_ns - 1_000_000_000
        os.utime(log, ns=(last, last))
        log.rename(where / f"{log.name}.1")


def pack(path: Path, suffix: str) -> None:
    """Compress as logrotate does: the time of the last change is kept, the original removed afterwards."""
    status, text = path.stat(), path.read_bytes()
    packers: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress}
    if suffix == "zst":
        packers[suffix] = importlib.import_module("zstandard").ZstdCompressor().compress
    packed = path.with_name(f"{path.name}.{suffix}")
    packed.write_bytes(packers[suffix](text))
    os.utime(packed, ns=(status.st_atime_ns, status.st_mtime_ns))
    path.unlink()


def renamed_and_created_with_more_lines_to_the_old_descriptor(path: Path, log: Log) -> Iterator[bool]:
    late = Log(path, log.written)
    late.open()
    log.reject(times=3)
    yield MAY
    rotate(path)
    yield MAY
    late.reject(fingerprint(2), times=2)
    log.close()
    log.reject(times=2)
    yield MAY
    late.reject(fingerprint(3), times=5)
    yield MAY
    late.reject(fingerprint(4))
    log.reject()
    yield MAY
    late.close()


def renamed_and_not_created_until_the_next_line(path: Path, log: Log) -> Iterator[bool]:
    log.reject(times=3)
    yield MAY
    rotate(path)
    log.close()
    yield MAY
    yield MAY
    log.reject(times=2)
    yield MAY


def copied_and_truncated(path: Path, log: Log) -> Iterator[bool]:
    for number in range(3):
        log.reject(times=5)
        yield MAY
        log.reject(fingerprint(number))
        shutil.copy(path, path.with_name(f"mainlog.{9 - number}"))
        yield MAY
        os.truncate(path, 0)
        yield MAY


def copied_and_truncated_and_refilled_past_the_old_size(path: Path, log: Log) -> Iterator[bool]:
    log.reject(times=4)
    yield MAY
    log.reject(fingerprint(2), times=2)
    shutil.copy2(path, path.with_name("mainlog.1"))
    os.truncate(path, 0)
    log.reject(fingerprint(3), times=40)
    yield MAY
    log.reject()
    yield MAY


def rotated_three_times_without_a_pause(path: Path, log: Log) -> Iterator[bool]:
    for number in range(4):
        log.reject(fingerprint(number), times=5)
        rotate(path)
        log.close()
    log.reject(times=5)
    yield MAY


def rotated_three_times_with_looks_between(path: Path, log: Log) -> Iterator[bool]:
    for number in range(4):
        log.reject(fingerprint(number), times=5)
        yield MAY
        rotate(path)
        yield MAY
        log.close()
    log.reject(times=5)
    yield MAY


def rotated_thirty_times_and_packed(suffix: str) -> Story:
    def story(path: Path, log: Log) -> Iterator[bool]:
        for number in range(30):
            log.reject(fingerprint(number), times=4)
            yield MAY
            log.reject(fingerprint(number), times=4)
            rotate(path, keep=40)
            log.close()
            yield MAY
            if number:
                pack(path.with_name("mainlog.2"), suffix)
            yield MAY
        log.reject(times=5)
        yield MAY

    story.__name__ = f"rotated_thirty_times_and_packed_as_{suffix}"
    return story


def packed_while_somebody_looks(path: Path, log: Log) -> Iterator[bool]:
    log.reject(fingerprint(2), times=500)
    yield MAY
    rotate(path)
    log.close()
    log.reject(times=2)
    whole = gzip.compress(path.with_name("mainlog.1").read_bytes())
    packed = path.with_name("mainlog.1.gz")
    for part in (10, 20, len(whole) // 2, len(whole)):
        packed.write_bytes(whole[:part])
        yield MAY
    path.with_name("mainlog.1").unlink()
    yield MAY


def copied_slowly_and_truncated(path: Path, log: Log) -> Iterator[bool]:
    log.reject(fingerprint(2), times=500)
    yield MUST
    log.reject(fingerprint(3), times=2)
    whole, copy = path.read_bytes(), path.with_name("mainlog.1")
    for part in (0, 100, 1100, len(whole) // 2, len(whole)):
        copy.write_bytes(whole[:part])
        yield MAY
    os.truncate(path, 0)
    yield MAY
    log.reject()
    yield MAY


def moved_out_of_the_directory(path: Path, log: Log) -> Iterator[bool]:
    old = path.parent.with_name("old")
    old.mkdir()
    log.reject(times=3)
    yield MUST
    rotate(path, olddir=old)
    log.reject(fingerprint(2), times=2)
    yield MAY
    for number in range(3):
        log.close()
        log.reject(fingerprint(10 + number), times=3)
        yield MAY
        rotate(path, olddir=old)
    pack(old / "mainlog.3", "gz")
    log.close()
    log.reject()
    yield MAY


STORIES: Final[list[Story]] = [
    renamed_and_created_with_more_lines_to_the_old_descriptor,
    renamed_and_not_created_until_the_next_line,
    copied_and_truncated,
    copied_and_truncated_and_refilled_past_the_old_size,
    rotated_three_times_without_a_pause,
    rotated_three_times_with_looks_between,
    *[rotated_thirty_times_and_packed(suffix) for suffix in SUFFIXES],
    packed_while_somebody_looks,
    copied_slowly_and_truncated,
    moved_out_of_the_directory,
]
