"""eximcertctl on a machine that belongs to no fleet."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from lab.ctl import ctl
from lab.daemon import program
from lab.entries import certificate

from eximcertd.fingerprint import Fingerprint

if TYPE_CHECKING:
    from pathlib import Path

    from lab.twins import Twin

A = Fingerprint("A" * 64)


def test_without_a_fleet_it_is_said_that_there_is_none(tmp_path: Path) -> None:
    file = tmp_path / "eximcertd.toml"
    file.write_text("")
    for verb in ([], ["pending"], ["settle"], ["check"]):
        done = ctl("--config", file, "fleet", *verb)
        assert done.status == 2
        assert "this machine belongs to no fleet" in done.err


@pytest.mark.parametrize(
    "verb",
    [["approve", A], ["reject", A], ["revoke", A], ["undo", "--yes"], ["review", "--json"], ["pending"], ["status"]],
)
def test_without_a_fleet_nothing_of_it_is_imported(tmp_path: Path, twin: Twin, verb: list[str]) -> None:
    twin.see(A, certificate("CN=laptop"), standing="approved" if verb[0] == "revoke" else "pending")
    twin.records = [{"fingerprint": A, "verb": "revoke", "by": "x", "at": "2026-11-26T01:00:00Z", "note": ""}]
    file = tmp_path / "eximcertd.toml"
    file.write_text(f'[control]\nsocket = "{twin.path}"\n')
    call = [program("eximcertctl"), "--config", str(file), *verb]
    done = subprocess.run(call, capture_output=True, text=True, check=False, env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert done.returncode == 0, done.stderr
    assert "eximcertd.control.client" in done.stderr, "the imports are listed"
    assert not re.findall(r"eximcertd\.(?:cli\.)?(?:fleet|acts)\S*", done.stderr)
