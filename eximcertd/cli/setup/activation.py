"""Making the new configuration live: validate it, have every daemon load it, try it; restore the old one on failure."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eximcertd.cli.check.printed_config import read
from eximcertd.cli.setup import clauses
from eximcertd.errors import EximcertdError
from eximcertd.exim import debian, starttls
from eximcertd.exim.daemons import daemons, facts
from eximcertd.exim.listeners import named_ports
from eximcertd.exim.run import quoted, run
from eximcertd.exim.settings import Exim
from eximcertd.fingerprint import of_der
from eximcertd.reload.load import load
from eximcertd.reload.request import DIED, NOT_RUNNING, ReloadError

if TYPE_CHECKING:
    from eximcertd.cli.setup.clauses import SiteNames
    from eximcertd.cli.setup.site import Site
    from eximcertd.fingerprint import Fingerprint

_KEPT: Final = debian.GENERATED.with_name(f"{debian.GENERATED.name}.eximcertctl")
"""The configuration that was live before, until the new one is tried."""
_PATIENCE: Final = 10.0
"""Seconds that Exim takes at most to read its configuration (reload/load.py)."""
_PAUSE: Final = 0.1
_RESTART: Final = 60.0
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what Exim listens on
_TEMPORARY: Final = 451
"""SMTP's code that Exim gives when an expansion in an ACL fails, with "Temporary local problem"."""


