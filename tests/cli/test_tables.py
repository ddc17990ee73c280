"""The tables of pending and list, as they are seen: at 80 and 120 columns, in a pipe, on a terminal."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from lab.ctl import ctl
from lab.daemon import program
from lab.entries import certificate
from lab.snapshots import check, fill
from lab.terminal import on_a_terminal

from eximcertd.text import columns

if TYPE_CHECKING:
    from pathlib import Path

    from lab.twins import Twin

pytestmark = pytest.mark.usefixtures("utc")


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("many", [0, 1, 50, 10_000])
@pytest.mark.parametrize("verb", ["pending", "list"])
def test_a_table_is_as_wide_as_the_terminal(
    twin: Twin, monkeypatch: pytest.MonkeyPatch, verb: str, many: int, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    fill(twin, many, "approved" if verb == "list" else "pending")
    done = ctl("--socket", twin.path, verb)
    assert done.status == 0
    lines = done.out.splitlines()
    assert all(columns(line) <= width for line in lines)
    if verb == "list" and many == 10_000:
        lines = lines[:100]
    check(f"{verb}-{many}-{width}", "\n".join(lines) + "\n")


def test_in_a_pipe_times_are_exact_and_nothing_but_text_is_printed(twin: Twin) -> None:
    fill(twin, 7)
    twin.see("F" * 64)
    done = subprocess.run(
        [program("eximcertctl"), "--socket", str(twin.path), "pending"],
        capture_output=True,
        timeout=30,
        check=True,
        env={"PATH": os.environ["PATH"], "TZ": "UTC", "LC_ALL": "C.UTF-8"},
    )
    assert b"\x1b" not in done.stdout
    check("pending-pipe", done.stdout.decode())


def test_fifty_that_wait_are_one_screen(twin: Twin) -> None:
    fill(twin, 50)
    assert ctl("--socket", twin.path, "pending").out.count("\n") <= 55


def test_on_a_terminal_times_are_how_long_ago(twin: Twin) -> None:
    def before(**span: float) -> str:
        return f"{datetime.now(UTC) - timedelta(seconds=5, **span):%Y-%m-%dT%H:%M:%SZ}"

    for number, span in enumerate(({"minutes": 3}, {"hours": 5}, {"days": 12}, {"days": 100}, {}), 1):
        twin.see(f"{number:064X}", certificate("CN=laptop"), last_seen=before(**span))
    shown = on_a_terminal(twin, "pending")
    for text in ("3 min ago", "5 h ago", "12 days ago", "just now", before(days=100)[:10]):
        assert text in shown


def test_a_terminal_gets_styles_unless_no_color_is_set(twin: Twin) -> None:
    fill(twin, 3)
    assert on_a_terminal(twin, "pending").startswith("\x1b[1mFINGERPRINT")
    assert "\x1b" not in on_a_terminal(twin, "pending", NO_COLOR="1")
    assert "\x1b" not in on_a_terminal(twin, "pending", TERM="dumb")


def test_the_table_grows_with_the_terminal(twin: Twin) -> None:
    fill(twin, 2)
    wide = on_a_terminal(twin, "pending", "--all", width=200)
    assert max(map(columns, wide.splitlines())) > 120


def test_those_that_claim_one_name_stand_together_and_say_so(twin: Twin) -> None:
    real, claimed, other = "AA" * 32, "BB" * 32, "CC" * 32
    name = "CN=laptop.alice.example"
    twin.see(real, certificate(name), last_seen="2026-11-22T17:00:00Z", same_name=[claimed])
    twin.see(other, certificate("CN=desk"), last_seen="2026-11-22T16:00:00Z")
    twin.see(claimed, certificate(name, source="attempt"), last_seen="2026-11-22T15:00:00Z", same_name=[real])
    out = ctl("--socket", twin.path, "pending").out
    assert [line[:16] for line in out.splitlines()[1:4]] == [real[:16], claimed[:16], other[:16]]
    assert out.splitlines()[2].endswith("  ?=")
    assert "? only the client has shown it" in out
    assert "= another entry has the same name" in out


def test_what_has_no_certificate_is_counted_beside_the_certificates_of_one_issuer(twin: Twin) -> None:
    twin.issuers = [{"name": "CN=Site CA", "hash": "h", "count": 3, "certificate": None, "approved": False}]
    twin.see("F" * 64)
    out = ctl("--socket", twin.path, "pending").out
    assert out.startswith("3 certificates issued by CN=Site CA, not approved.")
    assert out.endswith("\n1 fingerprint without a certificate: --all shows them.\n")


@pytest.mark.parametrize("verb", ["pending", "list"])
def test_every_mark_is_there_in_80_columns_however_long_the_rest_is(
    twin: Twin, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    twin.see(
        "AA" * 32,
        certificate("CN=" + "x" * 200, source="attempt"),
        standing="approved" if verb == "list" else "pending",
        last_seen="2026-11-22T17:00:00Z",
        attempts=123_456,
        warnings=["has a short key"],
        renews={"fingerprint": "B0", "same_key": False, "by": "bob", "at": "2026-11-22T17:00:00Z"},
        same_name=["BB" * 32],
        **{"from": {"host": "[192.168.100.100]", "helo": "h", "sender": "", "recipient": ""}},
    )
    row = ctl("--socket", twin.path, verb).out.splitlines()[3 if verb == "list" else 1]
    assert row.endswith("  !+?=")
    assert columns(row) <= 80


def test_since_and_from_narrow_the_list(twin: Twin) -> None:
    fill(twin, 40)
    at = ("--socket", twin.path)
    assert ctl(*at, "pending", "--since", "2026-11-22T16:50").out.count("2026-11-22") == 2
    [sent] = twin.called("List")
    assert sent["since"] == "2026-11-22T16:50:00Z"
    assert ctl(*at, "pending", "--from", "192.0.2.17").status == 0
    assert twin.called("List")[-1]["from"] == "192.0.2.17"
    assert len(ctl(*at, "pending", "--since", "2026-11-22T16:50", "--json").json) == 2
    assert ctl(*at, "pending", "--since", "30min ago").status == 0
    assert ctl(*at, "pending", "--since", "yesterday").status == 2


@pytest.mark.parametrize("verb", ["pending", "status"])
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_quick_verb_says_the_same_as_by_click(twin: Twin, verb: str, flags: list[str]) -> None:
    fill(twin, 20)
    call = [program("eximcertctl"), "--socket", str(twin.path), verb, *flags]
    done = subprocess.run(call, capture_output=True, text=True, timeout=30, check=True, env={**os.environ, "TZ": "UTC"})
    assert done.stdout == ctl("--socket", twin.path, verb, *flags).out


@pytest.mark.parametrize("verb", ["pending", "status"])
def test_a_quick_verb_that_fails_says_why_and_ends_with_its_status(tmp_path: Path, verb: str) -> None:
    call = [program("eximcertctl"), "--socket", str(tmp_path / "none"), verb]
    done = subprocess.run(call, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 4
    assert done.stderr.startswith(f"eximcertctl {verb}: eximcertd does not answer at")
