"""Which certificates the index finds in a directory, and in which files."""

from __future__ import annotations

import os
import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest
from lab.certificates import Identity, indexed, make, make_ca
from lab.reads import bytes_read

from eximcertd.certificates.index import Index

if TYPE_CHECKING:
    from pathlib import Path

    from eximcertd.fingerprint import Fingerprint


def test_the_fingerprint_is_the_one_that_openssl_computes(certs: Path, alice: Identity) -> None:
    (certs / "alice.pem").write_text(alice.pem)
    command = ["/usr/bin/openssl", "x509", "-in", str(alice.certificate), "-noout", "-fingerprint", "-sha256"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert [*indexed(certs)] == [said.strip().partition("=")[2].replace(":", "")]


@pytest.mark.parametrize("name", ["a.pem", "a.crt", "a.cer", "1234abcd.0", "a", "a b\n.pem", "-rf"])
def test_the_ending_of_a_files_name_says_nothing(certs: Path, alice: Identity, name: str) -> None:
    (certs / name).write_text(alice.pem)
    assert indexed(certs).files(alice.fingerprint) == [certs / name]


def test_a_name_that_is_no_utf_8_is_a_name_too(certs: Path, alice: Identity) -> None:
    (certs / os.fsdecode(b"caf\xe9.pem")).write_text(alice.pem)
    index = indexed(certs)
    assert index.files(alice.fingerprint) == [certs / os.fsdecode(b"caf\xe9.pem")]
    details = index.details(alice.fingerprint)
    assert details is not None
    assert details.files == (os.fsdecode(b"caf\xe9.pem"),)


def test_der_is_read_as_well_as_pem(certs: Path, alice: Identity) -> None:
    (certs / "alice.der").write_bytes(alice.der)
    assert alice.fingerprint in indexed(certs)


@pytest.mark.parametrize("label", ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"])
def test_every_label_that_tls_libraries_take_is_taken(certs: Path, alice: Identity, label: str) -> None:
    (certs / "alice.pem").write_text(alice.pem.replace("CERTIFICATE", label))
    assert alice.fingerprint in indexed(certs)


def test_openssls_trusted_form_has_the_fingerprint_of_the_certificate_alone(certs: Path, alice: Identity) -> None:
    command = ["/usr/bin/openssl", "x509", "-in", str(alice.certificate), "-trustout", "-addtrust", "clientAuth"]
    subprocess.run([*command, "-out", str(certs / "t.pem")], check=True)
    assert "TRUSTED" in (certs / "t.pem").read_text()
    assert [*indexed(certs)] == [alice.fingerprint]


def test_text_before_and_a_key_beside_do_no_harm(certs: Path, alice: Identity) -> None:
    (certs / "a.pem").write_text("Certificate:\n  Data: - -- ---\n" + alice.key.read_text() + alice.pem + "\n# end\n")
    assert [*indexed(certs)] == [alice.fingerprint]


def test_line_ends_of_windows_and_a_missing_last_one_are_taken(certs: Path, alice: Identity) -> None:
    (certs / "a.pem").write_bytes(alice.pem.strip().replace("\n", "\r\n").encode())
    assert alice.fingerprint in indexed(certs)


def test_a_bundle_gives_all_its_certificates_however_large_it_is(certs: Path, some: list[Identity]) -> None:
    filler = ("# " + "x" * 77 + "\n") * 9000  # 720 KB: a block lies across every piece that a file is read in
    text = "".join(filler[: 100_000 + 7001 * number] + one.pem for number, one in enumerate(some))
    (certs / "bundle.pem").write_text(text)
    index = indexed(certs)
    assert set(index) == {one.fingerprint for one in some}
    assert index.counts().files == 1


@pytest.mark.parametrize("shift", [*range(0, 1400, 100), 1, 27, 28])
def test_a_block_across_the_end_of_a_piece_is_found(certs: Path, alice: Identity, shift: int) -> None:
    (certs / "a.pem").write_text("#" * ((256 << 10) - shift) + "\n" + alice.pem + "#" * 300_000)
    assert alice.fingerprint in indexed(certs)


def test_the_systems_own_bundle_is_found_whole(certs: Path) -> None:
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    (certs / "bundle").symlink_to(bundle)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(bundle)
    assert len(indexed(certs)) == context.cert_store_stats()["x509"]


def test_identical_certificates_are_one_with_several_files(certs: Path, alice: Identity) -> None:
    for name in ("b.pem", "a.crt"):
        (certs / name).write_text(alice.pem)
    (certs / "twice.pem").write_text(alice.pem * 2)
    index = indexed(certs)
    assert [*index] == [alice.fingerprint]
    assert index.files(alice.fingerprint) == [certs / "a.crt", certs / "b.pem", certs / "twice.pem"]
    assert index.counts().distinct == 1
    assert index.counts().files == 3


def test_a_thousand_names_of_one_certificate_can_come_and_go(certs: Path, alice: Identity) -> None:
    for number in range(1000):
        (certs / f"{number:04}.pem").write_text(alice.pem)
    index = indexed(certs)
    assert len(index.files(alice.fingerprint)) == 1000
    details = index.details(alice.fingerprint)
    assert details is not None
    assert len(details.files) == 100


def test_links_are_followed_also_out_of_the_directory(certs: Path, tmp_path: Path, alice: Identity) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "alice.crt").write_text(alice.pem)
    (certs / "alice.pem").symlink_to(tmp_path / "outside" / "alice.crt")
    (certs / "0a1b2c3d.0").symlink_to("alice.pem")
    assert indexed(certs).files(alice.fingerprint) == [certs / "0a1b2c3d.0", certs / "alice.pem"]


def test_a_file_with_many_links_is_read_once(certs: Path, tmp_path: Path, alice: Identity) -> None:
    text = "#" * 100_000 + "\n" + alice.pem
    (tmp_path / "target.crt").write_text(text)
    for number in range(20):
        (certs / f"{number}.pem").symlink_to(tmp_path / "target.crt")
    index = Index(certs)
    assert bytes_read(index.refresh) < 2 * len(text)
    assert len(index.files(alice.fingerprint)) == 20


def test_details_of_many_read_their_bundle_once(certs: Path, some: list[Identity]) -> None:
    text = "#" * 100_000 + "\n" + "".join(one.pem for one in some)
    (certs / "bundle.pem").write_text(text)
    index = indexed(certs)
    index.details(some[0].fingerprint)  # imports what it needs
    wanted = [one.fingerprint for one in some[1:]]
    found: dict[Fingerprint, object] = {}
    assert bytes_read(lambda: found.update(index.details_of(wanted))) < 2 * len(text)
    assert set(found) == set(wanted)


def test_details_come_from_another_file_where_the_first_has_gone(certs: Path, alice: Identity) -> None:
    (certs / "a.pem").write_text(alice.pem)
    (certs / "b.pem").write_text(alice.pem)
    index = indexed(certs)
    (certs / "a.pem").unlink()
    details = index.details(alice.fingerprint)
    assert details is not None
    assert details.subject == "CN=laptop.alice.example"


def test_no_details_where_no_file_holds_it(certs: Path, alice: Identity, mallory: Identity) -> None:
    (certs / "a.pem").write_text(alice.pem)
    index = indexed(certs)
    assert index.details(mallory.fingerprint) is None
    assert index.files(mallory.fingerprint) == []
    (certs / "a.pem").unlink()
    assert index.details(alice.fingerprint) is None


def test_a_ca_and_the_leaf_it_signed_are_two_entries(certs: Path, tmp_path: Path) -> None:
    ca = make_ca(tmp_path / "identities")
    leaf = make(tmp_path / "identities", "leaf.example", issuer=ca)
    (certs / "chain.pem").write_bytes(leaf.chain.read_bytes())
    assert set(indexed(certs)) == {ca.fingerprint, leaf.fingerprint}


@pytest.mark.parametrize("text", ["", "x", "ab" * 32, "AB" * 31, None, 7])
def test_what_is_no_fingerprint_is_not_in_the_index(certs: Path, text: object) -> None:
    assert text not in indexed(certs)
