"""The exim program asked: the real one, and stand-ins that do what the real one cannot be made to do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab.exim import EXIM, USER, EximServer
from lab.wait import until

from eximcertd.exim.settings import Exim, EximError, find

if TYPE_CHECKING:
    from collections.abc import Iterator

FINGERPRINT = "58CD37DA33201183871839DBB4C73323F8A9AC3642714D1182DB5CB267BD8AC6"


@pytest.fixture
def server() -> Iterator[EximServer]:
    """Files of an Exim that is not started: questions are asked of its configuration alone."""
    server = EximServer(allowed=[FINGERPRINT])
    yield server
    server.remove()


def script(directory: Path, body: str) -> Path:
    """Make a program that stands in for exim."""
    program = directory / "exim"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return program


def test_exim_is_found_where_debian_puts_it() -> None:
    assert find() == EXIM


def test_exim_tells_its_version_its_tls_library_its_lookups_and_its_configuration(server: EximServer) -> None:
    build = Exim(EXIM, server.configuration).build()
    assert build.version[0].isdigit()
    assert build.tls in {"GnuTLS", "OpenSSL"}
    assert "dsearch" in build.lookups
    assert build.config == server.configuration
    assert Exim(EXIM, server.configuration).version() == build.version


def test_settings_are_given_as_exim_prints_them(server: EximServer) -> None:
    asked = Exim(EXIM, server.configuration).settings(
        "log_file_path", "spool_directory", "exim_user", "split_spool_directory"
    )
    assert asked == {
        "log_file_path": f"{server.log_directory}/%slog",
        "spool_directory": str(server.spool),
        "exim_user": USER,
        "split_spool_directory": "false",
    }


def test_a_setting_that_this_exim_does_not_know_is_left_out(server: EximServer) -> None:
    assert Exim(EXIM, server.configuration).settings("no_such_thing", "exim_user") == {"exim_user": USER}


def test_an_empty_setting_is_an_empty_text(server: EximServer) -> None:
    assert Exim(EXIM, server.configuration).settings("host_lookup", "exim_user") == {
        "host_lookup": "",
        "exim_user": USER,
    }


def test_a_macro_has_its_value(server: EximServer) -> None:
    value = Exim(EXIM, server.configuration).macro("RELAY_FROM_CERTS")
    assert value is not None
    assert FINGERPRINT in value


def test_an_empty_macro_is_no_missing_macro(server: EximServer) -> None:
    server.allow([])
    assert Exim(EXIM, server.configuration).macro("RELAY_FROM_CERTS") == ""
    assert Exim(EXIM, server.configuration).macro("RELAY_FROM_NOWHERE") is None


def test_a_text_is_expanded_and_a_bad_one_is_told(server: EximServer) -> None:
    exim = Exim(EXIM, server.configuration)
    assert exim.expand("${uc:abc}", user=USER) == "ABC"
    with pytest.raises(EximError, match="cannot expand") as caught:
        exim.expand("${lookup{x}dsearch{/nonexistent}}")
    assert "/nonexistent" in caught.value.words


def test_a_broken_configuration_is_told_in_exims_own_words(server: EximServer) -> None:
    server.break_configuration()
    with pytest.raises(EximError) as caught:
        Exim(EXIM, server.configuration).version()
    assert str(server.configuration) in caught.value.words


def test_a_missing_exim_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EximError, match="cannot be run: No such file") as caught:
        Exim(tmp_path / "exim").version()
    assert "[exim] binary" in str(caught.value)


def test_an_exim_that_hangs_is_left_and_ended_with_its_children(tmp_path: Path) -> None:
    fifo = tmp_path / "pid"
    program = script(tmp_path, f"sleep 1000 & echo $! >{fifo}; wait")
    with pytest.raises(EximError, match=r"timed out after 1 s and was killed"):
        Exim(program, time_limit=1).version()
    child = Path("/proc", fifo.read_text().strip(), "stat")
    until(lambda: not child.exists() or child.read_text().rsplit(")", 1)[1].split()[0] == "Z", "its child is gone")


@pytest.mark.parametrize("body", ["echo hello", "true", "head -c 5000 /dev/urandom"])
def test_an_exim_that_prints_nonsense_is_told(tmp_path: Path, body: str) -> None:
    exim = Exim(script(tmp_path, body))
    for question in (exim.version, lambda: exim.settings("exim_user"), lambda: exim.macro("RELAY_FROM_CERTS")):
        with pytest.raises(EximError, match="no answer of Exim"):
            question()


def test_an_exim_that_never_stops_printing_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eximcertd.exim.run.LARGEST_OUTPUT", 1 << 20)
    with pytest.raises(EximError, match="printed more than 1 MiB and was killed"):
        Exim(script(tmp_path, "exec cat /dev/zero")).version()


def test_no_exim_anywhere_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("eximcertd.exim.settings._PATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EximError, match="no program exim4 or exim"):
        Exim()
