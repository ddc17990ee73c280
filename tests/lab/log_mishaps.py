"""What else happens to a log, as stories of the same kind: it is deleted, edited, linked, written in parts."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Final

from eximcertd.log.line import DEFAULT_MESSAGE
from lab.log import FIRST, Log, fingerprint
from lab.log_rotations import MAY, MUST, rotate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.log_rotations import Story


def truncated_without_a_copy(path: Path, log: Log) -> Iterator[bool]:
    log.reject(times=4)
    yield MUST
    os.truncate(path, 0)
    log.reject(fingerprint(3), times=9)
    yield MAY


def deleted_and_created_again_at_once(path: Path, log: Log) -> Iterator[bool]:
    for number in range(4):
        log.reject(fingerprint(number), times=5)
        yield MUST
        path.unlink()
        log.close()
    log.reject(times=7)
    yield MAY


def deleted_and_created_again_later(path: Path, log: Log) -> Iterator[bool]:
    log.reject(times=5)
    yield MUST
    path.unlink()
    log.close()
    yield MAY
    yield MAY
    log.reject(times=5)
    yield MAY


def lines_to_a_deleted_file(path: Path, log: Log) -> Iterator[bool]:
    log.reject(times=5)
    yield MUST
    path.unlink()
    log.reject(times=2)
    yield MUST
    log.close()
    log.reject(times=3)
    yield MAY


def half_an_entry_and_the_rest_later(path: Path, log: Log) -> Iterator[bool]:
    log.reject()
    entry = f"{log.stamp()} {DEFAULT_MESSAGE} {FIRST}\n".encode()
    for part in (entry[:1], entry[1:30], entry[30:100], entry[100:-1]):
        log.raw(part)
        yield MAY
    log.raw(entry[-1:])
    log.written[FIRST] += 1
    yield MAY
    log.raw(entry[:50])
    rotate(path)
    yield MAY
    log.raw(entry[50:])
    log.written[FIRST] += 1
    log.close()
    log.reject()
    yield MAY


def invalid_utf8_nul_and_a_huge_entry_before(path: Path, log: Log) -> Iterator[bool]:
    log.raw(b"2026-11-22 17:03:03 \xff\xfe\x80 bad\n")
    log.reject()
    yield MAY
    log.raw(b"\0" * 5000 + b"\n")
    log.reject()
    log.raw(b"2026-11-22 17:03:03 " + b"x" * (1 << 20) + b"\n")
    log.reject()
    yield MAY
    log.raw(b"y" * 700_000)
    yield MAY
    perfect = f"2026-11-22 17:03:03 {DEFAULT_MESSAGE} {FIRST}".encode()
    for length in range(256 * 1024 - 300, 256 * 1024 + 300, 40):
        log.raw(b"z" * length)
        log.raw(perfect)
    yield MAY
    log.raw(b"\n")
    log.reject()
    log.raw(b"w" * (1 << 20) + perfect + b"\n")
    yield MAY
    log.reject(times=2)
    yield MAY


def entries_that_span_lines(path: Path, log: Log) -> Iterator[bool]:
    log.raw(b"2026-11-22 17:03:14 Warning: purging the environment.\n Suggested action: use keep_environment.\n")
    log.reject()
    yield MAY
    log.raw(f"2026-11-22 17:03:14 Odd:\n {DEFAULT_MESSAGE} {FIRST}\n".encode())
    log.raw(f"2026-11-22 17:03:14 Odd:\n 2026-11-22 17:03:14 {DEFAULT_MESSAGE} {FIRST}\n".encode())
    log.reject()
    log.raw(b"**** log string overflowed log buffer ****\n")
    log.reject()
    yield MAY


def a_file_that_appears_later(path: Path, log: Log) -> Iterator[bool]:
    yield MAY
    log.reject(times=3)
    yield MAY


def a_directory_that_appears_later(path: Path, log: Log) -> Iterator[bool]:
    path.parent.rmdir()
    yield MAY
    path.parent.mkdir()
    yield MAY
    log.reject(times=3)
    yield MAY


def a_directory_removed_and_made_again(path: Path, log: Log) -> Iterator[bool]:
    log.reject(times=3)
    yield MUST
    shutil.rmtree(path.parent)
    log.close()
    yield MAY
    path.parent.mkdir()
    log.reject(times=3)
    yield MAY


def a_link_that_is_pointed_at_another_file(path: Path, log: Log) -> Iterator[bool]:
    for number in range(3):
        target = path.with_name(f"mainlog-{number}")
        target.touch()
        link = path.with_name("new")
        link.symlink_to(target.name)
        link.rename(path)
        log.close()
        log.reject(fingerprint(number), times=3)
        yield MUST


def a_link_into_another_directory(path: Path, log: Log) -> Iterator[bool]:
    elsewhere = path.parent.with_name("elsewhere")
    elsewhere.mkdir()
    path.symlink_to(elsewhere / "current")
    log.reject(times=3)
    yield MAY
    rotate(elsewhere / "current")
    log.reject(times=2)
    log.close()
    yield MAY
    log.reject(times=3)
    yield MAY
    rotate(elsewhere / "current")
    log.close()
    log.reject(times=3)
    yield MAY


def a_linked_directory(path: Path, log: Log) -> Iterator[bool]:
    real = path.parent.with_name("real")
    path.parent.rename(real)
    path.parent.symlink_to(real.name)
    log.reject(times=3)
    yield MAY
    rotate(path)
    log.close()
    log.reject(times=3)
    yield MAY


def copied_by_hand(path: Path, log: Log) -> Iterator[bool]:
    log.reject(times=30)
    yield MUST
    shutil.copy(path, path.with_name("mainlog.bak"))
    yield MAY
    log.reject(times=3)
    rotate(path)
    log.close()
    log.reject(times=3)
    yield MUST
    shutil.copy(path.with_name("mainlog.1"), path.with_name("mainlog-mine.1"))
    yield MAY


def edited_in_place_by_sed(path: Path, log: Log) -> Iterator[bool]:
    log.reject(times=30)
    yield MUST
    new = path.with_name("sedAbCdEf")
    shutil.copy(path, new)
    new.rename(path)
    log.close()
    log.reject(fingerprint(2), times=3)
    yield MAY


STORIES: Final[list[Story]] = [
    truncated_without_a_copy,
    deleted_and_created_again_at_once,
    deleted_and_created_again_later,
    lines_to_a_deleted_file,
    half_an_entry_and_the_rest_later,
    invalid_utf8_nul_and_a_huge_entry_before,
    entries_that_span_lines,
    a_file_that_appears_later,
    a_directory_that_appears_later,
    a_directory_removed_and_made_again,
    a_link_that_is_pointed_at_another_file,
    a_link_into_another_directory,
    a_linked_directory,
    copied_by_hand,
    edited_in_place_by_sed,
]
