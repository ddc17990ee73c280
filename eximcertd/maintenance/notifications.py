"""Notifications by mail or by a program: what waits for a person, what expires soon, and what keeps Exim from the list.

It takes every event on its way to the journal. Clients that are new are gathered and sent as one message; what concerns
Exim is sent at once. A message that cannot be sent is reported in the journal and not sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from eximcertd.errors import EximcertdError
from eximcertd.events import Event
from eximcertd.maintenance.commands import Ran, run
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from eximcertd.config import NotifySettings
    from eximcertd.fingerprint import Fingerprint
    from eximcertd.journal import Recorder

LIMIT: Final = 60.0
"""Seconds that sending one message may take."""

SENDMAIL: Final = "/usr/sbin/sendmail"
MAIL_SOCKET: Final = Path("/run/eximcertd-mail")
"""Takes a message and sends it outside of the service's sandbox, where there is such a unit (eximcertd(8))."""

_SOCKET_MISSING: Final = "; under systemd, run: systemctl enable --now eximcertd-mail.socket"
_MOST_LISTED: Final = 20
_MOST_GATHERED: Final = 10_000


class Delays(NamedTuple):
    """Seconds. gather: from the first new client to the message about it and about those that came meanwhile.

    pause: between two messages about new clients, however many there are. not_live: that a decision may wait to be live
    before it is reported. tick: between two looks while something waits. idle: between two looks otherwise.
    """

    gather: float = 60.0
    pause: float = 600.0
    not_live: float = 600.0
    tick: float = 2.0
    idle: float = 60.0


class Notifications:
    """A Recorder that passes events on, and sends messages about some. settings: of the running configuration."""

    def __init__(
        self, recorder: Recorder, settings: Callable[[], NotifySettings], delays: Delays | None = None
    ) -> None:
        self._delays = delays or Delays()
        self._recorder = recorder
        self._settings = settings
        self._fresh: dict[Fingerprint, None] = {}
        self._beyond = 0  # clients that were not gathered any more
        self._expiring: list[str] = []
        self._urgent: list[tuple[str, str]] = []
        self._told: set[str] = set()
        self._due: float | None = None  # when what was gathered is sent
        self._earliest = 0.0
        self._not_live_since: float | None = None
        self._woken = asyncio.Event()

    def record(self, event: Event, message: str, **fields: str) -> None:
        """See Recorder."""
        self._recorder.record(event, message, **fields)
        if event is Event.EXIM_IS_DOWN:
            self._at_once("exim-is-down", message)
        elif event is Event.CERTIFICATE_EXPIRES_SOON and len(self._expiring) < _MOST_GATHERED:
            self._expiring.append(message)
            self._gather()

    def seen(self, fresh: Sequence[Fingerprint]) -> None:
        """Gather clients that are new in the queue."""
        room = _MOST_GATHERED - len(self._fresh)
        self._fresh.update(dict.fromkeys(fresh[:room]))
        self._beyond += max(0, len(fresh) - room)
        self._gather()

    async def run(
        self, live: Callable[[], bool], shown: Callable[[Sequence[Fingerprint]], Awaitable[list[dict[str, Any]]]]
    ) -> None:
        """Send what is due, until cancelled. shown: the entries of fingerprints, as the control socket shows them."""
        while True:
            something = self._due is not None or self._not_live_since is not None
            with contextlib.suppress(TimeoutError):
                # wait_for of Python 3.11 loses a cancellation that comes at the same time as the event.
                async with asyncio.timeout(self._delays.tick if something else self._delays.idle):
                    await self._woken.wait()
            self._woken.clear()
            try:
                self._look(live=live(), now=time.monotonic())
                while self._urgent:
                    await self._send(*self._urgent.pop(0), 1, [])
                if self._due is not None and time.monotonic() >= self._due:
                    await self._send_gathered(shown)
            except EximcertdError as error:
                self._recorder.record(Event.NOTIFICATION_FAILED, f"nothing was sent: {error.message}")

    def _gather(self) -> None:
        if self._due is None:
            self._due = max(time.monotonic() + self._delays.gather, self._earliest)
            self._woken.set()

    def _at_once(self, kind: str, sentence: str) -> None:
        """Send a message once, until Exim honours the list again."""
        if kind not in self._told:
            self._told.add(kind)
            self._urgent.append((kind, sentence))
            self._woken.set()

    def _look(self, *, live: bool, now: float) -> None:
        if live:
            self._not_live_since = None
            self._told.clear()
        elif self._not_live_since is None:
            self._not_live_since = now
        elif now - self._not_live_since >= self._delays.not_live:
            self._at_once("not-live", "Exim has not honoured every decision for 10 minutes: see eximcertctl status")

    async def _send_gathered(self, shown: Callable[[Sequence[Fingerprint]], Awaitable[list[dict[str, Any]]]]) -> None:
        fresh, beyond, expiring = list(self._fresh), self._beyond, self._expiring
        self._fresh, self._beyond, self._expiring, self._due = {}, 0, [], None
        self._earliest = time.monotonic() + self._delays.pause
        many, entries = len(fresh) + beyond, list[dict[str, Any]]()
        while fresh and not entries:  # a policy may have decided on those that came last
            listed = await shown(fresh[-_MOST_LISTED:])
            del fresh[-_MOST_LISTED:]
            entries = [entry for entry in listed if entry["standing"] == "pending"]
            many -= len(listed) - len(entries)
        if entries:
            clients = f"{many:,} client waits" if many == 1 else f"{many:,} clients wait"
            await self._send("pending", f"{clients} for a decision: see eximcertctl pending", many, entries)
        if expiring:
            lines = ["Certificates expire soon:", *expiring[:_MOST_LISTED]]
            if len(expiring) > _MOST_LISTED:
                lines.append(f"and {len(expiring) - _MOST_LISTED:,} more: see eximcertctl list --long")
            await self._send("expiring", "\n".join(lines), len(expiring), [])

    async def _send(self, kind: str, sentence: str, count: int, entries: list[dict[str, Any]]) -> None:
        settings, host = self._settings(), socket.gethostname()
        at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        if settings.command:
            told = {"kind": kind, "at": at, "host": host, "sentence": sentence, "count": count, "entries": entries}
            self._check("command", await run(settings.command, json.dumps(told) + "\n", LIMIT))
        if settings.mail:
            remedy = "" if MAIL_SOCKET.is_socket() else _SOCKET_MISSING
            self._check("mail", await _mail(_message(settings.mail, host, sentence, entries, count)), remedy)

    def _check(self, key: str, ran: Ran, remedy: str = "") -> None:
        if ran.status != 0:
            why = clean(ran.text[:200]) or f"exit status {ran.status}"
            self._recorder.record(Event.NOTIFICATION_FAILED, f"[notify] {key}: nothing was sent: {why}{remedy}")


