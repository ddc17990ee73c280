"""Packed logs: every kind, several members, damage, and what tries to unpack to too much."""

from __future__ import annotations

import bz2
import gzip
import importlib.util
import lzma
import os
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab.log import Log, Looking

from eximcertd.log import unpack
from eximcertd.log.unpack import UnpackError, kind, text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def zstd(raw: bytes) -> bytes:
    return bytes(pytest.importorskip("zstandard").ZstdCompressor(write_content_size=False).compress(raw))


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "zstd": zstd,
}
kinds = pytest.mark.parametrize("packed_by", sorted(PACKERS))
LOG = b"".join(b"2026-11-22 17:03:03 no host name found for IP address 192.0.2.%d\n" % n for n in range(20_000))


def drain(fd: int, into: bytearray, piece: int) -> None:
    source, view = text(fd, "log"), memoryview(bytearray(piece))
    while length := source.readinto(view):
        into += view[:length]


def read(path: Path, piece: int = 64 * 1024) -> bytes:
    whole, fd = bytearray(), os.open(path, os.O_RDONLY)
    try:
        drain(fd, whole, piece)
    finally:
        os.close(fd)
    return bytes(whole)


@kinds
@pytest.mark.parametrize("piece", [100, 65_536, 1 << 21])
def test_what_was_packed_comes_out_again(packed_by: str, piece: int, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(PACKERS[packed_by](LOG if piece > 100 else LOG[:9999]))
    assert read(path, piece) == (LOG if piece > 100 else LOG[:9999])


@kinds
def test_members_that_follow_each_other_are_one_text(packed_by: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(PACKERS[packed_by](LOG) + PACKERS[packed_by](b"more\n"))
    assert read(path) == LOG + b"more\n"


def test_zero_bytes_behind_a_gzip_file_are_padding(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(gzip.compress(LOG) + bytes(512))
    assert read(path) == LOG


def test_a_plain_file_is_plain(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    path.write_bytes(LOG)
    assert read(path) == LOG


@pytest.mark.parametrize("packed_by", ["gzip", "xz", "bzip2"])
def test_of_a_file_that_is_cut_off_the_beginning_is_read_and_then_it_is_told(packed_by: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    raw = bytes(os.urandom(400_000))
    whole = PACKERS[packed_by](raw)
    path.write_bytes(whole[: len(whole) - 50])
    fd, got = os.open(path, os.O_RDONLY), bytearray()
    with pytest.raises(UnpackError, match="log: the file is cut off"):
        drain(fd, got, 10_000)
    os.close(fd)
    assert raw.startswith(got)
    assert packed_by == "bzip2" or len(got) > 100_000


@kinds
@given(data=st.data())
def test_damage_is_told_or_harmless_and_never_anything_else(packed_by: str, data: st.DataObject) -> None:
    raw = bytearray(PACKERS[packed_by](LOG[:5000]))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(6, len(raw) - 1))] = data.draw(st.integers(0, 255))
    fd = os.memfd_create("log")
    os.write(fd, raw)
    try:
        drain(fd, bytearray(), 4096)
    except UnpackError as error:
        assert error.message.startswith("log: ")  # noqa: PT017 - it need not be damaged
    finally:
        os.close(fd)


def bomb_gzip(length: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    piece = bytes(1 << 20)
    return b"".join(packer.compress(piece) for _ in range(length >> 20)) + packer.flush()


@pytest.mark.parametrize("packed_by", ["xz", "bzip2", "zstd"])
def test_a_bomb_is_not_unpacked_to_its_end(packed_by: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(PACKERS[packed_by](bytes(100 << 20)))
    fd, got = os.open(path, os.O_RDONLY), bytearray()
    with pytest.raises(UnpackError, match="times its size"):
        drain(fd, got, 1 << 20)
    os.close(fd)
    assert len(got) <= unpack.FREE + unpack.LARGEST_RATIO * path.stat().st_size


def test_the_most_that_gzip_can_pack_is_no_bomb(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(bomb_gzip(64 << 20))
    assert len(read(path, 1 << 20)) == 64 << 20


def test_unpacking_ends_when_its_time_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    path.write_bytes(gzip.compress(LOG))
    monkeypatch.setattr(unpack, "LONGEST", 0.0)
    with pytest.raises(UnpackError, match="not unpacked within"):
        read(path)


def test_a_dictionary_that_takes_too_much_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log"
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 512 << 20}]
    path.write_bytes(lzma.compress(LOG[:1000], filters=filters))
    with pytest.raises(UnpackError, match="damaged"):
        read(path)


def test_a_damaged_copy_is_told_until_it_is_removed(tmp_path: Path) -> None:
    log = Log(tmp_path / "mainlog")
    log.reject()
    looking = Looking(log.path)
    looking.look()
    damaged = tmp_path / "mainlog.2.gz"
    damaged.write_bytes(gzip.compress(os.urandom(5000))[:-100])
    looking.look()
    assert looking.follower is not None
    assert str(damaged) in (looking.follower.progress().problem or "")
    damaged.unlink()
    looking.look()
    assert looking.follower.progress().problem is None
    looking.kill()


def test_without_the_library_for_zstd_it_says_what_to_install(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(20))
    fd = os.open(path, os.O_RDONLY)
    assert kind(fd) == "zstd"
    if importlib.util.find_spec("zstandard") is not None:
        os.close(fd)
        pytest.skip("zstandard is installed here")
    with pytest.raises(UnpackError, match="zstandard") as told:
        text(fd, "log")
    assert "python3-zstandard" in told.value.hint
    os.close(fd)
