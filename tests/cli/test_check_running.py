"""check against real Exims that run: TLS on each port, the configuration that is loaded, what a plain user sees."""

from __future__ import annotations

import grp
import gzip
import json
import os
import subprocess
from datetime import UTC
from typing import TYPE_CHECKING, Any

import pytest
from lab.ctl import ctl
from lab.daemon import Eximcertd, program
from lab.exim import EXIM, USER, EximServer
from lab.smtp import ask
from lab.twins import Twin
from lab.wait import until

from eximcertd.cli.check.freshness import EximLog, daemon_is_current, generated_is_current
from eximcertd.control.rights import Rights

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from lab.certificates import Identity

    from eximcertd.control.server import Caller

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
NOBODY = 65534


def checked(daemon: Eximcertd, *options: str) -> tuple[int, list[dict[str, str]]]:
    """Return the exit status and the lines."""
    done = ctl("--config", daemon.config, "check", "--json", *options)
    return done.status, json.loads(done.out)


def sentences(daemon: Eximcertd, verdict: str) -> str:
    """Return the sentences and remedies with a verdict."""
    return "\n".join(
        f"{line['sentence']} -> {line['remedy']}" for line in checked(daemon)[1] if line["verdict"] == verdict
    )


def beside(exim: EximServer, **settings: dict[str, Any]) -> Eximcertd:
    """Return a configuration of eximcertd for an Exim, with a directory for what is allowed."""
    daemon = Eximcertd(exim, settings)
    daemon.allowed.mkdir()
    return daemon


def as_nobody(daemon: Eximcertd, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run eximcertctl as a user without rights."""
    return subprocess.run(
        [program("eximcertctl"), "--config", str(daemon.config), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
    )


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
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/New_York"])
def test_a_file_of_the_configuration_that_changed_since_the_daemon_read_it_is_a_warning(zone: str) -> None:
    with EximServer(main=f"timezone = {zone}") as exim, Twin(beside(exim).socket):
        daemon = Eximcertd(exim)
        assert "has read its configuration since it last changed" in sentences(daemon, "ok")

        def touched() -> bool:
            exim.macro_file.touch()
            return f"{exim.macro_file} changed at " in sentences(daemon, "warning")

        until(touched, "the change is seen, which takes to the next second")
        assert "systemctl reload exim4" in sentences(daemon, "warning")

        def reloaded() -> bool:
            exim.reload()
            return "has read its configuration since it last changed" in sentences(daemon, "ok")

        until(reloaded, "the reload is seen in the log")


def test_debians_files_that_changed_after_update_exim4_conf_are_a_warning(tmp_path: Path) -> None:
    generated, split = tmp_path / "config.autogenerated", tmp_path / "conf.d" / "main"
    split.mkdir(parents=True)
    (tmp_path / "update-exim4.conf.conf").write_text("dc_use_split_config='true'\n")
    (split / "01_main").touch()
    os.utime(tmp_path / "update-exim4.conf.conf")
    generated.touch()
    os.utime(generated, (2**31, 2**31))
    assert [line.verdict for line in generated_is_current(generated, tmp_path)] == ["ok"]
    os.utime(generated, (1, 1))
    [line] = generated_is_current(generated, tmp_path)
    assert line.verdict == "warning"
    assert "update-exim4.conf && exim4 -bV" in line.remedy
    (tmp_path / "update-exim4.conf.conf").write_text("dc_use_split_config='false'\n")
    (tmp_path / "exim4.conf.template").touch()
    [line] = generated_is_current(generated, tmp_path)
    assert "exim4.conf.template" in line.sentence or "and 1 more" in line.sentence


@as_root
def test_a_reader_sees_what_eximcertd_knows_and_no_error_for_the_rest() -> None:
    with EximServer() as exim:
        daemon = beside(exim)
        with Twin(daemon.socket, rights=Rights(readers=frozenset({NOBODY}))) as twin:
            twin.lines = [{"verdict": "ok", "sentence": "the log is being read", "remedy": ""}]
            done = as_nobody(daemon, "check", "--json")
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
            done = as_nobody(daemon, "check", "--json")
            lines = json.loads(done.stdout)
            assert [line for line in lines if line["verdict"] == "error"] == []
            assert done.returncode == 0
            [hidden] = [line for line in lines if line["verdict"] == "unknown"]
            assert hidden["sentence"].startswith("not visible to this user: ")
            assert "what eximcertd knows" in hidden["sentence"]
            assert "the value of the macro RELAY_FROM_CERTS" in hidden["sentence"]
            assert any("TLS handshake succeeds" in line["sentence"] for line in lines)
            assert any("ACL acl_check_rcpt accepts clients" in line["sentence"] for line in lines)
            assert as_nobody(daemon, "check", "--quiet").returncode == 0


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
        for done in (ctl("--config", daemon.config, "check", "--quiet"), as_nobody(daemon, "check", "--quiet")):
            status = done.status if hasattr(done, "status") else done.returncode
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


def logs(directory: Path, *texts: str, packed: bool = False) -> Path:
    """Write a main log and its rotated ones, newest first; return the log."""
    log = directory / "mainlog"
    for number, text in enumerate(texts):
        path = log if number == 0 else directory / f"mainlog.{number}{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
        os.utime(path, (2_000_000_000 - number, 2_000_000_000 - number))
    return log


OLD = "2001-01-01 00:00:00 Start queue run: pid=7\n"
LATE = "2099-01-01 00:00:00 Start queue run: pid=7\n"
LOADED = "2099-01-01 00:00:00.123 +0000 [42] exim 4.96 daemon started: pid=42, -q30m, listening for SMTP on port 25\n"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("texts", "verdict"),
    [
        ([OLD + LOADED], "ok"),
        ([OLD], "warning"),
        ([OLD + LOADED.replace("=42,", "=43,")], "warning"),
        ([LATE, LATE + LOADED], "ok"),
        ([LATE, OLD + LATE], "warning"),
        ([LATE, LATE], "unknown"),
        ([""], "unknown"),
        ([], "unknown"),
        (["not a log\n"], "unknown"),
        ([f"x{LOADED}{OLD}"], "warning"),
    ],
)
def test_the_log_tells_whether_the_daemon_was_reloaded_after_a_change(
    tmp_path: Path, texts: list[str], verdict: str, packed: bool
) -> None:
    file = tmp_path / "exim.conf"
    file.touch()
    log = EximLog(logs(tmp_path, *texts, packed=packed), UTC)
    assert daemon_is_current(42, 0.0, [file], log).verdict == verdict
    assert daemon_is_current(42, 2**33, [file], log).verdict == "ok", "it has started since"
    assert daemon_is_current(42, 0.0, [file], log, published=2**33).verdict == "ok", "eximcertd has seen it"
    assert daemon_is_current(42, 0.0, [tmp_path / "gone"], log).verdict == "unknown"


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


@as_root
def test_a_confirmation_without_a_reload_does_not_hide_an_older_configuration(alice: Identity) -> None:
    with EximServer(trusted=[alice], allowed=[alice.fingerprint]) as exim:
        daemon = beside(exim)
        with daemon:
            until(lambda: daemon.status()["allowlist"]["live"], "the list is live")

            def touched() -> bool:
                exim.configuration.touch()
                return f"{exim.configuration} changed at " in sentences(daemon, "warning")

            until(touched, "the change is seen")
            daemon.restart()
            until(lambda: daemon.status()["allowlist"]["live"], "the list is confirmed again")
            assert f"{exim.configuration} changed at " in sentences(daemon, "warning")
            exim.log.unlink()
            exim.log.touch()
            assert "has read its configuration since" not in sentences(daemon, "ok")
