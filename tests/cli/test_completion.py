"""Completion in bash, zsh and fish: verbs, fingerprints and names."""

from __future__ import annotations

import os
import shlex
import subprocess

import pytest
from lab.daemon import program
from lab.twins import ALICE, BOB, Twin, certificate


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_offered_verbs_fingerprints_and_names(twin: Twin, shell: str) -> None:
    twin.see(ALICE, certificate("CN=laptop.alice.example"))
    twin.see(BOB, certificate("CN=desk"), standing="approved")

    def offered(*words: str, last: str = "") -> str:
        typed = ["eximcertctl", "--socket", str(twin.path), *words]
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

    assert "approve" in offered(last="app")
    assert ALICE[:16] in offered("approve", last="a11")
    assert "laptop.alice.example" in offered("approve", last="lap")
    assert BOB[:16] not in offered("approve")
    assert BOB[:16] in offered("revoke")
    assert ALICE[:16] in offered("show", last=ALICE[:4])
    twin.see("C1" * 32, certificate("CN=laptop.claimed.example", source="attempt"))
    named = offered("approve", last="laptop.")
    assert "laptop.alice.example" in named
    assert "claimed" not in named, "a name that only a client has shown is none for approve"
    twin.see("C0" * 32, certificate("CN=laptop$(reboot)"))
    assert "reboot" not in offered("approve", last="lap"), "a name that a shell would execute is not offered"
