"""Policies and notifications of the real daemon, by programs that a person wrote."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from lab.certificates import make
from lab.daemon import Eximcertd
from lab.exim import EXIM
from lab.smtp import ask
from lab.wait import until

if TYPE_CHECKING:
    from pathlib import Path

    from lab.certificates import Identity
    from lab.exim import EximServer


def program(path: Path, script: str) -> list[str]:
    """Write an executable shell script and return the command."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return [str(path)]


@pytest.mark.parametrize(("status", "standing"), [(0, "approved"), (2, "rejected")])
def test_a_policy_decides_by_its_exit_status_and_its_words_are_the_note(
    exim: EximServer, alice: Identity, tmp_path: Path, status: int, standing: str
) -> None:
    command = program(tmp_path / "policy", f"cat >{tmp_path}/asked; echo in the inventory; exit {status}")
    with Eximcertd(exim, {"policy": {"command": command}}) as daemon:
        assert ask(exim.port, alice).refused
        until(lambda: daemon.entries().get(alice.fingerprint, {}).get("standing") == standing, "it decided")
        [decision] = daemon.json("history", alice.fingerprint)
        assert (decision["by"], decision["note"]) == ("by policy", "in the inventory")
        assert json.loads((tmp_path / "asked").read_text())["fingerprint"] == alice.fingerprint
        if status == 0:
            until(lambda: ask(exim.port, alice).accepted, "Exim honours it")


@pytest.mark.parametrize("script", ["exit 1", "exit 7", "kill -9 $$", "exec /nothing/there"])
def test_a_policy_that_answers_nothing_clear_leaves_it_to_a_person(
    exim: EximServer, alice: Identity, tmp_path: Path, script: str
) -> None:
    command = program(tmp_path / "policy", f"echo asked >>{tmp_path}/asked\n{script}")
    with Eximcertd(exim, {"policy": {"command": command}}) as daemon:
        assert ask(exim.port, alice).refused
        until((tmp_path / "asked").exists, "it was asked")
        if script != "exit 1":
            until(lambda: "left to a person" in daemon.words(), "the failure is reported")
        assert daemon.entries("pending")[alice.fingerprint]["decision"] is None


def test_a_policy_obeys_the_rules_of_approve(exim: EximServer, identities: Path, tmp_path: Path) -> None:
    authority = make(identities, "authority.example", ca=True)
    leaf = make(identities, "leaf.example", issuer=authority)
    for who in (authority, leaf):
        (exim.certificates / f"{who.fingerprint}.pem").write_bytes(who.certificate.read_bytes())
    exim.reload()
    with Eximcertd(exim, {"policy": {"command": program(tmp_path / "policy", "exit 0")}}) as daemon:
        ask(exim.port, authority)
        until(lambda: "not approved by policy" in daemon.words(), "the refusal is reported")
        assert daemon.entries("pending")[authority.fingerprint]["decision"] is None


@pytest.mark.parametrize("same_key", [True, False])
def test_a_renewal_with_the_same_key_is_approved_if_that_is_wanted(
    exim: EximServer, identities: Path, tmp_path: Path, same_key: bool
) -> None:
    old = make(identities / "old", "relay.example")
    new = make(identities / "new", "relay.example", key=old.private if same_key else "ec")
    for who in (old, new):
        (exim.certificates / f"{who.fingerprint}.pem").write_bytes(who.certificate.read_bytes())
    exim.reload()
    with Eximcertd(exim, {"policy": {"approve_renewals": "same-key"}}) as daemon:
        assert daemon.ctl("approve", old.fingerprint).returncode == 0
        assert ask(exim.port, new).refused
        if same_key:
            until(lambda: daemon.entries()[new.fingerprint]["standing"] == "approved", "it is approved")
            assert "with the same key" in daemon.json("history", new.fingerprint)[0]["note"]
        else:
            until(lambda: daemon.entries("pending"), "it is pending")
            assert daemon.entries("pending")[new.fingerprint]["decision"] is None


def test_an_exim_that_is_down_is_told_at_once_and_a_new_client_waits_for_others(
    exim: EximServer, alice: Identity, mallory: Identity, tmp_path: Path
) -> None:
    told, broken = tmp_path / "told", f"sed -i 1ino_such_option=1 {exim.configuration}"
    validated = f"grep -q {alice.fingerprint} {exim.macro_file}"
    [wrapper] = program(tmp_path / "exim", f'{EXIM} "$@"; status=$?; {validated} && {broken}; exit $status')
    command = program(tmp_path / "tell", f"cat >>{told}")
    with Eximcertd(exim, {"exim": {"binary": wrapper}, "notify": {"command": command}}) as daemon:
        assert ask(exim.port, mallory).refused
        until(lambda: daemon.entries("pending"), "a new client waits")
        assert "EXIM IS DOWN" in daemon.ctl("approve", alice.fingerprint).stderr
        until(lambda: told.exists() and told.read_text(), "a message")
        assert [json.loads(line)["kind"] for line in told.read_text().splitlines()] == ["exim-is-down"]
