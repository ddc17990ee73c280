"""revoke with a real Exim: the open sessions, and the queued mail."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

from lab.ctl import ctl
from lab.daemon import Eximcertd
from lab.entries import certificate
from lab.smtp import Session, ask, session
from lab.twins import LIVE, Twin
from lab.wait import until

from eximcertd.cli.spool import messages

if TYPE_CHECKING:
    from pathlib import Path

    from lab.certificates import Identity
    from lab.exim import EximServer

    from eximcertd.control.server import Caller


def test_revoke_counts_the_open_sessions_names_the_queued_mail_and_ends_the_sessions(
    server: EximServer, alice: Identity, mallory: Identity
) -> None:
    with Eximcertd(server) as daemon:
        with session(server.port, alice) as sending:
            assert sending.send("hello").accepted
        holding = Session(server.port, alice)
        assert holding.rcpt().accepted
        done = daemon.ctl("revoke", alice.fingerprint[:8], "--note", "stolen")
        assert done.returncode == 0, done.stderr
        assert "1 open session still with the old list (from 127.0.0.1): --end-sessions ends them." in done.stdout
        assert "1 message that Exim accepted from it before, still queued:" in done.stdout
        [queued] = messages(server.spool, {alice.fingerprint})
        assert queued in done.stdout
        assert holding.rcpt().accepted, "an open session has the old list"
        younger = Session(server.port, mallory)
        assert younger.rcpt().accepted
        again = daemon.ctl("revoke", alice.fingerprint, "--end-sessions", "--json")
        assert again.returncode == 0, again.stderr
        found = json.loads(again.stdout)["sessions"]
        assert (found["open"], found["ended"]) == (0, 1)
        assert holding.rcpt().unreachable, "its session was ended"
        assert younger.rcpt().accepted, "one that began with the new list goes on"
        assert ask(server.port, alice).refused
        younger.close()
        holding.close()


def test_in_the_directory_form_open_sessions_obey_at_once(server: EximServer, alice: Identity) -> None:
    with Eximcertd(server, {"allowlist": {"form": "directory"}}) as daemon, session(server.port, alice) as holding:
        server.reload()
        until(lambda: ask(server.port, alice).accepted, "the directory is asked")
        with session(server.port, alice) as younger:
            assert younger.rcpt().accepted
            done = daemon.ctl("revoke", alice.fingerprint)
            assert done.returncode == 0, done.stderr
            assert "in open sessions too" in done.stdout
            assert younger.rcpt().refused
        holding.close()


def test_no_process_is_ended_because_eximcertd_names_it(exim: EximServer, alice: Identity, tmp_path: Path) -> None:
    with subprocess.Popen(["/bin/sleep", "600"]) as victim, session(exim.port, alice) as holding:
        until(exim.sessions, "the session has its process")

        async def taken_over(_: Caller, given: dict[str, Any]) -> dict[str, Any]:
            entry = {**certificate("CN=x"), "fingerprint": given["fingerprints"][0], "standing": "revoked"}
            entry |= {"certificate": None, "decision": None, "revoke_at": None, "renews": None, "warnings": []}
            entry["same_name"] = []
            forged = {"exim_pid": os.getpid(), "loaded_at": "2999-01-01T00:00:00Z"}
            return {"decided": [entry], "publication": {**LIVE, **forged}}

        with Twin(Eximcertd(exim).socket, methods={"Decide": taken_over}):
            config = Eximcertd(exim).config
            done = ctl("--config", config, "revoke", alice.fingerprint, "--end-sessions")
        assert "1 open session with the old list ended (from 127.0.0.1)." in done.out
        assert holding.rcpt().unreachable
        assert victim.poll() is None, "a child of the process that eximcertd named lives on"
        victim.terminate()
    assert exim.alive()
    assert ask(exim.port, alice).refused