class Activation:
    """The step from files that Exim does not read yet to daemons that use them.

    names: None if the lines are removed. running: whether a daemon was found, once ``make_live`` is done. down:
    whether there was one before, and it ended.
    """

    def __init__(self, site: Site, names: SiteNames | None) -> None:
        self.running = False
        self.down = False
        self._site: Final = site
        self._names: Final = names

    def make_live(self, certificate: Path | None) -> None:
        """Validate, generate, reload, and try STARTTLS. certificate: the file that Exim has to show.

        If any of it fails, the configuration that was live before is live again, and the reason is raised:
        EximcertdError. If the daemon has ended meanwhile, ``revive`` is to be called once the sources are put back.
        """
        with tempfile.TemporaryDirectory(prefix="eximcertctl-") as directory:
            candidate = Path(directory) / "exim.conf"
            debian.generate(candidate)
            self._validate(Exim(self._site.exim.binary, candidate))
        ran = bool(daemons(facts(self._site.exim)))
        mode = debian.GENERATED.stat().st_mode
        _KEPT.unlink(missing_ok=True)
        os.link(debian.GENERATED, _KEPT)
        try:
            try:
                debian.generate()
                self._load()
                if self.running and certificate is not None:
                    self._try(certificate)
            except BaseException:
                _KEPT.chmod(mode)  # update-exim4.conf(8) changes it before it writes another file
                _KEPT.replace(debian.GENERATED)
                with suppress(EximcertdError):
                    self._load()
                self.down = ran and not daemons(facts(self._site.exim))
                raise
        finally:
            _KEPT.unlink(missing_ok=True)

    def revive(self) -> None:
        """Start a daemon that has ended, as this machine starts Exim. Raises EximcertdError if it does not run then.

        Debian generates the configuration from its sources for this.
        """
        if not self.down:
            return
        service = self._site.exim.binary.name
        systemd = Path("/run/systemd/system").exists()
        command = ["/usr/bin/systemctl", "restart", service] if systemd else ["/usr/sbin/service", service, "restart"]
        result = run(command, _RESTART)
        if result.status != 0 or not daemons(facts(self._site.exim)):
            raise EximcertdError(
                f'EXIM IS DOWN: its old configuration is back, and "{" ".join(command)}" does not start it: '
                f"{result.words()}",
                hint="start Exim; the end of its panic log has the reason",
            )

    def unfinished(self) -> bool:
        """Tell whether an earlier run was interrupted: its files stand, and are not live or not tried."""
        wanted = self._wanted()
        return _KEPT.exists() or self._site.exim.settings(*wanted) != wanted

    def _wanted(self) -> dict[str, str]:
        """Return the options of the main section that have to be set, with their values."""
        if self._names is None:
            return {}
        published = {"tls_verify_certificates": f"{self._names.certificates}/"}
        return clauses.WANTED | (published if self._names.recipe == "published" else {})

    def _validate(self, exim: Exim) -> None:
        """See that Exim reads the candidate, and that it says what it should. Raises EximcertdError."""
        exim.build()
        if self._names is None:
            return
        found = exim.settings(*self._wanted())
        for option, value in self._wanted().items():
            if found.get(option) != value:
                raise EximcertdError(
                    f"another setting takes precedence: {option} would be {quoted(found.get(option, ''), 200)!r}, "
                    f"not {value!r}",
                    hint=f"look for what sets it in {debian.ETC}",
                )
        texts = [
            value
            for name in (clauses.ACL, clauses.CONNECT_ACL, clauses.STARTTLS_ACL)
            for statement in read(exim.printed()).acls.get(name, [])
            for kind in ("condition", "logwrite")
            for value in statement.values(kind)
        ]
        for text in texts:  # -bV and -bP do not look into expansions
            exim.expand(text)

    def _load(self) -> None:
        macro = self._names.macro if self._names else ""
        try:
            self.running = load(facts(self._site.exim), macro, _PATIENCE).outcome != NOT_RUNNING
        except ReloadError as error:
            if error.answer.outcome == DIED:
                raise EximcertdError(f"Exim's daemon ended when it loaded the new configuration: {_panic()}") from None
            raise

    def _try(self, certificate: Path) -> None:
        """Ask for STARTTLS, and for RCPT, as a client does. Raises EximcertdError."""
        shown_by = _fingerprint(certificate)
        with self._connected() as session:
            if of_der(session.certificate) != shown_by:
                raise EximcertdError(
                    f"Exim does not show the certificate in {certificate}",
                    hint="see whether another program listens on its port",
                )
            if session.certificate_requested is False:
                raise EximcertdError("Exim does not ask clients for a certificate", hint="see tls_try_verify_hosts")
            session.command("MAIL FROM:<>")
            reply = session.command(f"RCPT TO:<postmaster@{self._site.host}>")
            if reply.code == _TEMPORARY and "local problem" in reply.text:
                raise EximcertdError(
                    f"Exim answers RCPT with {reply}: an expansion in its ACL for RCPT fails",
                    hint="the end of Exim's main log has the reason",
                )

    def _connected(self) -> starttls.TlsSession:
        """Connect to Exim. While another process reloads it, it refuses and resets connections for a moment."""
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                host, port = self.endpoint()
                return starttls.connect(host, port, helo=self._site.host)
            except EximcertdError as error:
                lost = not isinstance(error, starttls.StarttlsError) or (
                    error.reply is None and error.step in {"connect", "greeting"}
                )
                if not lost or time.monotonic() > end:
                    raise
            time.sleep(_PAUSE)

    def endpoint(self) -> tuple[str, int]:
        """Return address and port at which a daemon takes SMTP without TLS on connect. Raises EximcertdError."""
        known = facts(self._site.exim)
        on_connect = named_ports((), known.tls_ports)
        for daemon in daemons(known):
            for listener in sorted(daemon.listening(known), key=lambda one: (one.port != 25, one.port)):  # noqa: PLR2004 - SMTP
                if listener.port not in on_connect:
                    address = str(listener).rpartition(":")[0].strip("[]")
                    return _ANY.get(address, address), listener.port
        raise EximcertdError("Exim listens on no port for SMTP", hint="see daemon_smtp_ports and local_interfaces")

    def reachable(self) -> bool:
        """Tell whether a daemon listens on more than loopback addresses."""
        known = facts(self._site.exim)
        listening = [str(one) for daemon in daemons(known) for one in daemon.listening(known)]
        return any(not one.startswith(("127.", "[::1]")) for one in listening)


def _fingerprint(certificate: Path) -> Fingerprint:
    from eximcertd.cli.setup.identity import fingerprint  # noqa: PLC0415 - loads cryptography

    return fingerprint(certificate)


def _panic() -> str:
    try:
        lines = Path("/var/log/exim4/paniclog").read_text("utf-8", "backslashreplace").splitlines()
    except OSError:
        lines = []
    return quoted(lines[-1], 300) if lines else "see its panic log"
