"""This machine's Exim: how it is configured, what to change so that it is such a client, and whether it is one."""

from __future__ import annotations

import os
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eximcertd.cli.changeset import Change
from eximcertd.cli.client import files, lines
from eximcertd.errors import EximcertdError
from eximcertd.exim import debian
from eximcertd.exim.daemons import facts
from eximcertd.exim.debian import ANSWERS, ETC, LOCAL_MACROS
from eximcertd.exim.run import EximError, run
from eximcertd.exim.settings import Exim
from eximcertd.reload.load import load as reload_daemons
from eximcertd.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from eximcertd.cli.client.files import Smarthost

ROUTER: Final = ETC / "conf.d/router/190_local_eximcertd_client"
"""Before Debian's own routers for mail that is not local (200)."""
TRANSPORT: Final = ETC / "conf.d/transport/50_local_eximcertd_client"
PROBE: Final = "eximcertd-probe@example.invalid"
"""An address that is local nowhere (RFC 2606)."""
_TIME_LIMIT: Final = 60.0
_MANY: Final = 2000
"""Characters of another program's words that are shown."""


@dataclass(frozen=True, slots=True)
class MailSystem:
    """This machine's Exim. kind: "none", "split", "unsplit" (Debian's two ways) or "handwritten".

    config: the file that Exim reads. group: Exim's, which may read the key.
    """

    kind: str
    exim: Exim | None = None
    config: Path | None = None
    group: str = "root"

    @property
    def transport(self) -> str:
        """The transport that carries the mail to the server."""
        return lines.NAME if self.kind == "split" else lines.DEBIAN_TRANSPORT

    @property
    def needs_name(self) -> bool:
        """Tell whether the server's certificate must carry the server's name: Debian's transport always compares it."""
        return self.kind == "unsplit"


def find() -> MailSystem:
    """Return how this machine's Exim is configured. Raises EximError if Exim cannot read its configuration."""
    try:
        exim = Exim()
    except EximError:
        return MailSystem("none")
    config = exim.build().config
    group = exim.settings("exim_group").get("exim_group", "root")
    kind = debian.kind(config)
    relays = kind and _type(ANSWERS.read_text("utf-8", "replace")) in {"internet", "smarthost", "satellite", "local"}
    return MailSystem(kind if kind and relays else "handwritten", exim, config, group)


def changes(system: MailSystem, server: Smarthost, read: Callable[[Path], str | None]) -> list[Change]:
    """Return what to change in Debian's configuration. read: returns a file's contents without our changes.

    The unsplit configuration has no place for a router or a transport of our own: there its type becomes
    "smarthost", as dpkg-reconfigure would make it, and macros set the rest.
    """
    if system.kind == "split":
        return [Change(TRANSPORT, lines.transport()), Change(ROUTER, lines.router(server))]
    if system.kind != "unsplit":
        return []
    made = []
    answers = read(ANSWERS) or ""
    found = re.search(r"^dc_eximconfig_configtype=.*\n", answers, re.MULTILINE)
    if found and _type(answers) not in {"smarthost", "satellite"}:
        made.append(Change(ANSWERS, "dc_eximconfig_configtype='smarthost'\n", found[0]))
    there = read(LOCAL_MACROS) or ""
    gap = "" if there.endswith("\n") or not there else "\n"
    made.append(Change(LOCAL_MACROS, gap + lines.macros(server), ""))
    return made


def make_live(system: MailSystem) -> None:
    """Have Debian generate Exim's configuration, beside the live one first; make it live once it is right.

    Raises EximcertdError if it is not, and then the live one is as it was.
    """
    with tempfile.TemporaryDirectory(prefix="eximcertctl-") as directory:
        candidate = Path(directory) / "exim.conf"
        debian.generate(candidate)
        validate(system, candidate)
    debian.generate()


def load() -> None:
    """Have Exim's daemon, if one runs, load its configuration. Raises EximcertdError if that is not observed.

    Deliveries do not depend on it: each is a process that reads the configuration itself. What the daemon decides as
    it receives a message does.
    """
    exim = Exim()
    began = time.monotonic()
    known = facts(exim)
    reload_daemons(known, "", time.monotonic() - began)


def validate(system: MailSystem, config: Path | None = None) -> None:
    """Verify that Exim reads a configuration (None: its own), and sends mail to the pinned server and nowhere else.

    Raises EximcertdError if it does not.
    """
    chosen = ["-C", str(config)] if config else []
    exim = str(system.exim.binary) if system.exim else ""
    _run(exim, *chosen, "-bV")
    printed = _run(exim, *chosen, "-bP", "transport", system.transport)
    options = dict(re.findall(r"^(\w+) = ?(.*)$", printed, re.MULTILINE))
    for option, value in lines.WANTED.items():
        if options.get(option, "") != value:
            raise EximcertdError(
                f"another setting takes precedence: {option} of the transport {system.transport} would be "
                f"{shown(options.get(option, ''))!r}, not {value!r}",
                hint=f"look for what sets it in {ETC}",
            )
    routed = _run(exim, *chosen, "-bt", PROBE)
    if not re.search(rf"transport = {system.transport}$", routed, re.MULTILINE):
        raise EximcertdError(
            f"Exim would not send mail for elsewhere to the server. It says:\n{_words(routed)}",
            hint=f"a router of this machine comes before; see {ETC}",
        )


def readable_key(system: MailSystem) -> None:
    """Verify that Exim's user can read the key. Raises EximcertdError if it cannot."""
    if system.exim is None or os.geteuid() != 0:
        return
    user = system.exim.settings("exim_user").get("exim_user", "")
    try:
        system.exim.expand(f"${{sha256:${{readfile{{{files.KEY}}}}}}}", user=user)
    except EximError as error:
        raise EximcertdError(
            f"Exim's user {user} cannot read the key {files.KEY}: {error.words or error.message}",
            hint=f"chgrp {system.group} {files.KEY}; chmod 640 {files.KEY}; every directory above needs mode 755",
        ) from None


def _type(answers: str) -> str:
    """Return the type of configuration that was chosen with debconf, such as "smarthost"."""
    found = re.search(r"""^dc_eximconfig_configtype=['"]?(\w+)""", answers, re.MULTILINE)
    return found[1].lower() if found else ""


def _run(*command: str) -> str:
    """Run a program and return what it printed. Raises EximcertdError with its words if it fails."""
    done = run(list(command), _TIME_LIMIT)
    if done.status != 0:
        raise EximcertdError(f"{' '.join(command)} failed:\n{_words(done.err.strip() or done.out)}")
    return done.out


def _words(text: str) -> str:
    return "\n".join(f"  {shown(line)}" for line in text.strip()[-_MANY:].splitlines())
