"""``eximcertctl client setup``: key, certificate, the server's certificate pinned, and Debian's Exim configured."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Final

import click

from eximcertd.cli.changeset import Change, Changeset
from eximcertd.cli.client import files, mail_system
from eximcertd.cli.client.certificate import fingerprint_of, machine_name, make, of_server
from eximcertd.cli.client.snippet import for_exim
from eximcertd.cli.context import json_option
from eximcertd.cli.output import print_json, say
from eximcertd.cli.steps import Step, difference
from eximcertd.errors import EximcertdError, NotPermittedError, RefusedError, UsageError
from eximcertd.exim import debian, starttls
from eximcertd.fingerprint import FingerprintError, grouped, parse
from eximcertd.text import shown

if TYPE_CHECKING:
    from eximcertd.cli.client.certificate import ServerCertificate
    from eximcertd.cli.client.files import Smarthost
    from eximcertd.cli.client.mail_system import MailSystem
    from eximcertd.fingerprint import Fingerprint

TOLD_DIGITS: Final = 16
"""Digits of a fingerprint that the server's administrator needs to approve it."""


@click.command("setup")
@click.argument("host", required=False, metavar="HOST[:PORT]")
@click.option("--server-fingerprint", metavar="HEX", help="The server's fingerprint, as its setup printed it.")
@click.option("--yes", is_flag=True, help="Ask nothing.")
@click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing.")
@click.option("--undo", is_flag=True, help="Remove what this command wrote, and nothing else.")
@json_option
def setup(
    host: str | None, server_fingerprint: str | None, *, yes: bool, dry_run: bool, undo: bool, as_json: bool
) -> None:
    """Make this machine a client of the server HOST.

    Makes a key and a certificate, keeps the server's certificate, and configures Debian's Exim to send all mail that
    is not local to that server and to no other. Shows what it is going to write. The port is 25 unless given.
    """
    if (host is None) != undo or (undo and server_fingerprint):
        raise UsageError("give HOST[:PORT], or --undo alone")
    if os.geteuid() != 0 and not dry_run:
        raise NotPermittedError("client setup writes below /etc: run it as root")
    if host is None:
        _undo(yes=yes, dry_run=dry_run, as_json=as_json)
        return
    _Setup(files.Smarthost.parse(host), yes=yes, dry_run=dry_run, as_json=as_json).run(server_fingerprint)


