"""A private real Exim for a test: own port, spool, log, pid file, certificates, macro file and configuration.

    with EximServer(trusted=[alice]) as exim:
        assert ask(exim.port, alice).refused

What was measured (Exim 4.96, Debian 12), and is solved here:

- Exim is started by root with ``-C FILE`` and drops to Debian-exim, as Debian's own does. A reload (HUP)
  works: the same pid, the new file, the log line "exim user lost privilege for using -C option". All that
  is lost is becoming root again, for deliveries as other users; these deliver as Debian-exim, so the line
  does no harm. It also stands in the log once for each delivery and message after a reload.
- It runs in the foreground (``-bdf``) as our child, and a thread reaps it at once: an Exim that died is gone
  from /proc and no zombie. It writes its pid file all the same.
- Everything lies in a directory of its own below /tmp, 0755, owned by root: pytest's tmp_path is 0700 and
  Exim's user could not look into it; /tmp is sticky, and so a safe parent for the publisher.
- Ports are taken from 20000 to 32000, below the range from which the kernel gives ports to clients: else,
  while Exim is between closing and opening its port in a reload, some client could get it.
- With ``tls_verify_certificates = DIR/`` a certificate added later counts after about 5 s, or after
  ``reload()``. Give those that are known beforehand as ``trusted``.
- An Exim linked with OpenSSL finds a certificate in the directory by the hash of its subject alone; ``trust`` makes
  that link. Then the certificate counts at once.
- EXIMCERTD_TEST_EXIM names another Exim than Debian's (scripts/build-exim-openssl). It has another program compiled in
  to execute at a reload, so that its configuration names it (exim_path).
- Its path is short: below a long one (a spool of more than about 90 characters) Exim cannot bind its notifier
  socket, says so in the panic log, and goes on without.
- The reason for a death by a broken configuration stands in the compile-time panic log
  (/var/log/exim4/paniclog) and on standard error, here the file ``output``.
"""

from __future__ import annotations

import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from lab.certificates import Identity, make
from lab.recipe import ACL, CONFIGURATION
from lab.wait import until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lab.network import Host

EXIM: Final = Path(os.environ.get("EXIMCERTD_TEST_EXIM", "/usr/sbin/exim4"))
USER: Final = "Debian-exim"
MACRO: Final = "RELAY_FROM_CERTS"


