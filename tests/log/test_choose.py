"""What Exim's own settings say about its log: where it lies, in which zone its times are, and its name in syslog."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from lab.log import FIRST, Twin

from eximcertd.config import load
from eximcertd.errors import ConfigurationError
from eximcertd.log import zone
from eximcertd.log.choose import main_log, source_of
from eximcertd.log.journal import JournalSource
from eximcertd.log.line import DEFAULT_MESSAGE
from eximcertd.log.tailer import Tailer
from eximcertd.log.zone import zone_of

if TYPE_CHECKING:
    from pathlib import Path

    from eximcertd.config import DaemonConfig


def configured(tmp_path: Path, main: str, log: str = "") -> DaemonConfig:
    exim = tmp_path / "exim.conf"
    exim.write_text(f"spool_directory = /var/spool/lab\n{main}\n")
    ours = tmp_path / "eximcertd.toml"
    ours.write_text(f'[exim]\nbinary = "/usr/sbin/exim4"\nconfig = "{exim}"\n[log]\n{log}\n')
    return load(ours)


@pytest.mark.parametrize(
    ("setting", "path"),
    [
        ("/x/%slog", "/x/mainlog"),
        ("/x/%slog-%D", "/x/mainlog-%D"),
        ("syslog : /x/%slog", "/x/mainlog"),
        (":syslog", "/var/log/exim4/mainlog"),
        ("syslog:", "/var/log/exim4/mainlog"),
    ],
)
def test_the_main_log_is_where_exim_says(setting: str, path: str, tmp_path: Path) -> None:
    assert str(main_log(configured(tmp_path, f"log_file_path = {setting}"))) == path


def test_a_log_that_goes_to_syslog_alone_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="syslog only") as told:
        main_log(configured(tmp_path, "log_file_path = syslog"))
    assert "journal" in told.value.hint


def test_times_are_in_the_zone_that_exim_says(tmp_path: Path) -> None:
    log = tmp_path / "mainlog"
    log.write_text(f"2026-07-01 12:00:00 {DEFAULT_MESSAGE} {FIRST}\n")
    config = configured(tmp_path, "timezone = Asia/Kolkata", f'path = "{log}"')
    source, twin = source_of(config, None, (), known=lambda _: False), Twin()
    assert isinstance(source, Tailer)
    for batch in source.look():
        twin.take(batch)
    source.close()
    assert twin.first[FIRST] == datetime(2026, 7, 1, 6, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("timezone", "minutes"),
    [("Asia/Kolkata", 330), (":Asia/Kolkata", 330), ("UTC", 0), ("<+0530>-5:30", 330), ("No/Such/Zone", 0)],
)
def test_a_time_zone_is_what_the_c_library_takes_it_for(timezone: str, minutes: int) -> None:
    offset = datetime(2026, 7, 1, tzinfo=zone_of(timezone)).utcoffset()
    assert offset is not None
    assert offset.total_seconds() == 60 * minutes


def test_without_a_time_zone_it_is_the_machines_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    monkeypatch.setattr(zone, "LOCAL", tmp_path / "localtime")
    assert datetime(2026, 7, 1, tzinfo=zone_of("")).utcoffset() == datetime(2026, 7, 1, tzinfo=UTC).utcoffset()
    (tmp_path / "localtime").symlink_to("/usr/share/zoneinfo/America/New_York")
    offset = datetime(2026, 7, 1, tzinfo=zone_of("")).utcoffset()
    assert offset is not None
    assert offset.total_seconds() == -4 * 3600


def test_in_the_journal_exim_has_the_name_that_it_says(tmp_path: Path) -> None:
    config = configured(tmp_path, "syslog_processname = mx1", 'source = "journal"')
    source = source_of(config, None, (), known=lambda _: False)
    assert isinstance(source, JournalSource)
    assert "mx1" in source.names
