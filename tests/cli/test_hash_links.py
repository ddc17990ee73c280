"""The links by which OpenSSL finds certificates in a directory, and what check says where one is missing."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from lab.certificates import make
from lab.ctl import ctl
from lab.daemon import Eximcertd
from lab.exim import EximServer, linked_with_openssl
from lab.recipe import PINNED_ACL
from lab.smtp import ask
from lab.twins import Twin

from eximcertd.cli.check.finding import Verdict
from eximcertd.cli.check.hash_links import hash_links

if TYPE_CHECKING:
    from pathlib import Path

    from lab.certificates import Identity

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root starts an Exim")


def rehash(directory: Path) -> None:
    subprocess.run(["/usr/bin/openssl", "rehash", directory], check=True, capture_output=True, timeout=20)


def unlink(directory: Path) -> None:
    """Remove the hash links."""
    for path in directory.glob("*.[0-9]"):
        path.unlink()


def checked(exim: EximServer) -> str:
    """Return all that check says about an Exim's certificates in the directory and their links."""
    daemon = Eximcertd(exim)
    daemon.allowed.mkdir(exist_ok=True)
    with Twin(daemon.socket):
        lines = json.loads(ctl("--config", daemon.config, "check", "--json").out)
    return "\n".join(f"{line['verdict']} {line['sentence']} -> {line['remedy']}" for line in lines)


def test_a_certificate_without_its_link_is_named_until_openssl_rehash_has_made_it(
    tmp_path: Path, alice: Identity
) -> None:
    (tmp_path / "alice.pem").write_text(alice.pem)
    (tmp_path / "alice.key").write_bytes(alice.key.read_bytes())
    (tmp_path / "notes").write_text("no certificate")
    [line] = hash_links(tmp_path)
    assert line.verdict is Verdict.WARNING
    assert line.sentence.startswith(f"OpenSSL does not find alice.pem in {tmp_path}")
    assert f"openssl rehash {tmp_path}" in line.remedy
    rehash(tmp_path)
    assert [line.verdict for line in hash_links(tmp_path)] == [Verdict.OK]


def test_the_link_of_an_earlier_certificate_is_none_for_its_successor_of_another_name(
    tmp_path: Path, alice: Identity, mallory: Identity
) -> None:
    (tmp_path / "laptop.pem").write_text(alice.pem)
    rehash(tmp_path)
    (tmp_path / "laptop.pem").write_text(mallory.pem)
    assert [line.verdict for line in hash_links(tmp_path)] == [Verdict.WARNING]


def test_of_many_one_is_named_with_the_number_of_the_others_and_its_name_is_escaped(tmp_path: Path) -> None:
    directory = tmp_path / "certs"
    directory.mkdir()
    for name in ("\x1b.pem", "b.pem", "c.pem"):
        (directory / name).write_text(make(tmp_path, "client.example").pem)
    [line] = hash_links(directory)
    assert line.sentence.startswith("OpenSSL does not find \\x1b.pem and 2 more in ")


def test_of_two_of_one_name_without_key_identifiers_openssl_finds_one(tmp_path: Path) -> None:
    directory = tmp_path / "certs"
    directory.mkdir()
    for name in ("a.pem", "b.pem"):
        (directory / name).write_text(make(tmp_path, "client.example").pem)
    rehash(directory)
    [line] = hash_links(directory)
    assert line.sentence.startswith("OpenSSL does not find b.pem in")
    assert "with one name and no key identifier" in line.remedy


def test_it_claims_nothing_about_more_files_than_it_has_looked_at(tmp_path: Path, alice: Identity) -> None:
    (tmp_path / "0000.pem").write_text(alice.pem)
    rehash(tmp_path)
    for number in range(1, 2000):
        (tmp_path / f"{number:04}.pem").hardlink_to(tmp_path / "0000.pem")
    [line] = hash_links(tmp_path)
    assert (line.verdict, line.sentence) == (Verdict.OK, f"OpenSSL finds the certificates in {tmp_path}")
    (tmp_path / "2000.pem").write_text(alice.pem)
    [line] = hash_links(tmp_path)
    assert line.sentence == f"OpenSSL finds the certificates in the first 2000 of 2001 files in {tmp_path}"


def test_an_empty_directory_lacks_nothing(tmp_path: Path) -> None:
    assert [line.verdict for line in hash_links(tmp_path)] == [Verdict.OK]


@as_root
@pytest.mark.skipif(not linked_with_openssl(), reason="this Exim is linked with GnuTLS")
def test_an_exim_with_openssl_verifies_a_client_only_once_its_link_is_there(alice: Identity) -> None:
    with EximServer(trusted=[alice], allowed=[alice.fingerprint]) as exim:
        unlink(exim.certificates)
        assert ask(exim.port, alice).refused
        assert f"warning OpenSSL does not find {alice.certificate.name} in {exim.certificates}" in checked(exim)
        rehash(exim.certificates)
        assert ask(exim.port, alice).accepted
        assert f"ok OpenSSL finds the certificates in {exim.certificates}" in checked(exim)


@as_root
def test_links_are_no_matter_for_gnutls_and_for_the_pinned_recipe(alice: Identity) -> None:
    options = {"acl": PINNED_ACL} if linked_with_openssl() else {}
    with EximServer(trusted=[alice], allowed=[alice.fingerprint], **options) as exim:  # type: ignore[arg-type]
        unlink(exim.certificates)
        assert ask(exim.port, alice).accepted
        assert "OpenSSL does not find" not in checked(exim)
        assert "OpenSSL finds" not in checked(exim)
