"""Completion in bash, zsh and fish: verbs, fingerprints and names."""

from __future__ import annotations

import os
import shlex
import subprocess
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from lab.daemon import Eximcertd, program
from lab.entries import ALICE, BOB, certificate
from lab.twins import Twin

if TYPE_CHECKING:
    from pathlib import Path

    from lab.certificates import Identity
    from lab.exim import EximServer

    from eximcertd.control.server import Caller


def offered(shell: str, socket: Path, *words: str, last: str = "") -> str:
    """Return what a shell is offered after these words."""
    typed = ["eximcertctl", "--socket", str(socket), *words]
    done = subprocess.run(
        [program("eximcertctl")],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={
            **os.environ,
            "_EXIMCERTCTL_COMPLETE": f"{shell}_complete",
            "COMP_WORDS": shlex.join([*typed, last]),
            "COMP_CWORD": last if shell == "fish" else str(len(typed)),
        },
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_offered_verbs_fingerprints_and_names(twin: Twin, shell: str) -> None:
    twin.see(ALICE, certificate("CN=laptop.alice.example"))
    twin.see(BOB, certificate("CN=desk"), standing="approved")
    here = partial(offered, shell, twin.path)
    assert "approve" in here(last="app")
    assert ALICE[:16] in here("approve", last="a11")
    assert "laptop.alice.example" in here("approve", last="lap")
    assert BOB[:16] not in here("approve")
    assert BOB[:16] in here("revoke")
    assert ALICE[:16] in here("show", last=ALICE[:4])
    twin.see("C1" * 32, certificate("CN=laptop.claimed.example", source="attempt"))
    named = here("approve", last="laptop.")
    assert "laptop.alice.example" in named
    assert "claimed" not in named, "a name that only a client has shown is none for approve"
    twin.see("C0" * 32, certificate("CN=laptop$(reboot)"))
    assert "reboot" not in here("approve", last="lap"), "a name that a shell would execute is not offered"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_offered_the_same_after_options_that_click_reads(twin: Twin, shell: str) -> None:
    twin.see(ALICE, certificate("CN=laptop.alice.example"))
    plain = offered(shell, twin.path, "approve", last="a11")
    assert offered(shell, twin.path, "approve", "--note", "two words", last="a11") == plain
    assert "--note" in offered(shell, twin.path, "approve", last="--n")


@pytest.mark.parametrize(
    ("typed", "last", "offer"), [(["fleet"], "pen", "pending"), (["fleet", "settle"], "--ref", "--refused")]
)
def test_a_shell_is_offered_the_verbs_of_a_fleet(tmp_path: Path, typed: list[str], last: str, offer: str) -> None:
    assert offer in offered("bash", tmp_path / "none", *typed, last=last)


def test_a_shell_is_offered_nothing_where_eximcertd_does_not_answer(tmp_path: Path) -> None:
    assert offered("bash", tmp_path / "none", "approve", last="a") == ""


@pytest.mark.parametrize("options", [(), ("--note", "two words")])
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_compromised_eximcertd_offers_nothing_that_a_shell_executes(
    tmp_path: Path, shell: str, options: tuple[str, ...]
) -> None:
    async def hostile(_: Caller, __: dict[str, Any]) -> dict[str, Any]:
        command = {"fingerprint": "$(reboot)", "name": "desk", "named": True}
        return {"offers": [command, {"fingerprint": ALICE, "name": "a\nplain\n$(halt)\n\x1b[2J", "named": True}]}

    with Twin(tmp_path / "control", methods={"Complete": hostile}) as twin:
        offer = offered(shell, twin.path, "approve", *options)
    assert ALICE[:16] in offer
    assert "reboot" not in offer
    assert "\n$(halt)" not in offer
    assert "\x1b" not in offer


def test_of_any_number_of_clients_those_are_offered_that_begin_so(exim: EximServer, alice: Identity) -> None:
    others = [f"{number:016X}{'0' * 48}" for number in range(1, 300)]
    with Eximcertd(exim) as daemon:
        assert daemon.ctl("approve", alice.fingerprint).returncode == 0
        approved = "\n".join(f'{{"fingerprint": "{one}"}}' for one in others)
        assert daemon.ctl("import", "--without-certificate", given=approved).returncode == 0
        here = partial(offered, "bash", daemon.socket)
        assert here("revoke").count("plain") == 100
        assert here("revoke", last=alice.fingerprint[:3].lower()) == f"plain,{alice.fingerprint[:16]}\n"
        assert here("revoke", last="laptop.a") == "plain,laptop.alice.example\n"
        assert here("revoke", last=others[-1][:16]) == f"plain,{others[-1][:16]}\n"
        assert here("approve", last="laptop.a") == ""
