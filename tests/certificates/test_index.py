"""What the index finds in a directory, whatever lies there."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from lab.certificates import Identity, make, make_ca
from lab.reads import bytes_read
from lab.wait import until

from eximcertd.certificates.index import Index
from eximcertd.certificates.reading import LARGEST_FILE

if TYPE_CHECKING:
    from eximcertd.fingerprint import Fingerprint


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> list[Identity]:
    """Make five certificates."""
    place = tmp_path_factory.mktemp("some")
    return [make(place, f"client{number}.example") for number in range(5)]


@pytest.fixture
def certs(tmp_path: Path) -> Path:
    """Make the directory that is indexed."""
    directory = tmp_path / "certs"
    directory.mkdir()
    return directory


def indexed(directory: Path) -> Index:
    index = Index(directory)
    index.refresh()
    return index


def reason(index: Index, name: str) -> str:
    return dict(index.skipped())[name]


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


def test_links_to_nothing_and_in_circles_are_passed_over(certs: Path) -> None:
    (certs / "dangling.pem").symlink_to("/nowhere/at/all.pem")
    (certs / "loop.pem").symlink_to("loop2.pem")
    (certs / "loop2.pem").symlink_to("loop.pem")
    index = indexed(certs)
    assert reason(index, "dangling.pem") == "is a link to a file that does not exist"
    assert reason(index, "loop.pem") == "is a link to itself"
    assert index.counts().skipped == 3


def test_fifos_sockets_devices_and_directories_are_passed_over_and_never_opened(certs: Path) -> None:
    os.mkfifo(certs / "fifo.pem")
    (certs / "null").symlink_to("/dev/null")
    (certs / "directory.pem").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(certs / "socket.pem"))
        index = indexed(certs)
    assert reason(index, "fifo.pem") == "is a FIFO"
    assert reason(index, "null") == "is a device"
    assert reason(index, "directory.pem") == "is a directory"
    assert reason(index, "socket.pem") == "is a socket"


def test_garbage_keys_requests_and_empty_files_are_passed_over(certs: Path, alice: Identity, tmp_path: Path) -> None:
    (certs / "empty.pem").touch()
    (certs / "garbage.pem").write_bytes(os.urandom(5000))
    (certs / "truncated.pem").write_text(alice.pem[:400])
    (certs / "truncated.der").write_bytes(alice.der[:-20])
    (certs / "nothing.pem").write_text("-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n")
    (certs / "half.pem").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    (certs / "one-byte").write_bytes(b"0")
    (certs / "key.pem").write_bytes(alice.key.read_bytes())
    request = ["/usr/bin/openssl", "req", "-new", "-key", str(alice.key), "-subj", "/CN=x"]
    subprocess.run([*request, "-outform", "DER", "-out", str(certs / "request.der")], check=True, capture_output=True)
    index = indexed(certs)
    assert len(index) == 0
    assert index.counts().skipped == 9
    assert reason(index, "empty.pem") == "is empty"
    assert reason(index, "request.der") == "holds no certificate"


def test_a_huge_file_is_passed_over_unread(certs: Path) -> None:
    with (certs / "huge.pem").open("wb") as stream:
        stream.truncate(LARGEST_FILE + 1)
    index = Index(certs)
    assert bytes_read(index.refresh) < 10_000
    assert reason(index, "huge.pem") == "is too large to be a file of certificates"


def test_a_file_without_rights_is_passed_over(alice: Identity) -> None:
    script = (
        "import os, sys; from pathlib import Path; from eximcertd.certificates.index import Index\n"
        "index = Index(Path(sys.argv[1])); os.geteuid() or (os.setgroups([]), os.setgid(65534), os.setuid(65534))\n"
        "index.refresh(); print(index.skipped())"
    )
    with TemporaryDirectory() as name:
        certs = Path(name)
        certs.chmod(0o755)
        (certs / "alice.pem").write_text(alice.pem)
        (certs / "alice.pem").chmod(0)
        said = subprocess.run([sys.executable, "-c", script, name], capture_output=True, text=True, check=False)
    assert "[('alice.pem', \"cannot be read by eximcertd's user\")]" in said.stdout, said.stderr


def test_the_first_entries_of_a_long_list_of_what_was_passed_over_are_shown(certs: Path) -> None:
    for number in range(30):
        (certs / f"{number:02}").touch()
    assert [name for name, _ in indexed(certs).skipped(3)] == ["00", "01", "02"]


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
