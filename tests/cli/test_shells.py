"""Completion as it is typed in Debian's bash, zsh and fish, with the files of the Debian package where it puts them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from lab.daemon import program
from lab.entries import ALICE, BOB, certificate
from lab.terminal import talk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.twins import Twin

ROOT: Final = Path(__file__).parents[2]
DIGITS: Final = ALICE[:16]
NAME: Final = "laptop.alice.example"
PROMPT: Final = "here: "

STARTUP: Final = {
    "bash": """
        . {share}/bash-completion/completions/eximcertctl
        bind 'set enable-bracketed-paste off'
    """,
    "zsh": """
        fpath=({share}/zsh/vendor-completions $fpath)
        autoload -U compinit
        compinit -u -D
        unset zle_bracketed_paste
    """,
}


@pytest.fixture
def share(tmp_path: Path) -> Path:
    """Install the completion files as the Debian package does, below another directory; return its usr/share."""
    for line in (ROOT / "packaging/debian/eximcertd.install").read_text().splitlines():
        source, directory = line.split()
        if source.startswith("packaging/completion/"):
            (tmp_path / directory).mkdir(parents=True)
            shutil.copy(ROOT / source, tmp_path / directory)
    return tmp_path / "usr/share"


@pytest.fixture
def seen(twin: Twin) -> Twin:
    """Let three clients wait, one of which has a name that a shell would execute, and one be approved."""
    twin.see(ALICE, certificate(f"CN={NAME}"))
    twin.see("C0" * 32, certificate(f"CN=desk$(touch {twin.path}.executed)"))
    twin.see("C1" * 32, certificate("CN=desk.bob.example"))
    twin.see(BOB, certificate("CN=old.bob.example"), standing="approved")
    return twin


def environment(**more: str) -> Mapping[str, str]:
    """Return an environment in which a shell finds eximcertctl."""
    return {"PATH": f"{Path(program('eximcertctl')).parent}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8", **more}


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_tab_key_completes_verbs_fingerprints_and_names(
    seen: Twin, share: Path, tmp_path: Path, shell: str
) -> None:
    startup = tmp_path / ".zshrc"
    startup.write_text(f"{STARTUP[shell].format(share=share)}\nPS1='{PROMPT}'\n")
    options = ["--rcfile", str(startup), "--noprofile"] if shell == "bash" else []
    typed = [
        (PROMPT, f"eximcertctl --socket {seen.path} sho\t"),
        (" show ", "a11\t"),
        (f"{DIGITS} ", "\r"),
        (PROMPT, f"eximcertctl --socket {seen.path} reject lap\t"),
        (f"{NAME} ", "\r"),
        ("[y/N]: ", "y\n"),
        (PROMPT, f"eximcertctl --socket {seen.path} approve des\t"),
        ("desk.bob.example ", "\x15exit\r"),
    ]
    shown = talk([shell, *options, "-i"], typed, 300, **environment(TERM="dumb", ZDOTDIR=str(tmp_path)))
    assert seen.called("Show") == [{"fingerprint": DIGITS}], shown
    assert [call["name"] for call in seen.called("Find")] == [NAME], shown
    assert not Path(f"{seen.path}.executed").exists()


def test_fish_completes_verbs_fingerprints_and_names(seen: Twin, share: Path, tmp_path: Path) -> None:
    def offered(typed: str) -> list[str]:
        command = ["fish", "--command", f"complete --do-complete='eximcertctl --socket {seen.path} {typed}'"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=60,
            env={**environment(), "XDG_DATA_DIRS": str(share), "HOME": str(tmp_path)},
        )  # fmt: skip
        assert done.stderr == ""
        return done.stdout.splitlines()

    assert [line.partition("\t")[0] for line in offered("appr")] == ["approve"]
    assert offered("show a11") == [f"{DIGITS}\t{NAME}"]
    assert offered("approve lap") == [f"{NAME}\t{DIGITS}"]
    assert offered("approve des") == [f"desk.bob.example\t{'C1' * 8}"]
    assert offered("revoke ") == [f"{BOB[:16]}\told.bob.example"]
    assert [line.partition("\t")[0] for line in offered("approve ")] == [DIGITS, "C0" * 8, "C1" * 8]
    assert not Path(f"{seen.path}.executed").exists()
