"""check against real Exims that run: TLS on each port, what a plain user sees, what eximcertd knows."""

from __future__ import annotations

import grp
import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from lab.callers import OTHERS, ctl_as_nobody
from lab.checking import as_root, beside, checked, sentences
from lab.ctl import ctl
from lab.daemon import Eximcertd
from lab.exim import EXIM, USER, EximServer
from lab.smtp import ask
from lab.twins import Twin
from lab.wait import until

from eximcertd.control.rights import Rights

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from lab.certificates import Identity

    from eximcertd.control.server import Caller


@as_root
@pytest.mark.parametrize("case", ["it is missing", "Exim's user may not read it"])
def test_an_exim_that_answers_454_is_an_error_with_the_reason(case: str) -> None:
    with EximServer() as exim, Twin(beside(exim).socket):
        daemon = Eximcertd(exim)
        assert "TLS handshake succeeds" in sentences(daemon, "ok")
        if case == "it is missing":
            exim.identity.key.unlink()
            words = "does not exist: Exim answers STARTTLS with 454"
        else:
            os.chown(exim.identity.key, 0, 0)
            words = f"cannot be read by Exim's user {USER}"
        exim.reload()
        errors = sentences(daemon, "error")
        assert f"Exim at 127.0.0.1:{exim.port} does not start TLS: 454" in errors
        assert f"tls_privatekey = {exim.identity.key} {words}" in errors
        assert ctl("--config", daemon.config, "check", "--quiet").status == 2


@as_root
def test_a_certificate_that_an_expansion_names_is_looked_at() -> None:
    with EximServer(main="tls_certificate = ${if eq{a}{a}{/nonexistent/a.crt}{}}") as exim, Twin(beside(exim).socket):
        daemon = Eximcertd(exim)
        assert "tls_certificate = /nonexistent/a.crt does not exist" in sentences(daemon, "error")


