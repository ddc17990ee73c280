"""Whatever is wrong around it: a sentence that names the thing, no traceback, and nothing lost."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from lab.daemon import Eximcertd
from lab.smtp import ask
from lab.wait import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lab.certificates import Identity
    from lab.exim import EximServer


def problem(daemon: Eximcertd) -> str:
    return str(daemon.status()["log"]["problem"] or "")


@pytest.mark.parametrize("kind", ["fifo", "directory", "absent"])
def test_a_log_that_is_no_file_is_told_and_waited_out(exim: EximServer, alice: Identity, kind: str) -> None:
    elsewhere = exim.log.parent / "elsewhere"
    if kind == "fifo":
        os.mkfifo(elsewhere)
    elif kind == "directory":
        elsewhere.mkdir()
    with Eximcertd(exim, {"log": {"path": str(elsewhere)}}) as daemon:
        until(lambda: str(elsewhere) in problem(daemon), "status names the log")
        if kind == "directory":
            elsewhere.rmdir()
        elsewhere.unlink(missing_ok=True)
        ask(exim.port, alice)
        shutil.copy(exim.log, elsewhere)
        until(lambda: alice.fingerprint in daemon.entries("pending"), "it is read once it is a file", limit=30)
        assert problem(daemon) == ""


def test_a_certificate_directory_that_is_missing_is_told_and_waited_out(
    exim: EximServer, alice: Identity, tmp_path: Path
) -> None:
    certificates = tmp_path / "certs"
    with Eximcertd(exim, {"certificates": {"directory": str(certificates)}}) as daemon:
        assert str(certificates) in str(daemon.status()["certificates"]["problem"])
        certificates.mkdir()
        (certificates / "a.pem").write_bytes(alice.certificate.read_bytes())
        ask(exim.port, alice)
        until(lambda: alice.fingerprint in daemon.entries("pending"), "it is pending", limit=30)


def test_garbage_among_the_certificates_is_passed_over_and_counted(exim: EximServer) -> None:
    (exim.certificates / "garbage.pem").write_bytes(os.urandom(5000))
    with Eximcertd(exim) as daemon:
        assert daemon.status()["certificates"]["distinct"] == 2
        assert "garbage.pem" in daemon.ctl("check").stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [("RELAY_FROM_CERTS = x\nperl_startup = 1\n", "perl_startup"), ("nonsense\n", "nonsense"), ("\xff\n", "line 1")],
)
def test_a_macro_file_with_foreign_lines_is_left_alone_and_the_line_is_shown(
    exim: EximServer, alice: Identity, text: str, said: str
) -> None:
    with Eximcertd(exim) as daemon:
        exim.macro_file.write_text(text, encoding="latin-1")
        done = daemon.ctl("approve", alice.fingerprint)
        assert done.returncode == 6
        assert said in done.stdout + done.stderr
        assert exim.macro_file.read_text(encoding="latin-1") == text
        assert exim.alive()


def test_a_macro_file_that_somebody_else_could_write_stops_the_publication(exim: EximServer, alice: Identity) -> None:
    with Eximcertd(exim) as daemon:
        before = exim.macro_file.read_bytes()
        exim.macro_file.chmod(0o666)
        done = daemon.ctl("approve", alice.fingerprint)
        assert done.returncode == 6
        assert str(exim.macro_file) in done.stdout + done.stderr
        assert exim.macro_file.read_bytes() == before


def test_a_second_eximcertd_on_the_same_state_is_refused(exim: EximServer) -> None:
    with Eximcertd(exim) as first:
        second = Eximcertd(exim, {"state": {"directory": str(first.state)}}, directory=exim.directory / "second")
        second.spawn()
        assert second.wait() == 1
        assert "another eximcertd uses this state directory" in second.words()
        assert first.status()["pid"] == first.pid


def test_a_socket_that_is_taken_is_told(exim: EximServer) -> None:
    with Eximcertd(exim) as first:
        second = Eximcertd(exim, {"control": {"socket": str(first.socket)}}, directory=exim.directory / "second")
        second.spawn()
        assert second.wait() == 1
        assert str(first.socket) in second.words()
        assert "Traceback" not in second.words()
        assert first.status()["pid"] == first.pid


def test_every_mistake_in_the_configuration_is_told_and_the_status_is_ex_config(exim: EximServer) -> None:
    daemon = Eximcertd(exim, {"log": {"source": "pigeon"}, "queue": {"unmatched_limit": 0}})
    daemon.spawn()
    assert daemon.wait() == 78
    assert "[log] source" in daemon.words()
    assert "[queue] unmatched_limit" in daemon.words()
    assert "Traceback" not in daemon.words()


def _missing(script: Path) -> None:
    script.unlink()


def _hanging(script: Path) -> None:
    script.write_text("#!/bin/sh\nexec sleep 1000\n")


def _nonsense(script: Path) -> None:
    script.write_text("#!/bin/sh\necho '\x1b[31m\xff nonsense'\n")


@pytest.mark.parametrize("wrong", [_missing, _nonsense])
def test_an_exim_program_that_is_no_use_leaves_decisions_waiting_and_the_file_whole(
    exim: EximServer, alice: Identity, tmp_path_factory: pytest.TempPathFactory, wrong: Callable[[Path], None]
) -> None:
    # A real Exim cannot be made to print nonsense: a script that runs it stands between.
    script = exim.directory / "exim"
    script.write_text('#!/bin/sh\nexec /usr/sbin/exim4 "$@"\n')
    script.chmod(0o755)
    with Eximcertd(exim, {"exim": {"binary": str(script)}}) as daemon:
        before = exim.macro_file.read_bytes()
        wrong(script)
        done = daemon.ctl("approve", alice.fingerprint)
        assert done.returncode == 6
        assert "Exim prints nonsense" in done.stderr or str(script) in done.stderr
        assert "\x1b" not in done.stdout + done.stderr
        assert exim.macro_file.read_bytes() == before
        assert daemon.ctl("status").returncode in {0, 1}


def test_eximcertctl_without_a_daemon_says_so(exim: EximServer) -> None:
    done = Eximcertd(exim).ctl("pending")
    assert done.returncode == 4
    assert "Traceback" not in done.stderr


def test_a_log_that_cannot_be_read_is_told_in_the_journal_once(exim: EximServer) -> None:
    elsewhere = exim.log.parent / "elsewhere"
    elsewhere.mkdir()
    with Eximcertd(exim, {"log": {"path": str(elsewhere)}}) as daemon:
        until(lambda: str(elsewhere) in daemon.words(), "the record names the log")
        assert daemon.words().count(str(elsewhere)) == 1
