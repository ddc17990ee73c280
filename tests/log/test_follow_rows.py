"""All that happens to a log: nothing is lost and nothing counted twice, wherever the looks fall between.

Each row is a story that pauses wherever somebody may look (or start anew, or not), and says where a look is
needed because what follows destroys lines for good.
"""

from __future__ import annotations

import bz2
import gzip
import importlib
import importlib.util
import lzma
import os
import random
import shutil
from typing import TYPE_CHECKING, Final

import pytest
from lab.log import FIRST, Following, Log, Looking, fingerprint

from eximcertd.log.line import DEFAULT_MESSAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Story = Callable[[Path, Log], Iterator[bool]]

MUST: Final = True
MAY: Final = False


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


SUFFIXES: Final = ("gz", "xz", "bz2", "zst") if importlib.util.find_spec("zstandard") else ("gz", "xz", "bz2")
STORIES: Final[list[Story]] = [
    renamed_and_created_with_more_lines_to_the_old_descriptor,
    renamed_and_not_created_until_the_next_line,
    copied_and_truncated,
    copied_and_truncated_and_refilled_past_the_old_size,
    truncated_without_a_copy,
    deleted_and_created_again_at_once,
    deleted_and_created_again_later,
    lines_to_a_deleted_file,
    rotated_three_times_without_a_pause,
    rotated_three_times_with_looks_between,
    *[rotated_thirty_times_and_packed(suffix) for suffix in SUFFIXES],
    packed_while_somebody_looks,
    copied_slowly_and_truncated,
    half_an_entry_and_the_rest_later,
    invalid_utf8_nul_and_a_huge_entry_before,
    entries_that_span_lines,
    a_file_that_appears_later,
    a_directory_that_appears_later,
    a_directory_removed_and_made_again,
    a_link_that_is_pointed_at_another_file,
    a_link_into_another_directory,
    a_linked_directory,
    moved_out_of_the_directory,
    copied_by_hand,
    edited_in_place_by_sed,
]
NOT_AFTER_A_RESTART: Final = {"lines_to_a_deleted_file"}
"""What a restart destroys: nobody holds the deleted file then."""

NOT_WHEN_ALL_IS_ALIKE: Final = {"copied_by_hand", "edited_in_place_by_sed"}
"""A copy without a reason for one is told from another log by its lines alone."""

NOT_UNSEEN_WHEN_ALL_IS_ALIKE: Final = {
    *NOT_WHEN_ALL_IS_ALIKE,
    "renamed_and_created_with_more_lines_to_the_old_descriptor",
    "half_an_entry_and_the_rest_later",
}
"""Two files with the same lines to the byte, both written to in the same instant, neither of them seen before."""

rows = pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)


def play(story: Story, directory: Path, choose: Callable[[], str], *, still: bool = False) -> None:
    """Play a story; at each pause do as chosen: "look", "restart" (and look), "kill" (and no look), "nothing"."""
    path = directory / "log" / "mainlog"
    path.parent.mkdir()
    log, looking = Log(path, still=still), Looking(path)
    looking.look()
    for must in story(path, log):
        choice = choose()
        if choice in {"restart", "kill"}:
            looking.kill()
        if must or choice in {"look", "restart"}:
            looking.look()
            taken = looking.twin.taken()
            assert not taken - log.written, "counted twice"
            assert not must or taken == log.written
    looking.look()
    assert looking.twin.taken() == log.written
    looking.start()
    looking.look()
    assert looking.twin.taken() == log.written, "after a restart with nothing new"
    looking.kill()
    log.close()


@rows
@pytest.mark.parametrize("still", [False, True], ids=["", "all-in-one-second"])
@pytest.mark.parametrize("choice", ["look", "nothing"])
def test_each_line_counts_once_wherever_the_looks_fall(story: Story, choice: str, still: bool, tmp_path: Path) -> None:
    alike = NOT_WHEN_ALL_IS_ALIKE if choice == "look" else NOT_UNSEEN_WHEN_ALL_IS_ALIKE
    if still and story.__name__ in alike:
        pytest.skip("such files are told apart by their lines alone")
    play(story, tmp_path, lambda: choice, still=still)


@rows
@pytest.mark.parametrize("choice", ["restart", "kill"])
def test_each_line_counts_once_over_restarts(story: Story, choice: str, tmp_path: Path) -> None:
    if story.__name__ in NOT_AFTER_A_RESTART:
        pytest.skip("a restart lets a deleted file go")
    play(story, tmp_path, lambda: choice)


@rows
@pytest.mark.parametrize("seed", range(5))
def test_each_line_counts_once_whatever_falls_together(story: Story, seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret
    choices = ["look", "nothing", "restart", "kill"]
    if story.__name__ in NOT_AFTER_A_RESTART:
        choices = ["look", "nothing"]
    play(story, tmp_path, lambda: chance.choice(choices))


@rows
def test_each_line_counts_once_while_a_thread_follows(story: Story, tmp_path: Path) -> None:
    path = tmp_path / "log" / "mainlog"
    path.parent.mkdir()
    log = Log(path)
    with Following(path) as following:
        for must in story(path, log):
            if must:
                following.expect(log.written)
        following.expect(log.written)
    log.close()
