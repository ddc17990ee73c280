"""A certificate is named by an alternative name, its file, or a part of its subject; a name never decides alone."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from lab.certificates import Identity, make
from lab.deciding import decide

from eximcertd.certificates.index import Index
from eximcertd.decisions import naming
from eximcertd.decisions.naming import named
from eximcertd.errors import NoSuchFingerprintError
from eximcertd.fingerprint import Fingerprint
from eximcertd.ledger import Ledger
from eximcertd.log.sighting import Sighting
from eximcertd.status import Verb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Directory:
    """A ledger and a directory with certificates."""

    def __init__(self, directory: Path) -> None:
        (directory / "ledger").mkdir()
        self.made = directory / "made"
        self.made.mkdir()
        self.trusted = directory / "trusted"
        self.trusted.mkdir()
        self.ledger = Ledger(directory / "ledger")
        self.index = Index(self.trusted)

    def client(self, name: str, file: str = "", *, waits: bool = True, **made: Any) -> Fingerprint:
        """Let there be a client whose certificate lies in a file of the directory, and that was refused."""
        identity: Identity = make(self.made, name, **made)
        (self.trusted / (file or f"{name}.pem")).write_text(identity.pem)
        self.index.refresh()
        fingerprint = Fingerprint(identity.fingerprint)
        if waits:
            self.ledger.sightings.record("file", "1", [Sighting(fingerprint, 1, 1, 1)], self.index.__contains__)
        return fingerprint

    def named(self, name: str, verb: Verb = Verb.APPROVE) -> Fingerprint:
        return asyncio.run(named(self.ledger, self.index, name, verb))


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    directory = Directory(tmp_path)
    yield directory
    directory.ledger.close()


@pytest.mark.parametrize(
    "name", ["laptop.alice.example", "LAPTOP.alice.Example", "alice-2026.pem", "alice", " laptop "]
)
def test_a_client_that_waits_is_found_by_each_of_its_names(directory: Directory, name: str) -> None:
    directory.client("desk.bob.example")
    alice = directory.client("laptop.alice.example", "alice-2026.pem")
    assert directory.named(name) == alice
    assert directory.named(name, Verb.REJECT) == alice


def test_a_whole_name_counts_before_a_part(directory: Directory) -> None:
    directory.client("old.laptop.example")
    assert directory.named("laptop.example") == directory.named("old.laptop.example")
    whole = directory.client("laptop.example")
    assert directory.named("laptop.example") == whole


def test_a_name_that_several_have_decides_nothing(directory: Directory) -> None:
    both = {directory.client("one.example"), directory.client("two.example")}
    with pytest.raises(NoSuchFingerprintError, match="2 certificates have the name example") as told:
        directory.named("example")
    assert set(told.value.candidates) == both


def test_a_renewed_certificate_is_found_beside_the_approved_one_of_the_same_name(directory: Directory) -> None:
    old = directory.client("laptop.example", "old.pem")
    decide(directory.ledger, Verb.APPROVE, old)
    new = directory.client("laptop.example", "new.pem")
    assert directory.named("laptop.example") == new
    assert directory.named("laptop.example", Verb.REVOKE) == old


def test_a_file_that_no_client_has_shown_yet_is_found(directory: Directory) -> None:
    alice = directory.client("laptop.alice.example", "alice.pem", waits=False)
    assert directory.named("alice.pem") == alice


@pytest.mark.parametrize("name", ["", " ", "carol", "../ledger", "\x00", "x" * 100_000, "CN=", ",", "\ud800"])
def test_what_no_certificate_is_named_is_said(directory: Directory, name: str) -> None:
    directory.client("laptop.alice.example")
    with pytest.raises(NoSuchFingerprintError, match="no certificate"):
        directory.named(name)


def test_what_is_not_in_the_directory_has_no_name(directory: Directory) -> None:
    directory.client("laptop.alice.example", "alice.pem")
    (directory.trusted / "alice.pem").unlink()
    directory.index.refresh()
    with pytest.raises(NoSuchFingerprintError):
        directory.named("laptop.alice.example")


def test_a_name_is_found_among_any_number_of_clients_or_not_looked_up(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = directory.client("first.alice.example")
    for number in range(30):
        directory.client(f"{number}.bob.example")
    monkeypatch.setattr(naming, "MOST", 20)
    assert directory.named("alice") == one
    with pytest.raises(NoSuchFingerprintError, match="the name bob was not looked up: 20 certificates or more"):
        directory.named("bob")
    monkeypatch.setattr(naming, "SECONDS", 0.0)
    with pytest.raises(NoSuchFingerprintError, match="the certificate directory was not read to its end in 0 s"):
        directory.named("alice")


@pytest.mark.parametrize(
    "name",
    [
        "192.0.2.7",
        "2001:DB8::7",
        "ZO\u00cb",
        "CN=laptop.zo\u00eb.example",
        "example,O=\u6771\u4eac\\, Site",
        "https://alice.example/id",
    ],
)
def test_a_name_is_found_whatever_its_form_in_the_certificate(directory: Directory, name: str) -> None:
    directory.client("desk.bob.example")
    attributes = {NameOID.ORGANIZATION_NAME: "\u6771\u4eac, Site", NameOID.COMMON_NAME: "laptop.zo\u00eb.example"}
    others = [
        x509.IPAddress(ipaddress.ip_address("192.0.2.7")),
        x509.IPAddress(ipaddress.ip_address("2001:db8::7")),
        x509.UniformResourceIdentifier("https://alice.example/id"),
    ]
    one = directory.client(
        "x",
        names=[],
        subject=x509.Name([x509.NameAttribute(kind, value) for kind, value in attributes.items()]),
        usages=[x509.SubjectAlternativeName(others)],
    )
    assert directory.named(name) == one


def test_of_many_certificates_with_a_name_ten_are_shown(directory: Directory) -> None:
    clients = {directory.client("laptop.example", f"{number}.pem") for number in range(12)}
    with pytest.raises(NoSuchFingerprintError, match="12 certificates have the name laptop") as told:
        directory.named("laptop")
    assert len(told.value.candidates) == 10
    assert clients.issuperset(told.value.candidates)
