"""undo, settle and list --at with the real daemon and a real Exim."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from lab.daemon import Eximcertd
from lab.smtp import ask
from lab.wait import until

if TYPE_CHECKING:
    from lab.certificates import Identity
    from lab.exim import EximServer


def test_an_approval_is_taken_back_and_so_is_that(exim: EximServer, alice: Identity) -> None:
    with Eximcertd(exim) as daemon:
        assert daemon.ctl("undo", "--yes").returncode == 1
        assert daemon.ctl("approve", alice.fingerprint).returncode == 0
        assert daemon.ctl("undo", "--yes").returncode == 0
        assert ask(exim.port, alice).refused
        assert daemon.ctl("undo", "--yes").returncode == 0
        assert ask(exim.port, alice).accepted
        future = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%dT%H:%M}"
        assert [one["fingerprint"] for one in daemon.json("list", "--at", future)] == [alice.fingerprint]
        assert daemon.json("list", "--at", "2026-01-01") == []
        beyond = f"{datetime.now(UTC) + timedelta(days=365 * 20):%Y-%m-%d}"
        assert daemon.json("list", "--at", beyond) == [], "its certificate has expired then"


def test_what_was_added_and_removed_by_hand_is_settled(exim: EximServer, alice: Identity, mallory: Identity) -> None:
    with Eximcertd(exim, {"allowlist": {"form": "list"}}) as daemon:
        daemon.ctl("approve", alice.fingerprint)
        exim.macro_file.write_text(exim.macro_file.read_text().replace(alice.fingerprint, mallory.fingerprint))
        edits = until(lambda: (found := daemon.json("settle"))["removed"] and found, "the edit is noticed")
        assert [one["fingerprint"] for one in edits["removed"]] == [alice.fingerprint]
        assert [one["fingerprint"] for one in edits["added"]] == [mallory.fingerprint]
        done = daemon.ctl("settle", "--removed", "approve", "--added", "approve", "--note", "both are ours")
        assert done.returncode == 0
        assert daemon.json("settle") == {"removed": [], "added": [], "removed_total": 0, "added_total": 0}
        assert {one["verb"] for one in daemon.json("history", "-n", "2")} == {"approve"}
        assert ask(exim.port, alice).accepted
        assert ask(exim.port, mallory).accepted
