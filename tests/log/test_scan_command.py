"""eximcertctl scan, against a real eximcertd that follows a real Exim's log."""

from __future__ import annotations

import gzip
import json
import os
import pty
import subprocess
from typing import TYPE_CHECKING

import pytest
from lab.daemon import Eximcertd, program
from lab.log import Log, fingerprint
from lab.smtp import ask
from lab.wait import until

from eximcertd.log.line import DEFAULT_MESSAGE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.certificates import Identity
    from lab.exim import EximServer


@pytest.fixture
def daemon(exim: EximServer) -> Iterator[Eximcertd]:
    with Eximcertd(exim) as daemon:
        yield daemon


@pytest.fixture
def old(tmp_path: Path) -> Log:
    log = Log(tmp_path / "mainlog.7", days=-9)
    for number in range(3):
        log.noise(5)
        log.reject(fingerprint(number), times=number + 1, pid=4000 + number)
    return log


def unmatched(daemon: Eximcertd) -> int:
    return int(daemon.status()["counts"]["unmatched"])


def test_what_an_old_log_holds_is_added_with_its_own_times_and_its_peers_and_only_once(
    daemon: Eximcertd, exim: EximServer, alice: Identity, old: Log
) -> None:
    old.reject(alice.fingerprint, times=2, pid=77)
    done = daemon.ctl("scan", str(old.path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "8 attempts of 4 certificates added; see eximcertctl pending.\n"
    entry = daemon.entries("pending")[alice.fingerprint]
    assert (entry["attempts"], entry["from"]["host"]) == (2, "127.0.0.1")
    assert entry["last_seen"].startswith("2026-11-13T")
    assert unmatched(daemon) == 3
    packed = old.path.with_name("mainlog.8.gz")
    packed.write_bytes(gzip.compress(old.path.read_bytes()))
    again = daemon.ctl("scan", str(old.path), str(packed))
    assert (again.returncode, again.stdout) == (0, "Nothing that was not counted before.\n")
    daemon.restart()
    assert daemon.json("scan", str(packed))["added"] == 0
    assert daemon.entries("pending")[alice.fingerprint]["attempts"] == 2
    assert ask(exim.port, alice).refused
    until(lambda: daemon.entries("pending")[alice.fingerprint]["attempts"] == 3, "the live attempt is added")


def test_the_log_that_is_followed_adds_nothing(daemon: Eximcertd, exim: EximServer, alice: Identity) -> None:
    assert ask(exim.port, alice).refused
    until(lambda: daemon.entries("pending"), "it is pending")
    assert daemon.json("scan", str(exim.log))["added"] == 0
    rotated = exim.log.rename(exim.log.with_name("mainlog.1"))
    assert ask(exim.port, alice).refused
    until(lambda: daemon.entries("pending")[alice.fingerprint]["attempts"] == 2, "the new log is followed")
    assert daemon.json("scan", str(exim.log), str(rotated))["added"] == 0


def test_as_json_it_tells_what_it_found(daemon: Eximcertd, old: Log) -> None:
    told = daemon.json("scan", str(old.path))
    assert (told["files"], told["bytes"], told["attempts"], told["added"]) == (1, old.path.stat().st_size, 6, 6)
    assert {found["fingerprint"]: found["attempts"] for found in told["found"]} == dict(old.written)
    assert told["problems"] == []


def test_a_dry_run_adds_nothing_and_leaves_out_what_was_counted(daemon: Eximcertd, old: Log) -> None:
    told = daemon.ctl("scan", "--dry-run", str(old.path))
    assert told.stdout.endswith("6 attempts of 3 certificates would be added.\n")
    assert unmatched(daemon) == 0
    daemon.ctl("scan", str(old.path))
    assert daemon.json("scan", "--dry-run", str(old.path))["attempts"] == 0


def test_a_dry_run_needs_no_eximcertd_and_anything_else_does(old: Log, tmp_path: Path) -> None:
    command = [program("eximcertctl"), "--socket", str(tmp_path / "nobody"), "scan", str(old.path)]
    dry = subprocess.run([*command, "--dry-run"], capture_output=True, text=True, check=False)
    assert dry.returncode == 0
    assert dry.stdout.endswith("6 attempts of 3 certificates would be added.\n")
    assert "does not answer" in dry.stderr
    wet = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (wet.returncode, wet.stdout) == (4, "")


def test_a_file_that_cannot_be_read_is_told_and_the_others_are_read(daemon: Eximcertd, old: Log) -> None:
    done = daemon.ctl("scan", "/nonexistent\x1b[2J", str(old.path), str(old.path.parent))
    assert done.returncode == 1
    assert "6 attempts of 3 certificates added" in done.stdout
    assert "/nonexistent\\x1b[2J: cannot be read: No such file" in done.stderr
    assert "directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_file_it_is_called_wrongly(daemon: Eximcertd) -> None:
    assert daemon.ctl("scan").returncode == 2


def test_many_fingerprints_go_over_the_socket_in_portions(daemon: Eximcertd, tmp_path: Path) -> None:
    log = Log(tmp_path / "mainlog.9")
    for number in range(2500):
        log.reject(fingerprint(number), pid=number + 1)
    assert daemon.json("scan", str(log.path))["added"] == 2500
    assert unmatched(daemon) == 2500


def test_a_log_of_nothing_but_attempts_fits_into_calls_whatever_the_clients_call_themselves(
    daemon: Eximcertd, tmp_path: Path
) -> None:
    log = Log(tmp_path / "mainlog.9")
    log.raw("".join(f"{DEFAULT_MESSAGE} {fingerprint(number)}\n" for number in range(9000)).encode())
    long = "\x01" * 300
    for number in range(1000):
        stamp = f"{log.stamp()} [{number + 1}]"
        peer = f"H=({long}) [192.0.2.1] X=TLS1.3 CV=no F=<{long}@s.example> rejected RCPT <{long}@r.example>"
        log.raw(f"{stamp} {DEFAULT_MESSAGE} {fingerprint(number)}\n{stamp} {peer}\n".encode())
    done = daemon.ctl("scan", str(log.path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "10,000 attempts of 9,000 certificates added; see eximcertctl pending.\n"
    assert unmatched(daemon) == 9000


def test_on_a_terminal_there_is_a_progress_bar_and_in_a_pipe_nothing_but_the_result(
    daemon: Eximcertd, tmp_path: Path
) -> None:
    log = Log(tmp_path / "mainlog.9")
    log.raw((b"x" * 4000 + b"\n") * 5000)
    log.reject()
    master, slave = pty.openpty()
    command = [program("eximcertctl"), "--config", str(daemon.config), "scan", str(log.path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=slave, check=False, timeout=60)
    os.close(slave)
    shown = b""
    try:
        while piece := os.read(master, 65536):
            shown += piece
    except OSError:
        pass  # all was read
    os.close(master)
    assert done.stdout == b"1 attempt of 1 certificate added; see eximcertctl pending.\n"
    assert b"mainlog.9" in shown
    assert b" of 19 MiB" in shown
    assert b"/s" in shown
    assert b"left" in shown
    assert shown.endswith(b"\r\x1b[K")


def test_json_on_standard_output_is_one_object(old: Log, tmp_path: Path) -> None:
    command = [program("eximcertctl"), "--socket", str(tmp_path / "x"), "scan", "--dry-run", "--json", str(old.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["attempts"] == 6


def test_what_was_scanned_of_a_log_older_than_the_queue_keeps_stays_over_a_restart(exim: EximServer, old: Log) -> None:
    with Eximcertd(exim, {"queue": {"forget_pending_after": "1d"}}) as daemon:
        assert daemon.json("scan", str(old.path))["added"] == 6
        daemon.restart()
        assert unmatched(daemon) == 3
        assert daemon.json("scan", str(old.path))["added"] == 0


def test_the_callers_time_zone_does_not_matter(old: Log, tmp_path: Path) -> None:
    command = [program("eximcertctl"), "--socket", str(tmp_path / "x"), "scan", "--dry-run", "--json", str(old.path)]
    told = [
        subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "TZ": zone}).stdout
        for zone in ("Asia/Kolkata", "America/New_York")
    ]
    assert told[0] == told[1]
    assert len(json.loads(told[0])["found"]) == 3
