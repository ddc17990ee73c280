"""The journal's catalog has one entry for each kind of event, and systemd understands it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from eximcertd.events import Event

SYSTEMD = Path(__file__).parents[2] / "packaging" / "systemd"
CATALOG = (SYSTEMD / "eximcertd.catalog").read_text(encoding="utf-8")
DESIGN = (Path(__file__).parents[2] / "docs" / "design.md").read_text(encoding="utf-8")


def test_every_kind_of_event_has_one_entry_and_no_other_has() -> None:
    entries = re.findall(r"(?m)^-- ([0-9a-f]{32})$", CATALOG)
    assert sorted(entries) == sorted(event.message_id for event in Event)
    assert len(set(entries)) == len(entries)


@pytest.mark.parametrize("event", Event, ids=lambda event: event.name)
def test_the_entry_has_a_subject_and_uses_only_fields_that_the_design_gives_the_event(event: Event) -> None:
    entry = CATALOG.partition(f"-- {event.message_id}")[2].partition("\n-- ")[0]
    assert re.match(r"\nSubject: .+\nDefined-By: eximcertd\nDocumentation: man:eximcertd\(8\)\n\n\S", entry)
    row = re.search(rf"(?m)^\|[^|]*\b{event.name}\b[^|]*\|(.*)\|$", DESIGN)
    assert row is not None
    assert set(re.findall(r"@([A-Z_]+)@", entry)) <= set(re.findall(r"[A-Z_]+", row[1]))


def test_journalctl_takes_the_catalog_whole(tmp_path: Path) -> None:
    directory = tmp_path / "usr" / "lib" / "systemd" / "catalog"
    directory.mkdir(parents=True)
    (directory / "eximcertd.catalog").write_text(CATALOG, encoding="utf-8")
    (tmp_path / "var" / "lib" / "systemd" / "catalog").mkdir(parents=True)
    update = ["journalctl", f"--root={tmp_path}", "--update-catalog"]
    assert subprocess.run(update, capture_output=True, check=True).stderr == b""
    listing = ["journalctl", f"--root={tmp_path}", "--list-catalog"]
    listed = subprocess.run(listing, capture_output=True, check=True, text=True).stdout
    assert [line.split()[0] for line in listed.splitlines()] == sorted(event.message_id for event in Event)
