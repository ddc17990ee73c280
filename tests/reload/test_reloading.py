"""eximcertd-reload against a real Exim: what it validates, signals and confirms."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from lab.exim import EXIM, EximServer
from lab.reloading import Reloader
from lab.smtp import ask, session
from lab.wait import until

from eximcertd.exim.daemons import daemons, facts
from eximcertd.exim.settings import Exim
from eximcertd.reload import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.certificates import Identity

    from eximcertd.exim.daemons import EximDaemon, EximFacts

A = "AA" * 32


@pytest.fixture
def reloader(exim: EximServer) -> Reloader:
    return Reloader(exim)


@contextmanager
def another(exim: EximServer, *arguments: str, name: str = "") -> Iterator[int]:
    """Run one more daemon of the same configuration on the next port; give its process id. name: of a link to Exim."""
    program = exim.directory / name if name else EXIM
    if name:
        program.symlink_to(EXIM)
    pid_file = exim.directory / "run" / "second.pid"
    where = ("-oX", f"127.0.0.1.{exim.port + 1}", "-oP", str(pid_file))
    command = [str(program), "-C", str(exim.configuration), "-bdf", *where, *arguments]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            until(pid_file.exists, "it has written its pid file")
            yield process.pid
        finally:
            process.kill()


# loading


def test_a_list_is_loaded_and_honoured(exim: EximServer, reloader: Reloader, alice: Identity) -> None:
    loaded = reloader.publish(alice.fingerprint)
    assert (loaded.outcome, loaded.daemons) == ("loaded", {exim.pid: True})
    assert ask(exim.port, alice).accepted
    assert reloader.publish().outcome == "loaded"
    assert ask(exim.port, alice).refused
    assert exim.reloads() == 2


@pytest.mark.parametrize("name", ["sendmail", "mta", "exim-4.96-1"])
def test_a_daemon_under_any_name_is_loaded(exim: EximServer, reloader: Reloader, alice: Identity, name: str) -> None:
    exim.stop()
    with another(exim, name=name) as pid:
        assert reloader.publish(alice.fingerprint).daemons == {pid: True}
        assert ask(exim.port + 1, alice).accepted
        assert reloader.publish().daemons == {pid: True}
        assert ask(exim.port + 1, alice).refused


def test_every_daemon_of_the_configuration_is_loaded(exim: EximServer, reloader: Reloader, alice: Identity) -> None:
    with another(exim) as pid:
        for allowed in (True, False):
            loaded = reloader.publish(*([alice.fingerprint] if allowed else []))
            assert (loaded.outcome, loaded.daemons) == ("loaded", {exim.pid: True, pid: True})
            assert [ask(port, alice).accepted for port in (exim.port, exim.port + 1)] == [allowed, allowed]


@pytest.mark.parametrize("last", [1, 2])
def test_a_signal_that_is_lost_is_sent_again(exim: EximServer, alice: Identity, last: int) -> None:
    lost = ("strace", "-qq", "-o", "/dev/null", "-e", f"inject=pidfd_send_signal:retval=0:when=1..{last}")
    assert Reloader(exim, wrapper=lost).publish(alice.fingerprint).daemons == {exim.pid: True}
    assert ask(exim.port, alice).accepted


def test_a_daemon_that_handles_signals_again_while_others_are_waited_for_is_signalled_then(
    exim: EximServer, alice: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when somebody else reloads it in between."""
    observed = load._Target.handles_hup
    first = [True, False, False]
    monkeypatch.setattr(load._Target, "handles_hup", lambda one: first.pop(0) if first else observed(one))
    exim.allow([alice.fingerprint])
    told = load.load(facts(Exim(EXIM, exim.configuration)), "RELAY_FROM_CERTS", 1.0)
    assert [one.pid for one in told.daemons if one.loaded_at] == [exim.pid]
    assert ask(exim.port, alice).accepted
    assert not first


