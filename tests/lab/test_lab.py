"""The lab itself: a real Exim with the recipe, real clients, real certificates."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from lab.certificates import make, make_ca, make_expired, make_weak
from lab.exim import EximServer
from lab.smtp import ask, session
from lab.wait import until

if TYPE_CHECKING:
    from pathlib import Path

    from lab.certificates import Identity


def test_exim_refuses_a_known_certificate_that_is_not_allowed_and_logs_it(exim: EximServer, alice: Identity) -> None:
    assert ask(exim.port, alice).refused
    line = until(lambda: [x for x in exim.lines() if "Attempt to relay" in x], "the rejection is logged")
    assert line[0].endswith(f"explicitly allowed: {alice.fingerprint}")


def test_exim_accepts_an_allowed_certificate_and_delivers(exim: EximServer, alice: Identity, mallory: Identity) -> None:
    exim.allow([alice.fingerprint])
    exim.reload()
    with session(exim.port, alice) as opened:
        assert opened.send("Subject: hello\n\nfrom alice\n").accepted
    assert ask(exim.port, mallory).refused
    until(lambda: "from alice" in exim.delivered(), "the message arrives")


def test_a_reload_keeps_pid_and_port_and_open_sessions_keep_the_old_list(exim: EximServer, alice: Identity) -> None:
    pid = exim.pid
    with session(exim.port, alice) as opened:
        assert opened.rcpt().refused
        exim.allow([alice.fingerprint])
        for _ in range(5):
            exim.reload()
        assert opened.rcpt().refused
        assert exim.sessions()
    assert ask(exim.port, alice).accepted
    assert (exim.pid, exim.reloads(), exim.alive()) == (pid, 5, True)


def test_a_client_without_a_certificate_is_refused_and_not_logged_as_an_attempt(exim: EximServer) -> None:
    assert ask(exim.port, None).refused
    assert not [line for line in exim.lines() if "Attempt to relay" in line]


def test_a_reload_on_a_broken_configuration_kills_exim_and_leaves_no_zombie(exim: EximServer) -> None:
    exim.break_configuration()
    with pytest.raises(AssertionError, match="died"):
        exim.reload()
    assert not exim.alive()
    assert ask(exim.port, None).unreachable
    exim.configure()
    exim.start()
    assert exim.alive()


def test_an_exim_that_cannot_start_says_why() -> None:
    with pytest.raises(AssertionError, match="no_such_option"), EximServer(main="no_such_option"):
        pass


@pytest.mark.parametrize("key", ["ec", "ed25519", "rsa"])
def test_a_fingerprint_is_the_one_that_openssl_prints(tmp_path: Path, key: str) -> None:
    made = make(tmp_path, "x.example", key=key)
    printed = subprocess.run(
        ["/usr/bin/openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", made.certificate],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed.strip().partition("=")[2].replace(":", "") == made.fingerprint


def test_a_leaf_verifies_where_its_ca_is_trusted_and_an_expired_one_does_not(tmp_path: Path) -> None:
    root = make_ca(tmp_path)
    leaf = make(tmp_path, "leaf.example", issuer=root)
    expired = make_expired(tmp_path, "old.example")
    weak = make_weak(tmp_path, "weak.example")
    allowed = [leaf.fingerprint, expired.fingerprint]
    with EximServer(trusted=[root, expired, weak], allowed=allowed) as exim:
        assert ask(exim.port, leaf).accepted
        assert ask(exim.port, expired).refused


def test_an_option_of_a_tests_own_replaces_the_labs() -> None:
    with EximServer(main="smtp_accept_max = 1") as exim:
        assert exim.configuration.read_text().count("smtp_accept_max") == 1
        assert exim.alive()
