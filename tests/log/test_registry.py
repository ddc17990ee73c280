"""What is known of log files: which are new, which are held open, and what is stored of them."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from eximcertd.errors import EximcertdError
from eximcertd.log.cursor import FileCursor
from eximcertd.log.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

FIRST, LATER = "2026-11-22 17:03:03", "2026-11-22 17:03:04"


@pytest.mark.parametrize(
    ("first", "mtime", "new"),
    [
        (LATER, 1, True),
        (FIRST, 101, True),
        (FIRST, 100, False),
        ("2026-11-22 17:03:02", 999, False),
        ("", 101, True),
        ("", 100, False),
    ],
)
def test_what_began_before_the_very_first_start_is_not_new_unless_it_went_on_in_the_same_second(
    first: str, mtime: int, new: bool
) -> None:
    registry = Registry()
    registry.exclude("2026-11-22 16:00:00", 100)
    registry.exclude(FIRST, 7)
    assert registry.is_new(first, mtime) is new


def test_without_a_time_stamp_in_the_log_the_last_change_tells() -> None:
    registry = Registry()
    registry.exclude("", 100)
    assert [registry.is_new(LATER, mtime) for mtime in (100, 101)] == [False, True]


def held(registry: Registry, path: Path, until: float, *, at_end: bool = True) -> FileCursor:
    path.write_bytes(b"x")
    cursor = registry.add(FileCursor())
    cursor.hold(os.open(path, os.O_RDONLY), path.stat(), str(path))
    cursor.until, cursor.at_end = until, at_end
    return cursor


def test_files_that_are_read_are_closed_after_their_time_or_when_they_are_too_many(tmp_path: Path) -> None:
    registry, now = Registry(), time.monotonic()
    old, unread, soon, late, log = (
        held(registry, tmp_path / name, until, at_end=name != "unread")
        for name, until in (("old", now - 1), ("unread", now - 1), ("soon", now + 50), ("late", now + 99), ("log", 0))
    )
    registry.turn_to(log)
    registry.let_go(9)
    assert [cursor.fd >= 0 for cursor in (old, unread, soon, late, log)] == [False, True, True, True, True]
    registry.let_go(2)
    assert [cursor.fd >= 0 for cursor in (unread, soon, late)] == [True, True, True], "what is not read is not closed"
    registry.let_go(1)
    assert [cursor.fd >= 0 for cursor in (unread, soon, late)] == [True, False, True], "the first to end goes"
    assert registry.changed
    for cursor in registry.cursors:
        cursor.close()


def test_of_the_directories_that_rotation_moves_files_to_the_last_ones_are_known() -> None:
    registry = Registry()
    for number in range(6):
        registry.add_olddir(f"/old{number}")
    assert registry.olddirs == [f"/old{number}" for number in range(2, 6)]
    assert registry.changed


def test_each_change_of_a_file_is_stored_once() -> None:
    registry = Registry()
    cursor = registry.add(FileCursor(end=7, dirty=True))
    registry.add(FileCursor(dirty=True))  # nothing was read of it
    registry.add(FileCursor(end=7))
    registry.turn_to(cursor)
    position, files = registry.to_store()
    assert [key for key, _ in files] == [cursor.key]
    assert registry.to_store() == (position, ())
    after = Registry(position, [text for _, text in files])
    assert after.last is not None
    assert (after.last.id, after.last.end, after.changed) == (cursor.id, 7, False)


@pytest.mark.parametrize("position", ["", "[]", "{}", '{"version": 3}', json.dumps({"version": 2, "since": ""})])
def test_a_position_that_is_not_understood_is_refused_and_says_why_it_is_not_ignored(position: str) -> None:
    with pytest.raises(EximcertdError, match="the log position in the ledger cannot be understood") as told:
        Registry(position)
    assert "would count its attempts twice" in told.value.hint
