"""What another look at the directory finds, and what it reads for that."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from lab.certificates import indexed
from lab.reads import bytes_read
from lab.wait import until

if TYPE_CHECKING:
    from pathlib import Path

    from lab.certificates import Identity


def test_a_directory_that_cannot_be_read_is_told_and_what_was_found_stands(certs: Path, alice: Identity) -> None:
    (certs / "alice.pem").write_text(alice.pem)
    index = indexed(certs)
    certs.rename(certs.with_name("away"))
    assert not index.refresh()
    assert index.problem is not None
    assert str(certs) in index.problem
    assert "No such file" in index.problem
    assert alice.fingerprint in index
    certs.with_name("away").rename(certs)
    index.refresh()
    assert index.problem is None


def test_a_look_tells_what_appeared_and_the_next_one_does_not_tell_it_again(certs: Path, some: list[Identity]) -> None:
    index = indexed(certs)
    (certs / "0.pem").write_text(some[0].pem)
    assert set(index.refresh().appeared) == {some[0].fingerprint}
    assert not index.refresh()
    (certs / "copy.pem").write_text(some[0].pem)
    assert not index.refresh()
    (certs / "0.pem").write_text(some[0].pem + some[1].pem)
    changes = index.refresh()
    assert set(changes.appeared) == {some[1].fingerprint}
    assert some[1].fingerprint in changes.appeared
    assert some[0].fingerprint not in changes.appeared


def test_a_look_at_some_names_finds_what_a_whole_look_finds(certs: Path, some: list[Identity], tmp_path: Path) -> None:
    index = indexed(certs)
    (certs / "a.pem").write_text(some[0].pem)
    (tmp_path / "b.crt").write_text(some[1].pem)
    (certs / "b.pem").symlink_to(tmp_path / "b.crt")
    (certs / "c.pem").symlink_to("nowhere")
    os.mkfifo(certs / "d.pem")
    names = [b"a.pem", b"b.pem", b"c.pem", b"d.pem", b"not-there", b"..", b"", b"../b.crt"]
    assert set(index.refresh(names).appeared) == {some[0].fingerprint, some[1].fingerprint}
    assert index.counts() == indexed(certs).counts()
    assert index.skipped() == indexed(certs).skipped()
    assert not index.refresh()


@pytest.mark.parametrize("replaced", [True, False])
def test_a_look_at_a_name_looks_at_the_links_to_its_file_too(certs: Path, some: list[Identity], replaced: bool) -> None:
    """As the hash links are by which OpenSSL finds certificates: nothing tells of them when the file changes."""
    (certs / "a.pem").write_text(some[0].pem)
    (certs / "3c8e6b1e.0").symlink_to("a.pem")
    index = indexed(certs)
    (certs / "a.pem").unlink()
    if replaced:
        (certs / "a.pem").write_text(some[1].pem)
    index.refresh([b"a.pem"])
    until(lambda: index.refresh(index.unsettled()).vanished, "the certificate is gone")
    assert index.counts() == indexed(certs).counts()
    assert some[0].fingerprint not in index


def test_a_look_reads_only_what_changed(certs: Path, some: list[Identity]) -> None:
    for number in range(200):
        (certs / f"{number}.pem").write_text(some[0].pem)
        os.utime(certs / f"{number}.pem", ns=(0, 0))
    index = indexed(certs)
    until(lambda: bytes_read(index.refresh) < 100, "no file is so new that it is read again")
    (certs / "7.pem").write_text(some[1].pem)
    assert bytes_read(index.refresh) < 10 * len(some[1].pem)
    assert some[1].fingerprint in index


def test_a_file_replaced_with_the_same_size_and_time_is_noticed(certs: Path, some: list[Identity]) -> None:
    one, other = (one.pem + "\n" * (2000 - len(one.pem)) for one in some[:2])
    (certs / "a.pem").write_text(one)
    os.utime(certs / "a.pem", ns=(0, 0))
    index = indexed(certs)
    (certs / "a.pem").write_text(other)
    os.utime(certs / "a.pem", ns=(0, 0))
    index.refresh()
    assert some[1].fingerprint in index
