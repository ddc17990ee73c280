"""Decisions over the real control socket: the daemon itself holds to the rules, and tells all who watch."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from lab.certificates import make
from lab.control import CallError, Control
from lab.daemon import Eximcertd
from lab.smtp import ask
from lab.wait import until

from eximcertd.fingerprint import Fingerprint

if TYPE_CHECKING:
    from pathlib import Path

    from lab.certificates import Identity
    from lab.exim import EximServer

NOBODY = Fingerprint("AB" * 32)


def decide(control: Control, verb: str, *fingerprints: str, insist: tuple[str, ...] = ()) -> list[Any]:
    request = f"{verb} {fingerprints} {insist} {time.monotonic_ns()}"
    answer = control.call("Decide", verb=verb, fingerprints=fingerprints, note="", insist=insist, request=request)
    return [(entry["fingerprint"], entry["standing"]) for entry in answer["decided"]]


def test_the_daemon_itself_refuses_an_approval_without_a_certificate(exim: EximServer) -> None:
    with Eximcertd(exim) as daemon, Control(daemon.socket) as control:
        with pytest.raises(CallError, match="has no known certificate") as caught:
            decide(control, "approve", NOBODY)
        assert caught.value.name == "org.eximcertd.Refused"
        assert daemon.entries() == {}
        assert decide(control, "approve", NOBODY, insist=("without-certificate",)) == [(NOBODY, "approved")]
        assert NOBODY in exim.macro_file.read_text()


def test_the_daemon_refuses_an_option_that_is_none(exim: EximServer, alice: Identity) -> None:
    with (
        Eximcertd(exim) as daemon,
        Control(daemon.socket) as control,
        pytest.raises(CallError, match="no rule to insist against: whatever"),
    ):
        decide(control, "approve", alice.fingerprint, insist=("whatever",))


def test_what_only_the_log_has_shown_is_not_approved_by_eight_digits(exim: EximServer, identities: Path) -> None:
    authority = make(identities, "authority.example", ca=True)
    leaf = make(identities, "leaf.example", issuer=authority)
    (exim.certificates / "authority.pem").write_bytes(authority.certificate.read_bytes())
    exim.reload()
    with Eximcertd(exim) as daemon:
        assert ask(exim.port, leaf).refused
        until(lambda: leaf.fingerprint in daemon.entries("pending"), "it is seen")
        refused = daemon.ctl("approve", "--without-certificate", leaf.fingerprint[:8])
        assert refused.returncode == 3
        assert "16 digits" in refused.stderr
        assert daemon.ctl("show", leaf.fingerprint[:8]).returncode == 0
        assert daemon.ctl("approve", "--without-certificate", leaf.fingerprint[:16]).returncode == 0
        assert ask(exim.port, leaf).accepted


def test_who_watches_is_told_of_every_decision_wherever_it_comes_from(exim: EximServer, identities: Path) -> None:
    old = make(identities / "old", "relay.example")
    new = make(identities / "new", "relay.example", key=old.private)
    for who in (old, new):
        (exim.certificates / f"{who.fingerprint}.pem").write_bytes(who.certificate.read_bytes())
    imported, adopted = Fingerprint("AA" * 32), Fingerprint("BB" * 32)
    with Eximcertd(exim) as daemon, Control(daemon.socket) as watching:
        watching.socket.sendall(b'{"method":"org.eximcertd.Watch","parameters":{},"more":true}\0')
        until(lambda: daemon.ctl("approve", old.fingerprint).returncode == 0, "the old one is approved")
        replaced = daemon.ctl("approve", "--replace", "--at", _soon(), new.fingerprint)
        assert replaced.returncode in {0, 6}, "6: on a slow machine the old one is due before the answer"
        record = {"fingerprint": imported, "verb": "reject", "by": "bob"}
        assert daemon.ctl("import", given=json.dumps(record) + "\n").returncode == 0
        text = exim.macro_file.read_text()
        exim.macro_file.write_text(text.replace("RELAY_FROM_CERTS =", f"RELAY_FROM_CERTS = {adopted} :", 1))
        daemon.status()
        told: dict[str, list[str]] = {}
        expected = {old.fingerprint: "by policy", new.fingerprint: "root", imported: "bob (imported by root)",
                    adopted: "by hand"}  # fmt: skip
        while {name: by[-1] for name, by in told.items()} != expected:
            for event in watching.answer()["events"]:
                if event["kind"] == "decided":
                    told.setdefault(event["entry"]["fingerprint"], []).append(event["entry"]["decision"]["by"])


def _soon() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3))
