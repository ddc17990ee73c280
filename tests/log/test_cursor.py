"""How far one file was read, and what is counted of it before its turn."""

from __future__ import annotations

import os
from datetime import UTC
from typing import TYPE_CHECKING

import pytest
from lab.log import FIRST, Log, fingerprint

from eximcertd.log.aggregator import CERTIFICATE_WITHIN
from eximcertd.log.cursor import FileCursor
from eximcertd.log.line import Grammar
from eximcertd.log.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def log(tmp_path: Path) -> Log:
    made = Log(tmp_path / "mainlog")
    made.open()
    return made


@pytest.fixture
def cursor(log: Log) -> Iterator[FileCursor]:
    held = FileCursor()
    held.hold(os.open(log.path, os.O_RDONLY), log.path.stat(), str(log.path))
    yield held
    held.close()


def test_what_is_written_while_a_log_is_passed_over_is_read(log: Log, cursor: FileCursor) -> None:
    log.reject(times=300)
    length = log.path.stat().st_size
    log.reject(fingerprint(2), times=2)
    cursor.skip_all(length)
    reader = Reader(Grammar(), UTC)
    reader.read(cursor, now=True)
    assert [(sighting.fingerprint, sighting.attempts) for sighting in reader.take()] == [(fingerprint(2), 2)]


def test_a_client_that_counts_first_is_found_behind_any_number_of_pieces_in_which_none_is(
    log: Log, cursor: FileCursor
) -> None:
    length = 2 * CERTIFICATE_WITHIN
    while log.path.stat().st_size < 100 * length:
        log.raw(b"n" * 999 + b"\n")
    log.reject()
    reader = Reader(Grammar(), UTC, length)
    pieces = list(reader.read_ahead(cursor, lambda one: one == FIRST))
    assert len(pieces) > 100
    assert [sighting.fingerprint for sighting in reader.take()] == [FIRST]
    assert len(cursor.ahead) == 2, "the pieces without a client are one region"
