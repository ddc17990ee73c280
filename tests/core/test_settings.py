"""The configuration: every mistake at once, and nothing but what it says."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from eximcertd.config import DaemonConfig, adopted, load
from eximcertd.errors import ConfigurationError
from eximcertd.settings import Config, SettingsError, parse


def test_an_empty_file_is_the_defaults() -> None:
    assert parse("") == Config()


def test_every_mistake_is_told_at_once_with_file_key_and_what_was_expected() -> None:
    text = """
    [log]
    source = "pigeon"
    paht = "/x"
    [allowlist]
    list_limit = 0
    macro = "ABCDEF"
    [queue]
    forget_pending_after = "soon"
    [nonsense]
    """
    with pytest.raises(SettingsError) as caught:
        parse(text, Path("/etc/x.toml"))
    lines = str(caught.value).splitlines()
    assert len(lines) == 6
    assert all(line.startswith("/etc/x.toml: ") for line in lines)
    for part in (
        '[log] source = \'pigeon\': expected "file" or "journal"',
        "[log] paht: no such key",
        "[allowlist] list_limit = '0': expected a whole number from 1 to",
        "[allowlist] macro",
        "[queue] forget_pending_after",
        "[nonsense]: no such section",
    ):
        assert any(part in line for line in lines), part


@pytest.mark.parametrize(
    "text",
    ["x = 1", "[log", "log = 3", "[log]\npath = 'relative'", "[log]\npath = '/a/../b'", "[publish]\nvia = 'x'",
     "[control]\nreaders = [1]",
     "[allowlist]\nmacro = 'ABC'", "[log]\nmessage = 'Größe:'", "[publish]\nmin_interval = true", "[exim]\nreload = 1"],
)  # fmt: skip
def test_what_is_wrong_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        parse(text)


def test_values_are_taken() -> None:
    config = parse('[publish]\nmin_interval = "2min"\n[control]\nreaders = ["adm", "mail"]\n[exim]\nreload = "none"')
    assert config.publish.min_interval == timedelta(minutes=2)
    assert config.control.readers == ("adm", "mail")
    assert config.exim.reload == "none"


def test_a_file_that_is_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        load(tmp_path / "none.toml")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        load(tmp_path / "x")


def test_a_program_may_leave_out_the_tables_that_do_not_concern_it() -> None:
    text = '[log]\nsource = "pigeon"\n[nonsense]\n[publish]\nmax_shrink = 7'
    assert parse(text, tables=("publish",)).publish.max_shrink == 7
    with pytest.raises(SettingsError, match="max_shrink"):
        parse('[publish]\nmax_shrink = "much"', tables=("publish",))


def test_a_key_of_an_earlier_version_is_refused_with_what_replaces_it() -> None:
    with pytest.raises(SettingsError, match="on_dead: removed: let systemd restart Exim"):
        parse('[publish]\non_dead = "restart"')


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ('service = "x"', "relay is not set"),
        ('relay = "mx1"', "either directory"),
        ('relay = "mx1"\nservice = "x"\ndirectory = "/x"\nsigners = "/s"', "either directory"),
        ('relay = "mx1"\ndirectory = "/x"', "signers is not set"),
        ('relay = "../mx1"\nservice = "x"', "relay = '../mx1': expected a name"),
        ('relay = "mx1"\nservice = "x"\npoll = "0s"', 'a time from "1s"'),
        ('relay = "mx1"\nservice = "x"\nhint = 1', "true or false"),
    ],
)
def test_a_fleet_that_is_not_whole_is_refused(section: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text(f"[fleet]\n{section}\n")
    with pytest.raises(ConfigurationError, match=re.escape(told)):
        load(file)


def test_a_fleet_is_a_relays_name_and_one_way_to_the_others(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text('[fleet]\nrelay = "mx1"\nservice = "fleet"\npoll = "5s"\n')
    fleet = load(file).fleet
    assert (fleet.relay, fleet.service, fleet.poll.seconds, fleet.hint) == ("mx1", "fleet", 5, True)
    changed = DaemonConfig()
    running, restart = adopted(changed, load(file))
    assert (running.fleet.relay, restart) == (None, ["[fleet]"]), "it needs a restart"
