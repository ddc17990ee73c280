"""What the other verbs print, as it is seen: at 80 and 120 columns, for none, one, many and very many, with any names.

Most of them are lines of at most 80 columns at any width. A snapshot for 120 columns is there where it differs.
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from lab import snapshots
from lab.ctl import ctl
from lab.entries import ALICE, certificate
from lab.snapshots import BEGIN, NAMES, check, fill
from lab.terminal import on_a_terminal

from eximcertd.text import columns

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.twins import Twin

HEAD = 60
"""Lines of a snapshot; of what follows there is the number."""


def record(number: int, fingerprint: str | None = None) -> dict[str, Any]:
    """Return a decision by somebody of any name, with any note."""
    return {
        "fingerprint": fingerprint or f"{number:064X}",
        "verb": ("approve", "reject", "revoke", "adopt")[number % 4],
        "by": f"{NAMES[number % len(NAMES)]} (via root)",
        "at": f"{BEGIN + timedelta(minutes=number):%Y-%m-%dT%H:%M:%SZ}",
        "note": NAMES[(number + 1) % len(NAMES)],
    }


def authority(number: int) -> dict[str, Any]:
    """Return an Authority of the interface."""
    return {
        "fingerprint": f"{number:064X}",
        "subject": f"CN={NAMES[number % len(NAMES)]} CA",
        "standing": "withdrawn" if number % 5 == 2 else "approved",
        "enrolled": number * number,
        "problem": f"the CRL of {NAMES[number % len(NAMES)]} cannot be used" if number % 4 == 1 else None,
    }


def status(twin: Twin, many: int) -> list[str]:
    fill(twin, many)
    for number in range(min(many, 50)):
        twin.see(f"F{number:063X}", standing="approved")
    return ["status"]


def show(twin: Twin, many: int) -> list[str]:
    names = [f"www.{name}" for name in NAMES] * (many // len(NAMES) + 1)
    twin.see(
        ALICE,
        certificate(f"CN={NAMES[many % len(NAMES)]}", names=names[: min(many, 100)], files=["a.pem"] * min(many, 100)),
        standing="approved",
        attempts=many,
        warnings=[f"has the name of {NAMES[1]}"],
        notes=["CA:TRUE, as `openssl req -x509` makes it"],
        **{"from": {"host": NAMES[2], "helo": NAMES[4], "sender": NAMES[1], "recipient": ""}},
    )
    twin.records = [record(number, ALICE) for number in range(many)]
    return ["show", ALICE]


def history(twin: Twin, many: int) -> list[str]:
    twin.records = [record(number) for number in range(many)]
    return ["history"]


def authorities(twin: Twin, many: int) -> list[str]:
    twin.authorities = [authority(number) for number in range(many)]
    return ["authority", "list"]


def settle(twin: Twin, many: int) -> list[str]:
    fill(twin, many, "approved")
    twin.edits = {"removed": list(twin.entries.values()), "added": list(twin.entries.values())[:1]}
    return ["settle"]


def undo(twin: Twin, many: int) -> list[str]:
    twin.records = [{**record(0), "fingerprint": f"{number:064X}"} for number in range(many)]
    twin.last = many
    return ["undo"]


@pytest.mark.parametrize("many", [0, 1, 50, 10_000])
@pytest.mark.parametrize("screen", [status, show, history, authorities, settle, undo])
def test_a_screen_is_as_it_was_looked_at(
    twin: Twin,
    monkeypatch: pytest.MonkeyPatch,
    utc: None,
    screen: Callable[[Twin, int], list[str]],
    many: int,
) -> None:
    words = screen(twin, many)
    seen = {}
    for width in (80, 120) if screen is settle or many < 10_000 else (80,):  # it takes its time
        monkeypatch.setenv("COLUMNS", str(width))
        done = ctl("--socket", twin.path, *words)
        lines = (done.err + done.out).replace(f"process {os.getpid()}", "process 4711").splitlines()
        assert "\x1b" not in done.err + done.out, "in a pipe there is nothing but text"
        wide = [line for line in lines if columns(line) > width]
        assert all(" " not in line.strip() for line in wide) or screen is show, "a long word is not broken, nor a name"
        more = [f"({len(lines) - HEAD:,} lines more)"] if len(lines) > HEAD else []
        seen[width] = "\n".join([*lines[:HEAD], *more, f"(exit status {done.status})", ""])
    name = screen.__name__
    check(f"{name}-{many}-80", seen[80])
    if seen.get(120, seen[80]) != seen[80]:
        check(f"{name}-{many}-120", seen[120])
    else:
        assert not (snapshots.SNAPSHOTS / f"{name}-{many}-120.txt").exists()


@pytest.mark.parametrize("width", [80, 120])
def test_a_screen_of_review_is_as_it_was_looked_at(twin: Twin, width: int) -> None:
    fill(twin, 5)
    seen = on_a_terminal(twin, "review", width=width, answers=[("q quit: ", "l")] * 4 + [("q quit: ", "q")])
    check(f"review-{width}", re.sub(r"\r\n", "\n", seen))
