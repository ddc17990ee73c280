"""check compares the list that Exim has, in both forms, with what is approved."""

from __future__ import annotations

import pytest
from lab.checking import as_root, check, looked_at
from lab.ctl import ctl
from lab.entries import ALICE, BOB, certificate
from lab.twins import Twin

from eximcertd.fingerprint import NEVER


@as_root
@pytest.mark.parametrize(
    ("there", "approved", "sentence"),
    [
        ([ALICE, BOB], (ALICE,), "in Exim's list, but not approved: B0B11111"),
        ([ALICE], (ALICE, BOB), "approved, but not in Exim's list: B0B11111"),
        ([ALICE.lower()], (ALICE,), "which never matches: not 64 upper-case hex digits"),
        ([ALICE, next(iter(NEVER))], (ALICE,), "it is what Exim computes for a client without any certificate"),
    ],
)
def test_exims_list_is_held_against_the_ledger(there: list[str], approved: tuple[str, ...], sentence: str) -> None:
    with looked_at(allowed=there, approved=approved) as (_, daemon):
        status, found = check(daemon)
    assert status == 1
    assert any(sentence in line for line in found["error"]), found["error"]


@as_root
def test_a_macro_of_the_site_that_rewrites_fingerprints_is_seen() -> None:
    with looked_at(before="A11 = 22\n") as (_, daemon):
        status, found = check(daemon)
    assert status == 1
    assert any("approved, but not in Exim's list" in line for line in found["error"]), found["error"]


def lookup(directory: object, options: str = "filter=file,cache=no_rd") -> str:
    """Return the macro file of the directory form."""
    key = "${sha256:$tls_in_peercert}"
    return f"RELAY_FROM_CERTS = ${{lookup{{{key}}}dsearch,{options}{{{directory}}}{{{key}}}}}\n"


@as_root
def test_in_the_directory_form_a_lookup_is_tried_as_exims_user() -> None:
    with looked_at() as (exim, daemon):
        allowed = daemon.allowed
        exim.macro_file.write_text(lookup(allowed))
        (allowed / ALICE).touch()
        status, found = check(daemon)
        assert found["error"] == []
        assert status == 0
        assert any("an approved one is found" in line for line in found["ok"])
        (allowed / ALICE).unlink()
        assert any("not found, but approved" in line for line in check(daemon)[1]["error"])
        (allowed / ALICE).touch()
        (allowed / next(iter(NEVER))).touch()
        assert any("found, but can never be approved" in line for line in check(daemon)[1]["error"])
        exim.macro_file.write_text(lookup(allowed, "filter=file"))
        assert any("lacks cache=no_rd" in line for line in check(daemon)[1]["error"])


@as_root
def test_a_taken_over_eximcertd_cannot_have_exim_expand_its_text() -> None:
    with looked_at(approved=()) as (exim, daemon):
        owned = exim.mail / "owned"
        with Twin(daemon.socket.with_name("forged")) as forged:
            forged.see(f"${{run{{/bin/touch {owned}}}}}", certificate("CN=client"), standing="approved")
            exim.macro_file.write_text(lookup(daemon.allowed))
            done = ctl("--config", daemon.config, "--socket", forged.path, "check")
        assert "malformed fingerprint" in done.out
        assert not owned.exists()


@as_root
@pytest.mark.parametrize("mode", [0o700, 0o711])
def test_a_directory_that_exims_user_cannot_read_is_bad(mode: int) -> None:
    with looked_at() as (exim, daemon):
        allowed = daemon.allowed
        exim.macro_file.write_text(lookup(allowed))
        allowed.chmod(mode)
        status, found = check(daemon)
    assert status == 1
    assert any("every verified client gets 451" in line for line in found["error"])


@as_root
def test_names_of_authorities_that_exims_user_cannot_read_are_bad() -> None:
    with looked_at() as (_, daemon):
        names = daemon.state / "authorities"
        names.mkdir(exist_ok=True)
        names.chmod(0o755)
        assert any(f"can read {names}" in line for line in check(daemon)[1]["ok"])
        names.chmod(0o700)
        assert any("each new client gets 451" in line for line in check(daemon)[1]["error"])
