"""A followed file that has disappeared is looked for once, found where it was moved to, or told as lost."""

from __future__ import annotations

import os
from datetime import UTC
from typing import TYPE_CHECKING

import pytest

from eximcertd.log.cursor import FileCursor
from eximcertd.log.line import Grammar
from eximcertd.log.missing import MissingFiles
from eximcertd.log.reader import Reader

if TYPE_CHECKING:
    from pathlib import Path

TEXT = b"2026-11-22 17:03:03 a line\n2026-11-22 17:03:04 another one\n"


class Search:
    """The search for files that belonged to a log in ``log/``, which is known."""

    def __init__(self, directory: Path) -> None:
        self.log = directory / "log" / "mainlog"
        self.log.parent.mkdir()
        self._reader = Reader(Grammar(), UTC)
        self._missing = MissingFiles(self.log, self._reader, lambda name: name.startswith("mainlog"))

    def lose(self, text: bytes = TEXT, name: str = "", **fields: object) -> FileCursor:
        """Read a file, and miss it from then on."""
        self.log.write_bytes(text)
        cursor = FileCursor()
        cursor.hold(os.open(self.log, os.O_RDONLY), self.log.stat(), name or str(self.log))
        self._reader.read(cursor, now=True)
        cursor.close()
        self.log.unlink()
        cursor.found = False
        for field, value in fields.items():
            setattr(cursor, field, value)
        self._missing.add(cursor)
        return cursor

    def look(self) -> Path | None:
        """Look for what is missing."""
        return self._missing.look([self.log.parent])

    def lost(self) -> list[str]:
        """Return what is told."""
        return self._missing.lost


@pytest.fixture
def search(tmp_path: Path) -> Search:
    return Search(tmp_path)


def test_a_file_that_is_nowhere_is_told_once_by_its_name(search: Search) -> None:
    search.lose()
    assert [search.look() for _ in range(3)] == [None] * 3
    [told] = search.lost()
    assert told == (
        f"{search.log}: deleted or truncated, and no copy of it was found: attempts at its end may not be counted"
    )


@pytest.mark.parametrize("where", ["log/old", "archive"])
def test_the_directory_that_it_was_moved_to_is_found(search: Search, tmp_path: Path, where: str) -> None:
    search.lose()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mainlog.1").write_bytes(b"2026-11-22 17:03:03 something else\n" * 9)
    (tmp_path / where).mkdir()
    (tmp_path / where / "mainlog.1").write_bytes(TEXT)
    assert search.look() == tmp_path / where
    assert search.lost() == []


def test_a_name_that_belongs_to_no_log_and_a_directory_far_away_are_not_looked_at(
    search: Search, tmp_path: Path
) -> None:
    search.lose()
    far = tmp_path / "a" / "b"
    far.mkdir(parents=True)
    for copy in (far / "mainlog.1", tmp_path / "a" / "paniclog"):
        copy.write_bytes(TEXT)
    assert search.look() is None
    assert len(search.lost()) == 1


def test_a_file_that_was_found_or_of_which_nothing_was_read_is_not_lost(search: Search) -> None:
    search.lose(found=True)
    search.lose(end=0)
    assert search.look() is None
    assert search.lost() == []


def test_of_many_losses_the_last_ones_are_told(search: Search) -> None:
    for number in range(7):
        search.lose(name=f"mainlog.{number}\x1b")
        search.look()
    assert [told.partition(":")[0] for told in search.lost()] == [rf"mainlog.{number}\x1b" for number in range(2, 7)]
