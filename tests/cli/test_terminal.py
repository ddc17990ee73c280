"""What reaches the terminal: no control characters of strangers, any locale, a reader that leaves early."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from lab.ctl import ctl
from lab.daemon import program
from lab.entries import ALICE, PEER, certificate
from lab.twins import LIVE, Twin

if TYPE_CHECKING:
    from pathlib import Path

    from eximcertd.control.server import Caller

NASTY = "CN=\x1b[2Jevil\n\u202eforged\x07"


@pytest.mark.parametrize("verb", ["pending", "list", "show", "history"])
def test_nothing_that_strangers_write_reaches_the_terminal_raw(twin: Twin, at: tuple[str, str], verb: str) -> None:
    peer = dict.fromkeys(PEER, NASTY)
    entry = twin.see(ALICE, certificate(NASTY, names=[NASTY], key=NASTY, files=[NASTY]), warnings=[NASTY])
    entry["from"] = peer
    entry["decision"] = {"verb": "approve", "by": NASTY, "at": "2026-01-01T00:00:00Z", "note": NASTY}
    twin.records = [{"fingerprint": ALICE, **entry["decision"]}]
    arguments = [verb, ALICE] if verb in {"show", "history"} else [verb, "--all"]
    for done in (ctl(*at, *arguments), ctl(*at, *arguments, "--json")):
        assert done.status == 0
        assert not set(done.out) & set("\x1b\x07\u202e")
    assert all(len(line) <= 120 for line in ctl(*at, "pending").out.splitlines())


@pytest.mark.parametrize("der", ["bm8gY2VydGlmaWNhdGU=", "no base64!", ""])
def test_certificate_prints_nothing_but_the_certificate_that_was_asked_for(tmp_path: Path, der: str) -> None:
    async def forged(_: Caller, __: dict[str, Any]) -> dict[str, Any]:
        return {"fingerprint": ALICE, "der": der}

    with Twin(tmp_path / "control", methods={"GetCertificate": forged}) as twin:
        done = ctl("--socket", str(twin.path), "certificate", ALICE)
    assert (done.status, done.out) == (1, "")
    assert "eximcertd" in done.err


def test_what_a_taken_over_eximcertd_answers_never_reaches_the_terminal_raw(tmp_path: Path) -> None:
    async def forged(_: Caller, __: dict[str, Any]) -> dict[str, Any]:
        return {
            "decided": [
                {
                    "fingerprint": "\x1b]0;owned\x07\nrevoked  forged",
                    "standing": "\x1b[2Jrevoked",
                    "certificate": certificate(NASTY, not_after="\x1b[1m", key=NASTY),
                    "decision": {"verb": "\x1b[3m", "by": NASTY, "at": NASTY, "note": NASTY},
                    "renews": {"fingerprint": NASTY, "same_key": True, "by": NASTY, "at": NASTY},
                    "same_name": [NASTY],
                    "warnings": [NASTY],
                    "revoke_at": NASTY,
                }
            ],
            "publication": {**LIVE, "live": False, "step": NASTY, "message": NASTY, "exim": NASTY, "retry": NASTY},
        }

    with Twin(tmp_path / "control", methods={"Decide": forged}) as twin:
        for verb in ("approve", "reject", "revoke"):
            done = ctl("--socket", twin.path, verb, ALICE)
            assert done.status == 6
            shown = done.out + done.err
            assert "\x1b" not in shown
            assert "\x07" not in shown
            assert "\u202e" not in shown
            assert "\nrevoked  forged" not in shown


def test_a_reader_that_leaves_early_is_no_fault(twin: Twin, at: tuple[str, str]) -> None:
    for number in range(2000):
        twin.see(f"{number:064X}", certificate(f"CN={number}"))
    with subprocess.Popen(
        [program("eximcertctl"), *at, "pending"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as done:
        assert done.stdout is not None
        assert done.stderr is not None
        done.stdout.readline()
        done.stdout.close()
        assert done.stderr.read() == ""


@pytest.mark.parametrize("locale", ["C", "POSIX", "C.UTF-8"])
def test_a_terminal_that_knows_only_ascii_gets_all_the_same(twin: Twin, at: tuple[str, str], locale: str) -> None:
    twin.see(ALICE, certificate("CN=M\u00fcnchen \u6771\u4eac " + "x" * 100))
    done = subprocess.run(
        [program("eximcertctl"), *at, "pending"],
        capture_output=True,
        timeout=30,
        check=False,
        env={"LC_ALL": locale, "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PATH": os.environ["PATH"]},
    )
    assert done.returncode == 0
    assert done.stderr == b""
    assert b"nchen" in done.stdout