class EximServer:
    """A server Exim with the published recipe, for the length of a ``with`` block.

    trusted: certificates in the certificate directory from the start. allowed: fingerprints in the macro file
    from the start (an empty value without any). log_selector: "+pid" ties a rejection to its peer. log_path:
    Exim's log_file_path below the log directory. before: text of the main section before the macro file is
    included (earlier macros). main: more text of the main section; an option in it replaces ours. acl: the
    clauses of the RCPT ACL. queue: arguments such as "-q30m". directory: where it all lies; by default a new one
    below /tmp. host: where it runs, if it has a network of its own.
    """

    def __init__(
        self,
        *,
        trusted: Iterable[Identity] = (),
        allowed: Iterable[str] = (),
        log_selector: str = "+pid",
        log_path: str = "%slog",
        before: str = "",
        main: str = "",
        acl: str = ACL,
        queue: tuple[str, ...] = (),
        directory: Path | None = None,
        host: Host | None = None,
    ) -> None:
        self._enter = host.enter if host else []
        self._sockets = host.sockets if host else Path("/proc/net/tcp")
        self.directory: Final = directory or Path(tempfile.mkdtemp(prefix="exim-lab-"))
        self.directory.mkdir(exist_ok=True)
        self.directory.chmod(0o755)
        self.etc = self.directory / "etc"
        # A name of its own: a daemon with a relative -C is told by the name of its file.
        self.configuration = self.etc / ("exim.conf" if directory else f"{self.directory.name}.conf")
        self.macro_file = self.etc / "relay_from_certs"
        self.certificates = self.directory / "certs"
        self.spool = self.directory / "spool"
        self.log_directory = self.directory / "log"
        self.log = self.log_directory / "mainlog"
        self.mail = self.directory / "mail"
        self.pid_file = self.directory / "run" / "exim.pid"
        self.output = self.directory / "output"
        self.port = _free_port()
        self._options = {"log_selector": log_selector, "before": before, "main": main, "acl": acl}
        self._log_file_path = f"{self.log_directory}/{log_path}"
        self._queue = queue
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = threading.Event()
        for part in (self.etc, self.certificates):
            part.mkdir()
            part.chmod(0o755)
        user = pwd.getpwnam(USER)
        for part in (self.spool, self.log_directory, self.mail, self.pid_file.parent):
            part.mkdir()
            part.chmod(0o755)
            os.chown(part, user.pw_uid, user.pw_gid)
        self.identity: Final = make(
            self.etc, "server.lab.example", stem="server", names=["server.lab.example", "localhost"]
        )
        os.chown(self.identity.key, 0, user.pw_gid)
        self.identity.key.chmod(0o640)
        for identity in trusted:
            self.trust(identity)
        self.allow(allowed)
        self.configure()

    def __enter__(self) -> Self:
        """Start it."""
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it and remove its directory."""
        self.stop()
        self.remove()

    @property
    def pid(self) -> int:
        """The daemon's process id, the same before and after a reload."""
        if self._process is None:
            raise AssertionError("this Exim was never started")
        return self._process.pid

    def configure(self, **options: str) -> None:
        """Write the configuration; ``before``, ``main``, ``acl`` and ``log_selector`` given here replace the old."""
        self._options.update(options)
        text = CONFIGURATION.format(
            **self._options,
            home=self.directory,
            exim=EXIM,
            macro_file=self.macro_file,
            user=USER,
            log_file_path=self._log_file_path,
            port=self.port,
            certificate=self.identity.certificate,
            key=self.identity.key,
        )
        ours, main, rest = text.partition(self._options["main"] + "\n\nbegin acl")
        theirs = set(re.findall(r"^(\w+)", self._options["main"], re.MULTILINE))
        kept = [line for line in ours.splitlines(keepends=True) if line.partition(" ")[0] not in theirs]
        _replace(self.configuration, "".join(kept) + main + rest)

    def break_configuration(self) -> None:
        """Make the configuration one that Exim refuses, as somebody else's hand might; ``configure`` mends it."""
        with self.configuration.open("r+") as stream:
            text = stream.read()
            stream.seek(0)
            stream.write("no_such_option = true\n" + text)

    def allow(self, fingerprints: Iterable[str]) -> None:
        """Write the macro file by hand, as the recipe's reader would; no reload."""
        _replace(self.macro_file, f"{MACRO} = {' : '.join(fingerprints)}\n")

    def trust(self, identity: Identity, name: str | None = None) -> Path:
        """Put a certificate into the certificate directory (by default NAME.pem) and return its path there."""
        target = self.certificates / (name or identity.certificate.name)
        shutil.copyfile(identity.certificate, target)
        target.chmod(0o644)
        if linked_with_openssl():
            subprocess.run(
                ["/usr/bin/openssl", "rehash", self.certificates], check=True, capture_output=True, timeout=20
            )
        return target

    def start(self) -> None:
        """Start the daemon and return once its port answers. Raises AssertionError with Exim's own words."""
        for _ in range(3):
            self._ended = threading.Event()
            with self.output.open("ab") as output:
                self._process = subprocess.Popen(
                    [*self._enter, EXIM, "-C", self.configuration, "-bdf", *self._queue],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd="/",
                )
            threading.Thread(target=_reap, args=(self._process, self._ended), daemon=True).start()
            until(lambda: self._ended.is_set() or self._is_up(), "Exim is up", limit=20, pause=0.002)
            if not self._ended.is_set():
                return
            if "ddress already in use" not in self.words():
                break
            self.port = _free_port()
            self.configure()
        raise AssertionError(f"Exim did not start:\n{self.words()}")

    def stop(self) -> None:
        """End the daemon, by its pid, and the session processes that it left."""
        if self._process is not None and not self._ended.is_set():
            for child in self.sessions():
                _signal(child, signal.SIGTERM)
            self._process.terminate()
            if not self._ended.wait(5):
                self._process.kill()
                self._ended.wait(5)

    def kill(self) -> None:
        """Kill the daemon as a crash would: the pid file stays behind."""
        if self._process is None:
            raise AssertionError("this Exim was never started")
        self._process.kill()
        self._ended.wait(5)

    def restart(self) -> None:
        """Stop and start again; nothing else changes."""
        self.stop()
        self.start()

    def reload(self) -> None:
        """Send SIGHUP and return once the new configuration is loaded. Raises AssertionError if Exim died.

        A child that was forked for a session in that instant may hold the old sockets for a moment: Exim then goes
        without a notifier socket, and tries its port again after daemon_startup_sleep. And a HUP that comes between
        its handler's installation and the wait for connections is heeded at the next signal or connection only.
        """
        until(self._takes_hup, "Exim handles SIGHUP")
        before = self._listeners()
        sent = 0.0

        def reloaded() -> bool:
            nonlocal sent
            if time.monotonic() - sent > 1:
                sent = time.monotonic()
                _signal(self.pid, signal.SIGHUP)
            return self._ended.is_set() or bool(self._listeners() - before)

        until(reloaded, "Exim has reloaded", limit=20)
        until(lambda: self._ended.is_set() or (self._takes_hup() and self.listening()), "Exim listens again")
        if self._ended.is_set():
            raise AssertionError(f"Exim died of the reload:\n{self.words()}")

    def alive(self) -> bool:
        """Tell whether the daemon runs."""
        return self._process is not None and not self._ended.is_set()

    def listening(self) -> bool:
        """Tell whether its port takes connections; looked up, since a connection would be a session."""
        return f" 0100007F:{self.port:04X} 00000000:0000 0A " in self._sockets.read_text()

    def sessions(self) -> list[int]:
        """Return the process ids of the daemon's children: one for each open session."""
        try:
            text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        except FileNotFoundError:
            return []
        return [int(pid) for pid in text.split()]

    def words(self) -> str:
        """Return what Exim said: standard error, then its panic log and main log."""
        files = [self.output, self.log_directory / "paniclog", self.log]
        return "\n".join(path.read_text(errors="replace") for path in files if path.exists())

    def lines(self) -> list[str]:
        """Return the lines of the main log."""
        return self.log.read_text(errors="backslashreplace").splitlines() if self.log.exists() else []

    def reloads(self) -> int:
        """Return how many reloads the main log tells of."""
        return sum("SIGHUP received: re-exec daemon" in line for line in self.lines())

    def delivered(self) -> str:
        """Return all the mail that was delivered so far."""
        box = self.mail / "box"
        return box.read_text(errors="replace") if box.exists() else ""

    def remove(self) -> None:
        """Remove its directory; the daemon must have been stopped."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _listeners(self) -> set[str]:
        """Return the inodes of the sockets that listen on its port, which are new after each reload."""
        rows = [line.split() for line in self._sockets.read_text().splitlines()]
        return {row[9] for row in rows if row[1].endswith(f":{self.port:04X}") and row[3] == "0A"}

    def _is_up(self) -> bool:
        """Tell whether it listens and, the last thing it sets up, takes SIGHUP: its pid file is written by then."""
        return self.listening() and self._takes_hup()

    def _takes_hup(self) -> bool:
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except FileNotFoundError:
            return self._ended.wait(1)
        caught = re.search(r"^SigCgt:\s*([0-9a-f]+)", status, re.MULTILINE)
        return caught is not None and bool(int(caught[1], 16) & 1 << (signal.SIGHUP - 1))


@cache
def linked_with_openssl() -> bool:
    """Tell whether the Exim of the tests is linked with OpenSSL."""
    told = subprocess.run([EXIM, "-C", "/dev/null", "-bV"], check=True, capture_output=True, text=True, timeout=20)
    return " OpenSSL" in told.stdout


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".new")
    beside.write_text(text)
    beside.chmod(0o644)
    beside.replace(path)


def _reap(process: subprocess.Popen[bytes], ended: threading.Event) -> None:
    process.wait()
    ended.set()


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):  # it may have ended by itself meanwhile
        os.kill(pid, number)


def _free_port() -> int:
    while True:
        port = random.randint(20000, 32000)  # noqa: S311 - any port will do
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