class _Setup:
    """One run of the verb. server: what was named."""

    def __init__(self, server: Smarthost, *, yes: bool, dry_run: bool, as_json: bool) -> None:
        self._server: Final = server
        self._yes: Final = yes
        self._dry_run: Final = dry_run
        self._as_json: Final = as_json
        self._changeset: Final = Changeset(files.RECORD)

    def run(self, given: str | None) -> None:
        """Do it. given: the server's fingerprint as it was typed. Raises EximcertdError."""
        shows = self._fetched()
        self._same_server(shows, given)
        system = mail_system.find()
        if system.needs_name and not shows.covers(self._server):
            raise EximcertdError(
                f"the server's certificate is for {shown(', '.join(shows.names) or 'no name')}, not for "
                f"{self._server.host}: Exim's unsplit configuration compares the name and would send nothing",
                hint="give the server's name as its certificate has it, or choose the split configuration "
                "(dpkg-reconfigure exim4-config)",
            )
        if system.kind in {"split", "unsplit"} and not self._changeset and os.geteuid() == 0:
            debian.verify_current()
        changes = [*self._files(shows, system), *mail_system.changes(system, self._server, self._changeset.without_us)]
        steps = self._changeset.plan(changes)
        if not steps and self._works(system):
            self._say("Nothing to do: this machine is set up.")
        elif self._confirmed(steps):
            self._changeset.apply(changes, partial(_finish, system))
        if self._as_json:
            self._print_json(system, shows, steps)
        elif not self._dry_run:
            self._report(system, shows)
        if steps and system.kind in {"split", "unsplit"} and not self._dry_run:
            mail_system.load()

    def _fetched(self) -> ServerCertificate:
        with starttls.connect(self._server.host, self._server.port, helo=machine_name()) as session:
            shows = of_server(session.certificate)
        if shows.expired:
            raise EximcertdError(
                f"the certificate of {self._server} has expired on {shows.not_after:%Y-%m-%d}: Exim would send nothing",
                hint="the server's administrator has to renew it",
            )
        return shows

    def _same_server(self, shows: ServerCertificate, given: str | None) -> None:
        """Have the server's certificate confirmed. Raises EximcertdError if it is another one, or is not confirmed."""
        self._say(f"The certificate of {self._server} has this SHA-256 fingerprint:\n  {grouped(shows.fingerprint)}")
        if given is not None:
            if shows.fingerprint != _fingerprint(given):
                raise RefusedError(
                    f"{self._server} shows another certificate than the one with --server-fingerprint",
                    hint="another machine may answer in the server's place; ask its administrator",
                )
            return
        pinned = _pinned()
        if pinned == shows.fingerprint or self._dry_run:
            return
        if pinned is not None:
            self._say(f"THIS IS NOT THE CERTIFICATE THAT WAS KEPT BEFORE:\n  {grouped(pinned)}")
        if self._yes:
            raise UsageError("--yes needs --server-fingerprint HEX, which confirms the server's certificate")
        if not _ask("Is that what the server's setup printed?", "--server-fingerprint HEX answers this question"):
            raise EximcertdError(
                "nothing was changed: the server's fingerprint was not confirmed",
                hint="ask the server's administrator for it",
            )

    def _files(self, shows: ServerCertificate, system: MailSystem) -> list[Change]:
        """Return the changes for the files that are kept whatever mail system this machine has."""
        made = [
            Change(files.SERVER_CERTIFICATE, shows.pem),
            Change(files.SERVER, f"{self._server}\n"),
        ]
        there = files.CERTIFICATE.exists(), files.KEY.exists()
        if there == (False, False):
            certificate, key = make(machine_name())
            mode = 0o600 if system.kind == "none" else 0o640
            return [
                Change(files.KEY, key, None, mode, system.group, secret=True),
                Change(files.CERTIFICATE, certificate),
                *made,
            ]
        if not all(there):
            missing, left = (files.KEY, files.CERTIFICATE) if there[0] else (files.CERTIFICATE, files.KEY)
            raise EximcertdError(
                f"{left} is there and {missing} is not", hint=f"restore {missing}, or move {left} away for a new pair"
            )
        return [*self._changeset.standing(files.KEY, files.CERTIFICATE), *made]

    def _works(self, system: MailSystem) -> bool:
        try:
            if system.kind in {"split", "unsplit"}:
                mail_system.validate(system)
            mail_system.readable_key(system)
        except EximcertdError as error:
            self._say(f"It does not work yet: {error.message}")
            return False
        return True

    def _confirmed(self, steps: list[Step]) -> bool:
        if not self._as_json:
            say("\n".join(difference(steps)))
        if self._dry_run:
            self._say("Nothing was written (--dry-run).")
            return False
        if steps and not self._yes and not _ask("Write this?"):
            raise EximcertdError("nothing was changed")
        return True

    def _print_json(self, system: MailSystem, shows: ServerCertificate, steps: list[Step]) -> None:
        print_json(
            {
                "server": str(self._server),
                "server_fingerprint": shows.fingerprint,
                "fingerprint": fingerprint_of(files.CERTIFICATE) if files.CERTIFICATE.exists() else None,
                "exim": system.kind,
                "changed": [str(step.path) for step in steps],
            }
        )

    def _report(self, system: MailSystem, shows: ServerCertificate) -> None:
        own = fingerprint_of(files.CERTIFICATE)
        if not shows.self_signed:
            self._say(
                f"The server's certificate was issued by an authority and ends on {shows.not_after:%Y-%m-%d}. When the "
                "server gets another one, mail waits here until this command is run again."
            )
        self._say(_what_next(system, self._server))
        self._say(
            f"This machine's fingerprint, to be told to the server's administrator:\n  {grouped(own)}\n"
            f"The first {TOLD_DIGITS} digits are enough:\n  {grouped(own[:TOLD_DIGITS])}\n"
            f"Then, here: eximcertctl client probe\n"
            f"and there: eximcertctl approve {own[:TOLD_DIGITS]}"
        )

    def _say(self, text: str) -> None:
        if not self._as_json:
            say(text)


def _undo(*, yes: bool, dry_run: bool, as_json: bool) -> None:
    changeset = Changeset(files.RECORD)
    steps = changeset.plan([])
    exim = any(debian.ETC in step.path.parents for step in steps)
    done = "Nothing to do: client setup has written nothing."
    if changeset:
        if not as_json:
            say("\n".join(difference(steps)))
            if any(step.path == files.KEY for step in steps):
                say("A later setup makes another key, which has to be approved again.")
        if not dry_run:
            if not yes and not _ask("Remove this?"):
                raise EximcertdError("nothing was changed")
            changeset.apply([], debian.generate if exim else lambda: None)
        done = "Nothing was written (--dry-run)." if dry_run else "Done."
    if as_json:
        print_json({"changed": [str(step.path) for step in steps]})
    else:
        say(done)
    if exim and not dry_run:
        mail_system.load()


def _finish(system: MailSystem) -> None:
    """Have Exim use what was written. Raises EximcertdError if it would not send mail to the server alone."""
    mail_system.readable_key(system)
    if system.kind in {"split", "unsplit"}:
        mail_system.make_live(system)


def _what_next(system: MailSystem, server: Smarthost) -> str:
    if system.kind == "none":
        return (
            'There is no Exim on this machine: none was configured. "eximcertctl client snippet" prints what Postfix, '
            "msmtp, OpenSMTPD or swaks need."
        )
    if system.kind == "handwritten":
        return for_exim(system, server)
    return f"Exim sends all mail that is not for this machine to {server}, and to no other server."


def _ask(question: str, hint: str = "--yes asks nothing") -> bool:
    try:
        return click.confirm(question)
    except click.Abort:
        raise EximcertdError("nothing was changed: no answer was given", hint=hint) from None


def _fingerprint(text: str) -> Fingerprint:
    try:
        return parse(text)
    except FingerprintError as error:
        raise UsageError(f"--server-fingerprint: {error}", hint="give all 64 hex digits") from None


def _pinned() -> Fingerprint | None:
    return fingerprint_of(files.SERVER_CERTIFICATE) if files.SERVER_CERTIFICATE.exists() else None
