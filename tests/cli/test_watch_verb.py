"""watch: each event as it happens, a program for each, and when it ends."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from lab.ctl import ctl
from lab.daemon import program
from lab.entries import ALICE, certificate
from lab.wait import until

from eximcertd.cli import watch
from eximcertd.fingerprint import grouped

if TYPE_CHECKING:
    import pytest
    from lab.twins import Twin


def test_watch_tells_what_happens(twin: Twin, at: tuple[str, str]) -> None:
    entry = twin.see(ALICE, certificate("CN=laptop"))
    twin.events = [{"kind": "seen", "at": "2026-01-01T00:00:00Z", "sentence": "somebody came", "entry": entry}]
    with subprocess.Popen([program("eximcertctl"), *at, "watch"], stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline().endswith("somebody came\n")
        assert watching.stdout.readline().strip() == grouped(ALICE)
        watching.terminate()


def test_watch_ends_after_the_first_event_or_after_a_time(twin: Twin, at: tuple[str, str]) -> None:
    assert ctl(*at, "watch", "--once", "--timeout", "0.1").status == 1
    twin.events = [{"kind": "published", "at": "2026-01-01T00:00:00Z", "sentence": "live", "entry": None}] * 2
    assert ctl(*at, "watch", "--once", "--timeout", "60").out.count("live") == 1


def test_watch_runs_a_program_with_each_event(twin: Twin, at: tuple[str, str], tmp_path: Path) -> None:
    event = {"kind": "published", "at": "2026-01-01T00:00:00Z", "sentence": "live", "entry": None}
    twin.events = [event]
    script = tmp_path / "tell"
    script.write_text(f"#!/bin/sh\ncat >{tmp_path}/told; exit 3\n")
    script.chmod(0o755)
    done = ctl(*at, "watch", "--once", "--exec", script)
    assert done.status == 0
    assert json.loads((tmp_path / "told").read_text()) == event
    assert "ended with 3" in done.err
    assert ctl(*at, "watch", "--once", "--exec", "/nothing/there").status == 1
    assert ctl(*at, "watch", "--once", "--json", "--exec", script).status == 2


def test_a_program_that_does_not_end_is_killed_with_what_it_has_started(
    twin: Twin, at: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LIMIT", 0.2)
    twin.events = [{"kind": "published", "at": "2026-01-01T00:00:00Z", "sentence": "live", "entry": None}]
    script = tmp_path / "hang"
    script.write_text(f"#!/bin/sh\nsleep 1000 & echo $! >{tmp_path}/started; wait\n")
    script.chmod(0o755)
    done = ctl(*at, "watch", "--once", "--exec", script)
    assert done.status == 0
    assert "did not end within 0.2 s, and was killed" in done.err
    if (started := tmp_path / "started").exists():  # under load it is killed before
        state = Path(f"/proc/{started.read_text().strip()}/stat")
        until(lambda: not state.exists() or ") Z " in state.read_text(), "what it started has ended")