@as_root
def test_every_port_of_every_daemon_is_asked_for_tls() -> None:
    with EximServer() as exim, Twin(beside(exim).socket):
        daemon = Eximcertd(exim)
        other = exim.port + 1
        second = subprocess.Popen(
            [EXIM, "-C", exim.configuration, "-bdf", "-oX", f"127.0.0.1.{other}", "-oP", exim.pid_file.with_name("2")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            until(lambda: f"127.0.0.1:{other} (TLS" in sentences(daemon, "ok"), "the second daemon's port is asked")
            assert f"127.0.0.1:{exim.port} (TLS" in sentences(daemon, "ok")
        finally:
            second.terminate()
            second.wait(10)


@as_root
def test_an_exim_without_starttls_is_an_error() -> None:
    with EximServer(main="tls_advertise_hosts = 192.0.2.1") as exim, Twin(beside(exim).socket):
        daemon = Eximcertd(exim)
        assert "EHLO is answered without STARTTLS" in sentences(daemon, "error")


@as_root
def test_a_port_that_asks_for_no_certificate_is_a_warning() -> None:
    with EximServer(main="tls_try_verify_hosts = 192.0.2.1") as exim, Twin(beside(exim).socket):
        assert f"127.0.0.1:{exim.port} asks this machine for no certificate" in sentences(Eximcertd(exim), "warning")


@as_root
def test_a_tls_on_connect_port_gets_its_handshake_at_once() -> None:
    with EximServer() as exim:
        exim.configure(main=f"tls_on_connect_ports = {exim.port}")
        exim.reload()
        with Twin(beside(exim).socket):
            daemon = Eximcertd(exim)
            assert "TLS handshake succeeds" in sentences(daemon, "ok")


@as_root
def test_a_reader_sees_what_eximcertd_knows_and_no_error_for_the_rest() -> None:
    with EximServer() as exim:
        daemon = beside(exim)
        with Twin(daemon.socket, rights=Rights(readers=frozenset({OTHERS}))) as twin:
            twin.lines = [{"verdict": "ok", "sentence": "the log is being read", "remedy": ""}]
            done = ctl_as_nobody("--config", daemon.config, "check", "--json")
        lines = json.loads(done.stdout)
        assert {line["verdict"] for line in lines} <= {"ok", "warning", "unknown"}, lines
        assert "the log is being read" in [line["sentence"] for line in lines]
        assert done.returncode == 0


@as_root
def test_a_plain_user_is_told_what_he_cannot_see_in_one_line_and_the_status_follows_from_the_rest() -> None:
    with EximServer() as exim:
        daemon = beside(exim)
        daemon.state.joinpath("ledger").mkdir(0o700)
        with Twin(daemon.socket, rights=Rights()):
            done = ctl_as_nobody("--config", daemon.config, "check", "--json")
            lines = json.loads(done.stdout)
            assert [line for line in lines if line["verdict"] == "error"] == []
            assert done.returncode == 0
            [hidden] = [line for line in lines if line["verdict"] == "unknown"]
            assert hidden["sentence"].startswith("not visible to this user: ")
            assert "what eximcertd knows" in hidden["sentence"]
            assert "the value of the macro RELAY_FROM_CERTS" in hidden["sentence"]
            assert any("TLS handshake succeeds" in line["sentence"] for line in lines)
            assert any("ACL acl_check_rcpt accepts clients" in line["sentence"] for line in lines)
            assert ctl_as_nobody("--config", daemon.config, "check", "--quiet").returncode == 0


@as_root
def test_quiet_is_one_line_with_the_status_of_a_monitoring_plugin() -> None:
    with EximServer() as exim:
        daemon = beside(exim)
        with Twin(daemon.socket) as twin:
            quiet = ("--config", daemon.config, "check", "--quiet")
            done = ctl(*quiet)
            assert done.status == 0
            assert done.out.startswith("ok: ")
            twin.lines = [{"verdict": "warning", "sentence": "the clock leaps", "remedy": ""}]
            done = ctl(*quiet)
            assert (done.status, done.out) == (1, "warning: the clock leaps\n")
            twin.lines.append({"verdict": "error", "sentence": "all is lost\n\x1b[2J", "remedy": "run"})
            done = ctl(*quiet)
            assert (done.status, done.out) == (2, "error: all is lost\\n\\x1b[2J\n")
        daemon.config.write_text("nonsense = 1\n")
        done = ctl(*quiet)
        assert done.status == 3
        assert done.out.startswith("unknown: ")
        assert done.out.count("\n") == 1
        assert done.err == ""


@as_root
def test_eximcertd_that_does_not_answer_is_an_error_for_everybody() -> None:
    with EximServer() as exim:
        daemon = beside(exim)
        quiet = ("--config", daemon.config, "check", "--quiet")
        for status in (ctl(*quiet).status, ctl_as_nobody(*quiet).returncode):
            assert status == 2


@as_root
@pytest.mark.parametrize(
    "selector", ["+pid", "+all", "+all -pid", "+pid -tls_certificate_verified", "+tls_peerdn", "-all +pid"]
)
def test_check_warns_of_the_selectors_with_which_a_peer_is_never_known(selector: str, mallory: Identity) -> None:
    with EximServer(trusted=[mallory], log_selector=selector) as exim, beside(exim) as daemon:
        ask(exim.port, mallory)
        until(lambda: b" rejected RCPT " in exim.log.read_bytes(), "the line with the client is written")
        size = exim.log.stat().st_size
        until(lambda: daemon.status()["log"]["position"] >= size, "it is read")
        [entry] = until(lambda: list(daemon.entries("pending").values()), "the attempt is pending")
        known = entry["from"] is not None
        assert known != ("log_selector lacks" in sentences(daemon, "warning"))
        if not known:
            assert f"log_selector = {selector} +" in sentences(daemon, "warning")


@as_root
def test_an_entry_that_was_removed_by_hand_has_one_line_with_one_remedy(alice: Identity, mallory: Identity) -> None:
    with EximServer(trusted=[alice, mallory], allowed=[alice.fingerprint, mallory.fingerprint]) as exim:
        daemon = beside(exim)
        with daemon:
            exim.allow([mallory.fingerprint])
            until(lambda: daemon.status()["allowlist"]["removed_by_hand"], "the edit is seen")
            lines = [line for line in checked(daemon)[1] if line["verdict"] in {"warning", "error"}]
            about = [
                line for line in lines if "by hand" in line["sentence"] or "not in Exim's list" in line["sentence"]
            ]
            assert [line["verdict"] for line in about] == ["warning"], lines
            assert "approve or revoke" in about[0]["remedy"].lower()


@as_root
def test_the_groups_are_those_of_the_running_eximcertd() -> None:
    group = grp.getgrgid(0).gr_name
    with EximServer() as exim:
        daemon = beside(exim)
        with daemon:
            daemon.configure({"control": {"approvers": [group]}})
            warnings = sentences(daemon, "warning")
            assert f"eximcertd uses [control] approvers = (no group); its configuration file has {group}" in warnings
            assert "systemctl reload eximcertd" in warnings
            assert "only root may approve" in sentences(daemon, "ok")


@as_root
def test_one_that_is_off_the_list_by_the_clock_is_no_error(alice: Identity) -> None:
    with EximServer(trusted=[alice]) as exim:
        daemon = beside(exim)

        async def lapsed(_: Caller, __: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
            yield {"entries": [{"fingerprint": alice.fingerprint, "standing": "approved", "listed": False}]}

        with Twin(daemon.socket, methods={"List": lapsed}):
            assert "Exim's list" not in sentences(daemon, "error")
            assert "Exim's list holds exactly the 0" in sentences(daemon, "ok")
