"""The CAs of the system's bundle, and what they have signed, are public; an administrator's own CA in it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab.authorities import Signer

from eximcertd.authorities.system_bundle import public_ca

if TYPE_CHECKING:
    from pathlib import Path

PUBLIC, OWN = Signer("Public Root"), Signer("Site CA")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    file = tmp_path / "ca-certificates.crt"
    file.write_bytes(Signer("Other Root").pem + PUBLIC.pem + OWN.pem)
    return file


@pytest.fixture
def local(tmp_path: Path) -> Path:
    directory = tmp_path / "local"
    directory.mkdir()
    (directory / "site.crt").write_bytes(OWN.pem)
    return directory


def test_a_public_ca_its_renewed_certificate_and_what_it_has_signed_are_public(bundle: Path, local: Path) -> None:
    renewed = Signer("Public Root", key=PUBLIC.private)
    for signer in (PUBLIC, renewed, Signer("Reseller", PUBLIC)):
        assert public_ca(signer.der, [bundle], [local]) == "CN=Public Root,O=Site"


def test_an_administrators_own_ca_a_private_one_and_a_twin_of_a_public_one_are_not(bundle: Path, local: Path) -> None:
    for signer in (OWN, Signer("Private CA"), Signer("Public Root"), Signer("Below", Signer("Public Root"))):
        assert public_ca(signer.der, [bundle], [local]) == ""


def test_a_machine_without_a_bundle_has_no_public_ca(tmp_path: Path) -> None:
    assert public_ca(PUBLIC.der, [tmp_path / "missing"], [tmp_path / "none"]) == ""
