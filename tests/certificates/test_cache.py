"""What is kept for the next start."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from lab.certificates import Identity, make
from lab.reads import bytes_read
from lab.wait import until

from eximcertd.certificates.index import Index

if TYPE_CHECKING:
    from collections.abc import Callable
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
    kept(certs, tmp_path / "cache")
    index = Index(certs, tmp_path / "cache")
    index.restore()
    assert alice.fingerprint in index
    assert bytes_read(index.refresh) == 0
    assert index.counts().files == 1


def test_an_unchanged_directory_writes_nothing(certs: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    kept(certs, cache)
    before = cache.stat()
    kept(certs, cache)
    assert (cache.stat().st_mtime_ns, cache.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_what_changed_while_down_is_seen_at_the_first_look(certs: Path, tmp_path: Path, alice: Identity) -> None:
    kept(certs, tmp_path / "cache")
    other = make(tmp_path / "identities", "other.example")
    (certs / "alice.pem").write_text(other.pem)
    index = Index(certs, tmp_path / "cache")
    index.restore()
    assert alice.fingerprint in index
    changes = index.refresh()
    assert set(changes.appeared) == {other.fingerprint}
    assert index.unsettled() == {b"alice.pem"}


def test_a_name_that_went_is_forgotten(certs: Path, tmp_path: Path, alice: Identity) -> None:
    (certs / "copy.pem").write_text(alice.pem)
    kept(certs, tmp_path / "cache")
    (certs / "copy.pem").unlink()
    kept(certs, tmp_path / "cache")
    index = Index(certs, tmp_path / "cache")
    index.restore()
    assert index.files(alice.fingerprint) == [certs / "alice.pem"]


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def elsewhere(data: bytes) -> bytes:
    body = data[32:].replace(b"/certs\0", b"/other\0", 1)
    return sha256(body).digest() + body


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda _: b"garbage" * 1000,
        lambda data: data[:-1],
        lambda data: data + b"\0",
        flipped,
        elsewhere,
        lambda data: (body := data[32:].replace(b" 2\n", b" 1\n", 1)) and sha256(body).digest() + body,
    ],
    ids=["empty", "garbage", "cut", "longer", "flipped", "of another directory", "of another version"],
)
def test_a_cache_that_is_damaged_or_of_another_directory_or_version_is_ignored_and_replaced(
    certs: Path, tmp_path: Path, alice: Identity, damage: Callable[[bytes], bytes]
) -> None:
    cache = tmp_path / "cache"
    kept(certs, cache)
    cache.write_bytes(damage(cache.read_bytes()))
    index = Index(certs, cache)
    index.restore()
    assert len(index) == 0
    assert set(index.refresh().appeared) == {alice.fingerprint}
    index.save()
    assert index.cache_problem is None
    again = Index(certs, cache)
    again.restore()
    assert alice.fingerprint in again


def test_a_cache_is_readable_for_its_owner_alone(certs: Path, tmp_path: Path) -> None:
    kept(certs, tmp_path / "cache")
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o600


def test_a_cache_that_cannot_be_written_is_told_and_harms_nothing(certs: Path, tmp_path: Path, alice: Identity) -> None:
    cache = tmp_path / "no" / "such" / "directory" / "cache"
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
