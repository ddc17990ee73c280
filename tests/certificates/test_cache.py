"""What is kept for the next start."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from lab.certificates import Identity, make
from lab.reads import bytes_read
from lab.wait import until

from eximcertd.certificates.index import Index

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def certs(tmp_path: Path, alice: Identity) -> Path:
    """Make a directory with one certificate that is too old to be read twice."""
    directory = tmp_path / "certs"
    directory.mkdir()
    path = directory / "alice.pem"
    path.write_text(alice.pem)
    index = Index(directory)
    index.refresh()
    until(lambda: not bytes_read(index.refresh), "the file is not too new")
    return directory


def kept(certs: Path, cache: Path) -> Index:
    index = Index(certs, cache)
    index.restore()
    index.refresh()
    index.save()
    assert index.cache_problem is None
    return index


def test_a_restart_reads_no_file_that_is_as_it_was(certs: Path, tmp_path: Path, alice: Identity) -> None:
    kept(certs, tmp_path / "c.sqlite")
    index = Index(certs, tmp_path / "c.sqlite")
    index.restore()
    assert alice.fingerprint in index
    assert bytes_read(index.refresh) == 0
    assert index.counts().files == 1


def test_an_unchanged_directory_writes_nothing(certs: Path, tmp_path: Path) -> None:
    cache = tmp_path / "c.sqlite"
    kept(certs, cache)
    before = cache.stat()
    kept(certs, cache)
    assert (cache.stat().st_mtime_ns, cache.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_what_changed_while_down_is_seen_at_the_first_look(certs: Path, tmp_path: Path, alice: Identity) -> None:
    kept(certs, tmp_path / "c.sqlite")
    other = make(tmp_path / "identities", "other.example")
    (certs / "alice.pem").write_text(other.pem)
    index = Index(certs, tmp_path / "c.sqlite")
    index.restore()
    assert alice.fingerprint in index
    changes = index.refresh()
    assert set(changes.appeared) == {other.fingerprint}
    assert index.unsettled() == {b"alice.pem"}


def test_a_name_that_went_is_forgotten(certs: Path, tmp_path: Path, alice: Identity) -> None:
    (certs / "copy.pem").write_text(alice.pem)
    kept(certs, tmp_path / "c.sqlite")
    (certs / "copy.pem").unlink()
    kept(certs, tmp_path / "c.sqlite")
    index = Index(certs, tmp_path / "c.sqlite")
    index.restore()
    assert index.files(alice.fingerprint) == [certs / "alice.pem"]


@pytest.mark.parametrize("contents", [b"", b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_cache_is_begun_anew(certs: Path, tmp_path: Path, alice: Identity, contents: bytes) -> None:
    cache = tmp_path / "c.sqlite"
    cache.write_bytes(contents)
    assert alice.fingerprint in kept(certs, cache)
    index = Index(certs, cache)
    index.restore()
    assert alice.fingerprint in index


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE names SET state = x'00'",
        "UPDATE names SET state = 'text'",
        "UPDATE names SET state = CAST(substr(state, 1, 40) || x'7f' AS BLOB)",
        "UPDATE names SET state = CAST(state || x'00' AS BLOB)",
        "UPDATE names SET name = x''",
        "PRAGMA user_version = 99",
        "DROP TABLE names",
        "DROP TABLE whose",
        "UPDATE whose SET directory = x'2f'",
    ],
)
def test_a_cache_of_another_shape_or_directory_is_not_believed(
    certs: Path, tmp_path: Path, alice: Identity, damage: str
) -> None:
    cache = tmp_path / "c.sqlite"
    kept(certs, cache)
    with closing(sqlite3.connect(cache)) as connection, connection:
        connection.execute(damage)
    index = Index(certs, cache)
    index.restore()
    assert len(index) == 0
    assert set(index.refresh().appeared) == {alice.fingerprint}
    index.save()
    assert index.cache_problem is None
    again = Index(certs, cache)
    again.restore()
    assert alice.fingerprint in again


def test_a_cache_that_cannot_be_written_is_told_and_harms_nothing(certs: Path, tmp_path: Path, alice: Identity) -> None:
    cache = tmp_path / "no" / "such" / "directory" / "c.sqlite"
    index = Index(certs, cache)
    index.restore()
    index.refresh()
    index.save()
    assert index.cache_problem is not None
    assert str(cache) in index.cache_problem
    assert alice.fingerprint in index
    cache.parent.mkdir(parents=True)
    index.save()
    assert index.cache_problem is None