def _message(to: str, host: str, sentence: str, entries: Sequence[dict[str, Any]], count: int) -> EmailMessage:
    """Return the mail. Names in certificates are escaped text in its body, each with the whole fingerprint."""
    message = EmailMessage()
    message["To"] = to
    message["Subject"] = f"eximcertd on {clean(host)}: {clean(sentence.splitlines()[0].partition(':')[0])}"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834, section 5
    lines = [*sentence.splitlines(), ""]
    for entry in entries:
        certificate = entry["certificate"] or {}
        claim = " (a claim: only the client has shown it)" if certificate.get("source") == "attempt" else ""
        lines += [entry["fingerprint"], f"  {certificate.get('subject', '')[:200]}{claim}"]
    if entries and count > len(entries):
        lines.append(f"and {count - len(entries):,} more")
    message.set_content("\n".join(map(clean, lines)) + "\n")
    return message


async def _mail(message: EmailMessage) -> Ran:
    if not MAIL_SOCKET.is_socket():
        return await run([SENDMAIL, "-i", "-t"], message.as_string(), LIMIT)
    try:
        async with asyncio.timeout(LIMIT):
            reader, writer = await asyncio.open_unix_connection(str(MAIL_SOCKET))
            writer.write(message.as_bytes())
            writer.write_eof()
            answer = await reader.read(1000)  # until the program has ended; it says nothing unless it fails
            writer.close()
    except (OSError, TimeoutError) as error:
        return Ran(None, f"{MAIL_SOCKET}: {error or 'no answer'}")
    return Ran(1 if answer else 0, answer.decode(errors="replace"))