def test_a_daemon_that_the_first_look_misses_is_signalled_as_it_is_older_than_the_list(
    exim: EximServer, alice: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    with another(exim) as pid:
        missed = [{pid}]

        def seen(known: EximFacts) -> list[EximDaemon]:
            hidden = missed.pop() if missed else set()
            return [one for one in daemons(known) if one.pid not in hidden]

        monkeypatch.setattr(load, "daemons", seen)
        exim.allow([alice.fingerprint])
        told = load.load(facts(Exim(EXIM, exim.configuration)), "RELAY_FROM_CERTS", 1.0)
        assert {one.pid for one in told.daemons if one.loaded_at} == {exim.pid, pid}
        assert ask(exim.port + 1, alice).accepted


def test_a_daemon_that_ends_before_its_signal_is_gone(exim: EximServer) -> None:
    known = facts(Exim(EXIM, exim.configuration))
    (daemon,) = daemons(known)
    target = load._Target(daemon, known)
    exim.stop()
    target.signal()
    assert target.gone()


def test_a_daemon_of_another_configuration_gets_no_signal(exim: EximServer, reloader: Reloader) -> None:
    with EximServer() as other:
        exim.pid_file.write_text(f"{other.pid}\n")
        assert reloader.publish(A).daemons == {exim.pid: True}
        exim.stop()
        assert reloader.publish().outcome == "not-running"
        assert other.reloads() == 0


def test_a_daemon_that_hangs_is_not_loaded_beside_one_that_is(exim: EximServer, reloader: Reloader) -> None:
    with another(exim) as pid:
        os.kill(pid, signal.SIGSTOP)
        told = reloader.publish(A)
        assert (told.outcome, told.step) == ("not-loaded", "reload")
        assert told.daemons == {exim.pid: True, pid: False}
        assert f"process {pid} ({EXIM}" in told.message
        os.kill(pid, signal.SIGCONT)
        assert reloader.load(A).daemons == {exim.pid: True, pid: True}


def test_a_daemon_whose_command_line_overrides_the_macro_is_named(exim: EximServer, reloader: Reloader) -> None:
    with another(exim, f"-DRELAY_FROM_CERTS={A}") as pid:
        for action in ("load", "check"):
            exim.allow([])
            told = reloader.load(action=action)
            assert told.outcome == "not-loaded"
            assert f"{pid} was started with -DRELAY_FROM_CERTS" in told.message
            assert told.daemons == {exim.pid: action == "load", pid: False}


def test_open_sessions_live_on_and_delay_nothing(exim: EximServer, reloader: Reloader, alice: Identity) -> None:
    with session(exim.port, alice) as opened:
        assert reloader.publish(alice.fingerprint).outcome == "loaded"
        assert opened.rcpt().refused  # the old list, until it ends
    assert ask(exim.port, alice).accepted


def test_without_a_daemon_to_signal_a_valid_list_is_loaded(exim: EximServer, reloader: Reloader) -> None:
    reloader.configure({"exim": {"reload": "none"}})
    assert reloader.publish(A).outcome == "loaded"
    assert exim.reloads() == 0
    told = reloader.load(A, action="check")
    assert (told.outcome, told.daemons) == ("valid", {})
    exim.break_configuration()
    assert reloader.load(A).outcome == "invalid"


def test_ports_that_a_new_configuration_adds_are_awaited(exim: EximServer, reloader: Reloader, alice: Identity) -> None:
    text = exim.configuration.read_text()
    new = exim.port + 1
    exim.configuration.write_text(re.sub("daemon_smtp_ports = .*", f"daemon_smtp_ports = {exim.port} : {new}", text))
    assert reloader.publish(alice.fingerprint).outcome == "loaded"
    assert ask(new, alice).accepted
    exim.configuration.write_text(re.sub("daemon_smtp_ports = .*", f"daemon_smtp_ports = {new}", text))
    assert reloader.publish().outcome == "loaded"
    assert ask(new, alice).refused


def test_checking_signals_nobody_and_tells_who_runs(exim: EximServer, reloader: Reloader) -> None:
    exim.allow([A])
    told = reloader.load(A, action="check")
    assert (told.outcome, told.daemons) == ("valid", {exim.pid: False})
    exim.stop()
    assert reloader.load(A, action="check") == told._replace(daemons={})
    assert exim.reloads() == 0


# not running


def test_where_nobody_listens_exim_is_not_running(exim: EximServer, reloader: Reloader) -> None:
    exim.stop()
    told = reloader.publish(A)
    assert (told.outcome, told.step, told.daemons) == ("not-running", "", {})
    assert told.message == "Exim is not running. The list takes effect when it starts."


# validating


def test_a_candidate_is_validated_with_the_whole_configuration(exim: EximServer, reloader: Reloader) -> None:
    before = exim.macro_file.read_bytes()
    assert reloader.validate().outcome == "valid"
    assert reloader.validate(A).outcome == "valid"
    assert reloader.validate(*(f"{number:064X}" for number in range(470))).outcome == "valid"
    assert reloader.validate(*(f"{number:064X}" for number in range(480))).outcome == "skipped"
    exim.break_configuration()
    told = reloader.validate(A)
    assert (told.outcome, told.step) == ("invalid", "validate")
    assert "no_such_option" in told.exim
    assert exim.macro_file.read_bytes() == before
    assert exim.reloads() == 0


@pytest.mark.parametrize("broken", [None, "RELAY_FROM_CERTS = AA\nno_such_option\n", "RELAY_FROM_CERTS = AA \\\n"])
def test_a_macro_file_that_is_missing_or_broken_is_validated_once_written(
    exim: EximServer, reloader: Reloader, broken: str | None
) -> None:
    if broken is None:
        exim.macro_file.unlink()
    else:
        exim.macro_file.write_text(broken)
    assert reloader.validate(A).outcome in {"skipped", "valid"}
    assert reloader.publish(A).outcome == "loaded"


def test_an_error_in_an_acl_or_a_router_is_found_without_a_line_in_the_panic_log(
    exim: EximServer, reloader: Reloader
) -> None:
    text = exim.configuration.read_text()
    for broken in ("begin acl\n\nx:\n  perhaps\n", "begin routers\n\nx:\n  driver = none\n"):
        exim.configuration.write_text(text.replace(broken.split("\n", 1)[0] + "\n", broken, 1))
        told = reloader.validate(A)
        assert told.outcome == "invalid"
        assert "Exim configuration error" in told.exim
    assert not (exim.log_directory / "paniclog").exists()


def test_a_configuration_that_does_not_pass_gets_no_signal(exim: EximServer, reloader: Reloader) -> None:
    exim.break_configuration()
    told = reloader.publish(A)
    assert (told.outcome, told.step) == ("invalid", "validate")
    assert exim.alive()
    assert exim.reloads() == 0


def test_another_value_than_was_published_gets_no_signal(exim: EximServer, reloader: Reloader) -> None:
    exim.allow([A])
    told = reloader.load("BB" * 32)
    assert (told.outcome, told.step) == ("invalid", "validate")
    assert "another value for the macro RELAY_FROM_CERTS" in told.message
    assert A in told.exim
    assert exim.reloads() == 0


def test_a_file_that_exim_does_not_include_is_told(exim: EximServer, reloader: Reloader) -> None:
    text = exim.configuration.read_text()
    exim.configuration.write_text(re.sub(r"^\.include .*$", "", text, flags=re.MULTILINE))
    told = reloader.publish(A)
    assert told.outcome == "invalid"
    assert f".include {exim.macro_file}" in told.message


def test_an_included_file_that_is_missing_is_not_called_unreadable(exim: EximServer, reloader: Reloader) -> None:
    exim.configuration.write_text(f".include {exim.directory}/none\n{exim.configuration.read_text()}")
    told = reloader.validate(A)
    assert told.message.startswith("Exim rejects its configuration (status 1)")
    assert f"{exim.directory}/none" in told.exim


def test_a_macro_of_hex_digits_that_is_in_no_fingerprint_is_no_matter() -> None:
    with EximServer(before="FEDCBA = x\n") as exim:
        assert Reloader(exim).validate("0123456789ABCDEF" * 4).outcome == "valid"


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("action", ["validate", "load"])
def test_a_macro_that_changes_fingerprints_is_named(alice: Identity, where: str, action: str) -> None:
    pairs = (alice.fingerprint[at : at + 2] for at in range(63))
    name = next(pair for pair in pairs if pair[0].isalpha() and pair != "CE")  # it is in RELAY_FROM_CERTS
    line = f"{name} = /etc/ssl/ca\n"
    before, main = (line, "") if where == "before" else ("", line)
    with EximServer(trusted=[alice], before=before, main=main) as exim:
        reloader = Reloader(exim)
        told = reloader.validate(alice.fingerprint) if action == "validate" else reloader.publish(alice.fingerprint)
        assert (told.outcome, told.rewritten_by) == ("invalid", name)
        assert exim.reloads() == 0
        reloader.allow(alice.fingerprint)
        assert reloader.publish_directory().outcome == "loaded"
        assert ask(exim.port, alice).accepted


def test_the_directory_form_is_tried_with_lookups_as_exims_user(
    exim: EximServer, reloader: Reloader, alice: Identity
) -> None:
    assert reloader.ask("validate directory").outcome == "invalid"
    reloader.allow(alice.fingerprint)
    reloader.allowed.chmod(0o711)
    for told in (reloader.ask("validate directory"), reloader.publish_directory()):
        assert (told.outcome, told.step) == ("invalid", "directory")
        assert "0755" in told.message
    assert exim.reloads() == 0
    reloader.allowed.chmod(0o755)
    assert reloader.ask("validate directory").outcome == "valid"
    assert reloader.publish_directory().outcome == "loaded"
    assert ask(exim.port, alice).accepted


def test_other_names_in_the_directory_neither_count_nor_harm(
    exim: EximServer, reloader: Reloader, alice: Identity
) -> None:
    reloader.allow()
    (reloader.allowed / alice.fingerprint).mkdir()
    (reloader.allowed / A).symlink_to("/etc/passwd")
    os.mkfifo(reloader.allowed / ("BB" * 32))
    (reloader.allowed / "README").touch()
    assert reloader.publish_directory().outcome == "loaded"
    assert ask(exim.port, alice).refused
