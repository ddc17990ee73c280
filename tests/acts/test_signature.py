"""Acts are signed and verified by the real ssh-keygen; each failure is a sentence."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from lab.acts import FIRST, REQUEST
from lab.wait import until

from eximcertd.acts import signature
from eximcertd.acts.act import END_OF_TIME, LONGEST_SIGNATURE, Act, checked
from eximcertd.acts.signature import ActSignatureError, SigningError, armored, of_armor, sign, signer, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Keys = Callable[[str], Path]


def refusal(act: Act, signers: Path) -> str:
    with pytest.raises(ActSignatureError) as raised:
        verify(act, signers)
    return str(raised.value)


def program(directory: Path, script: str) -> str:
    """Put a program of our own in the place of ssh-keygen; return the PATH that finds it."""
    path = directory / "bin" / "ssh-keygen"
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return f"{path.parent}:{os.environ['PATH']}"


def test_an_act_that_is_signed_by_who_decided_is_valid(signed: Act, signers: Path) -> None:
    verify(checked(signed), signers)


def test_ssh_keygen_itself_verifies_the_file_that_is_written(signed: Act, signers: Path, tmp_path: Path) -> None:
    (tmp_path / "1.act.sig").write_bytes(armored(signed.signature))
    command = ["/usr/bin/ssh-keygen", "-Y", "verify", "-n", "eximcertd-fleet", "-I", "alice", "-f", str(signers)]
    subprocess.run([*command, "-s", tmp_path / "1.act.sig"], input=signed.text(), check=True, capture_output=True)
    assert of_armor((tmp_path / "1.act.sig").read_bytes()) == signed.signature


@pytest.mark.parametrize(
    "forged",
    [
        replace(FIRST, verb="reject"),
        replace(FIRST, generation=2),
        replace(FIRST, previous=FIRST.hash()),
        replace(FIRST, note="as agreed"),
        replace(FIRST, at=FIRST.at + 1),
        replace(FIRST, settles=(REQUEST,)),
        replace(FIRST, fingerprints=FIRST.fingerprints[:1]),
    ],
    ids=["verb", "generation", "previous", "note", "at", "settles", "fingerprints"],
)
def test_a_signature_is_good_for_one_act_at_one_place_in_the_chain(signed: Act, signers: Path, forged: Act) -> None:
    assert "the signature of act" in refusal(replace(forged, signature=signed.signature), signers)


def test_a_signature_of_somebody_else_is_refused_also_if_he_may_decide(signed: Act, signers: Path, key: Keys) -> None:
    by_bob = replace(signed, signature=sign(signed.text(), key("bob")))
    assert "act 1 by alice is not valid: ssh-keygen says" in refusal(by_bob, signers)
    verify(replace(signed, by="bob", signature=sign(replace(signed, by="bob").text(), key("bob"))), signers)


def test_an_act_of_the_last_moment_of_the_calendar_is_an_act_like_any_other(signers: Path, key: Keys) -> None:
    last = replace(FIRST, at=END_OF_TIME - 1)
    verify(checked(replace(last, signature=sign(last.text(), key("alice")))), signers)
    assert "is not valid" in refusal(replace(last, signature=sign(FIRST.text(), key("alice"))), signers)


def test_a_key_that_is_not_in_the_file_is_refused(signed: Act, signers: Path, key: Keys) -> None:
    said = refusal(replace(signed, signature=sign(signed.text(), key("mallory"))), signers)
    assert f"Who may decide, with which keys, is in {signers}." in said


def test_a_key_that_was_taken_out_of_the_file_is_refused(signed: Act, signers: Path) -> None:
    verify(signed, signers)
    signers.write_text(signers.read_text().splitlines()[1] + "\n")
    refusal(signed, signers)


def test_a_key_with_an_end_is_good_for_the_acts_that_were_made_before_it(signed: Act, signers: Path, key: Keys) -> None:
    public = key("alice").with_suffix(".pub").read_text()
    signers.write_text(f'alice valid-before="20240101000000Z" {public}')
    verify(signed, signers)  # made in November 2023
    later = replace(signed, at=1_704_070_800_000_000)  # 1 January 2024, 01:00 UTC
    assert "expired" in refusal(replace(later, signature=sign(later.text(), key("alice"))), signers)


def test_a_time_is_read_as_utc_whatever_the_zone_of_the_machine(
    signed: Act, signers: Path, key: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    before = replace(signed, at=1_704_063_600_000_000)  # 31 December 2023, 23:00 UTC
    signers.write_text(f'alice valid-before="20240101000000Z" {key("alice").with_suffix(".pub").read_text()}')
    verify(replace(before, signature=sign(before.text(), key("alice"))), signers)


def test_a_signature_that_was_made_for_something_else_is_refused(signed: Act, signers: Path, key: Keys) -> None:
    command = ["/usr/bin/ssh-keygen", "-q", "-Y", "sign", "-n", "git", "-f", str(key("alice"))]
    made = subprocess.run(command, input=signed.text(), check=True, capture_output=True).stdout
    assert "namespace" in refusal(replace(signed, signature=of_armor(made)), signers)


def test_an_act_without_a_signature_is_refused(signed: Act, signers: Path) -> None:
    assert "is not signed" in refusal(replace(signed, signature=""), signers)


@pytest.mark.parametrize("damaged", ["AAAA", "U1NIU0lH", "U1NIU0lHAAAAAQAAADMAAAAL"])
def test_a_damaged_signature_is_refused(signed: Act, signers: Path, damaged: str) -> None:
    refusal(replace(signed, signature=damaged), signers)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"AAAA",
        b"-----BEGIN SSH SIGNATURE-----\n\n-----END SSH SIGNATURE-----\n",
        b"\xff" * 100,
        armored("AAA"),
        armored("AAAA") + b"more",
        armored("A" * (LONGEST_SIGNATURE + 4)),
    ],
    ids=["empty", "bare", "hollow", "binary", "cut", "more", "long"],
)
def test_a_file_that_is_no_signature_is_refused(text: bytes) -> None:
    with pytest.raises(ActSignatureError, match="malformed"):
        of_armor(text)


def test_the_longest_signature_is_read_back() -> None:
    assert of_armor(armored("A" * LONGEST_SIGNATURE)) == "A" * LONGEST_SIGNATURE


def test_what_ssh_keygen_prints_is_escaped(
    signed: Act, signers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", program(tmp_path, r"printf 'red \033[31m\nline' >&2; exit 255"))
    assert r"ssh-keygen says: red \x1b[31m; line" in refusal(signed, signers)


def test_a_program_that_hangs_is_ended_and_nothing_is_said_of_the_act(
    signed: Act, signers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", program(tmp_path, f"echo $$ >{tmp_path}/pid; exec sleep 600"))
    monkeypatch.setattr(signature, "VERIFY_LIMIT", 0.5)
    with pytest.raises(SigningError, match=r"ssh-keygen timed out after 0\.5 s and was killed"):
        verify(signed, signers)
    pid = tmp_path / "pid"
    assert not pid.exists() or not os.path.exists(f"/proc/{pid.read_text().strip()}")  # noqa: PTH110 - one look


def test_a_program_that_dies_says_nothing_of_the_act(
    signed: Act, signers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", program(tmp_path, "kill -9 $$"))
    with pytest.raises(SigningError, match="ended by signal 9"):
        verify(signed, signers)


def test_a_missing_program_is_named_with_its_package(
    signed: Act, signers: Path, tmp_path: Path, key: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = key("alice")
    monkeypatch.setenv("PATH", str(tmp_path))
    for failing in (lambda: verify(signed, signers), lambda: sign(b"", private)):
        with pytest.raises(SigningError, match="ssh-keygen cannot be run: No such file or directory") as raised:
            failing()
        assert "openssh-client" in str(raised.value)


def test_a_signers_file_that_cannot_be_read_is_no_fault_of_the_act(signed: Act, tmp_path: Path) -> None:
    with pytest.raises(SigningError, match=f"the signers' file {tmp_path}/none cannot be read"):
        verify(signed, tmp_path / "none")


def test_a_key_that_cannot_sign_is_named(tmp_path: Path) -> None:
    with pytest.raises(SigningError, match=f"cannot be signed with {tmp_path}/none: ssh-keygen says") as raised:
        sign(b"", tmp_path / "none")
    assert "Nothing was decided." in str(raised.value)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run an agent without a key, for a person who has no files in ~/.ssh either."""
    socket = tmp_path / "agent"
    with subprocess.Popen(["/usr/bin/ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL) as running:
        try:
            until(socket.is_socket, "the agent listens")
            monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
            monkeypatch.setenv("HOME", str(tmp_path))
            yield
        finally:
            running.terminate()


def load(*keys: Path) -> None:
    subprocess.run(["/usr/bin/ssh-add", "-q", *keys], check=True)


def test_a_key_that_an_agent_alone_has_signs(
    signed: Act, signers: Path, tmp_path: Path, key: Keys, agent: None
) -> None:
    public = tmp_path / "alice.pub"
    public.write_bytes(key("alice").with_suffix(".pub").read_bytes())
    load(key("alice"))
    verify(replace(signed, signature=sign(signed.text(), public)), signers)
    assert signer(signers, public) == "alice"


def test_of_the_keys_in_an_agent_the_one_that_may_decide_signs(
    signed: Act, signers: Path, key: Keys, agent: None
) -> None:
    load(key("mallory"), key("alice"))
    assert signer(signers) == "alice"
    verify(replace(signed, signature=sign(signed.text(), signers=signers)), signers)


def test_a_key_in_the_home_directory_signs(signed: Act, signers: Path, tmp_path: Path, key: Keys, agent: None) -> None:
    (tmp_path / ".ssh").mkdir()
    for suffix in ("", ".pub"):
        to = tmp_path / ".ssh" / f"id_ecdsa{suffix}"
        to.write_bytes(key("bob").with_suffix(suffix).read_bytes())
        to.chmod(0o600)
    assert signer(signers) == "bob"
    by_bob = replace(signed, by="bob")
    verify(replace(by_bob, signature=sign(by_bob.text())), signers)


def test_who_has_no_key_or_none_that_may_decide_is_told(signers: Path, key: Keys, agent: None) -> None:
    with pytest.raises(SigningError, match="you have no SSH key"):
        sign(b"", signers=signers)
    load(key("mallory"))
    with pytest.raises(SigningError, match=f"none of your SSH keys is in {signers}: you may not decide"):
        signer(signers)
    with pytest.raises(SigningError, match=f"the key {key('mallory')} is not in {signers}"):
        signer(signers, key("mallory"))


def test_a_name_in_a_comment_of_the_signers_file_is_none(signers: Path, key: Keys, agent: None) -> None:
    signers.write_text("".join(f"#{line}\n\n" for line in signers.read_text().splitlines()))
    with pytest.raises(SigningError, match="it may not decide"):
        signer(signers, key("alice"))


def test_a_key_with_options_in_the_signers_file_has_its_name(signers: Path, key: Keys) -> None:
    public = key("alice").with_suffix(".pub").read_text()
    signers.write_text(f'alice,a@example.org namespaces="eximcertd-fleet",valid-after="20200101" {public}')
    assert signer(signers, key("alice")) == "alice"
