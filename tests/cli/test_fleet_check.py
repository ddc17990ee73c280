"""eximcertctl fleet check: the chain of the acts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab.fleet import next_act

from eximcertd.acts.act import Head
from eximcertd.fingerprint import Fingerprint

if TYPE_CHECKING:
    from lab.desk import Site

A, B, C = (Fingerprint(letter * 64) for letter in "ABC")
pytestmark = pytest.mark.usefixtures("utc")


def test_a_whole_chain_is_told_with_its_last_hash(site: Site) -> None:
    site.home.act("approve", A, B)
    last = site.home.act("revoke", B, by="bob")
    done = site.ctl("fleet", "check")
    assert done.status == 0
    assert "2 acts on 2 fingerprints: the chain is whole, each signed by one of the signers." in done.out
    assert f"Act 2 has the hash {last.hash()}" in done.out
    found = site.ctl("fleet", "check", "--json").json
    assert (found["acts"], found["signed"], found["problem"]) == (2, True, None)


def test_a_changed_act_is_found(site: Site) -> None:
    first = site.home.act("approve", A)
    site.home.act("approve", B)
    site.home.act("approve", C)
    forged = next_act(Head(1, first.hash()), "approve", "D" * 64, by="bob")
    site.home.file(2).write_bytes(forged.text())
    done = site.ctl("fleet", "check")
    assert done.status == 1
    assert "THE CHAIN IS BROKEN" in done.err


def test_an_act_of_a_person_who_is_no_signer_is_found(site: Site) -> None:
    site.home.act("approve", A, by="bob")
    lines = site.home.signers.read_text().splitlines()
    site.home.signers.write_text(f"{lines[0]}\n")
    done = site.ctl("fleet", "check", "--json")
    assert done.status == 1
    assert "act 1 by bob" in done.out
