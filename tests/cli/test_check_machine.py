"""check looks at the machine: who can read and write the files, the log, the publisher, the daemon, Exim."""

from __future__ import annotations

import os

from lab.checking import as_root, check, looked_at
from lab.ctl import ctl
from lab.daemon import Eximcertd
from lab.entries import ALICE
from lab.exim import EximServer


@as_root
def test_files_that_others_could_have_written_are_bad() -> None:
    with looked_at() as (exim, daemon):
        exim.macro_file.chmod(0o666)
        assert any(f"can write {exim.macro_file}" in line for line in check(daemon)[1]["error"])
        exim.macro_file.chmod(0o644)
        exim.etc.chmod(0o777)
        assert any(f"users other than root can write {exim.etc}" in line for line in check(daemon)[1]["error"])
        exim.etc.chmod(0o755)
        daemon.config.chmod(0o666)
        assert any(f"users other than root can write {daemon.config}" in line for line in check(daemon)[1]["error"])


@as_root
def test_what_exims_user_cannot_read_and_what_everybody_can_write_is_said() -> None:
    with looked_at() as (exim, daemon):
        hidden, loose = exim.certificates / "hidden.pem", exim.certificates / "loose.pem"
        hidden.touch(0o600)
        loose.touch()
        loose.chmod(0o666)
        found = check(daemon)[1]
        assert any("not every user can read hidden.pem" in line for line in found["warning"])
        assert any("every user can write loose.pem" in line for line in found["error"])
        exim.certificates.chmod(0o700)
        assert any("it verifies no client" in line for line in check(daemon)[1]["error"])


@as_root
def test_a_log_that_is_not_there_or_does_not_grow_is_odd() -> None:
    with looked_at() as (exim, daemon):
        os.utime(exim.log, (0, 0))
        assert any("nothing was written to the log" in line for line in check(daemon)[1]["warning"])
        exim.log.unlink()
        assert any("does not exist" in line for line in check(daemon)[1]["warning"])


@as_root
def test_a_publisher_that_does_not_listen_is_bad() -> None:
    with looked_at({"publish": {"via": "socket:/nonexistent/publish"}}) as (_, daemon):
        assert any(
            "eximcertd-publish does not listen at /nonexistent/publish" in line for line in check(daemon)[1]["error"]
        )


@as_root
def test_a_group_that_is_not_there_is_bad() -> None:
    with looked_at({"control": {"approvers": ["no-such-group"]}}) as (_, daemon):
        assert any("there is no group no-such-group" in line for line in check(daemon)[1]["error"])


@as_root
def test_a_daemon_that_is_down_is_bad_and_the_rest_is_looked_at_all_the_same() -> None:
    exim = EximServer(allowed=[ALICE])
    try:
        daemon = Eximcertd(exim)
        status, found = check(daemon)
    finally:
        exim.remove()
    assert status == 1
    assert any("eximcertd does not answer" in line for line in found["error"])
    assert any("every client is asked" in line for line in found["ok"])


def test_an_exim_that_is_missing_is_bad() -> None:
    with looked_at({"exim": {"binary": "/nonexistent/exim"}}) as (_, daemon):
        status, found = check(daemon)
    assert status == 1
    assert any("/nonexistent/exim cannot be run" in line for line in found["error"])


@as_root
def test_what_the_daemon_alone_knows_is_part_of_it_and_people_get_a_table() -> None:
    with looked_at() as (_, daemon):
        done = ctl("--config", daemon.config, "check")
    assert done.status == 0
    assert done.out.startswith("ok       eximcertd ")
    assert all(len(line) <= 80 or "/" in line for line in done.out.splitlines())
