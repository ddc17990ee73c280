"""Clients that come to an Exim with a certificate over STARTTLS, and what RCPT gets."""

from __future__ import annotations

import smtplib
import ssl
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.certificates import Identity

SENDER: Final = "s@lab.example"
RECIPIENT: Final = "r@remote.example"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said. code: SMTP's reply code; 0: the connection was refused or broke; text: its words."""

    code: int
    text: str

    @property
    def accepted(self) -> bool:
        """RCPT (or the message) was taken: 250."""
        return self.code == 250

    @property
    def refused(self) -> bool:
        """RCPT was refused for good: 550, "relay not permitted"."""
        return self.code == 550

    @property
    def deferred(self) -> bool:
        """RCPT was refused for now: 451, what a broken expansion in the ACL gives."""
        return self.code == 451

    @property
    def unreachable(self) -> bool:
        """There was no connection, or it broke before an answer came."""
        return self.code == 0


class Session:
    """An open SMTP session under TLS; ask ``rcpt`` as often as you like. Close it, or use ``session``.

    Raises OSError (ConnectionRefusedError) or smtplib.SMTPException where no session comes about.
    """

    def __init__(
        self, port: int, identity: Identity | None, *, helo: str = "client.lab.example", limit: float = 10.0
    ) -> None:
        self._smtp = smtplib.SMTP("127.0.0.1", port, local_hostname=helo, timeout=limit)
        try:
            self._smtp.starttls(context=_context(identity))
            self._smtp.ehlo_or_helo_if_needed()
        except BaseException:
            self._smtp.close()
            raise

    def rcpt(self, recipient: str = RECIPIENT, sender: str = SENDER) -> Answer:
        """Ask MAIL and RCPT in a fresh transaction (RSET first) and return what RCPT got."""
        try:
            for command in ("RSET", f"MAIL FROM:<{sender}>"):
                code, text = self._smtp.docmd(command)
                if code != 250:
                    return Answer(code, text.decode("utf-8", "replace"))
            code, text = self._smtp.docmd(f"RCPT TO:<{recipient}>")
        except (OSError, smtplib.SMTPException) as error:
            return Answer(0, str(error))
        return Answer(code, text.decode("utf-8", "replace"))

    def send(self, body: str, recipient: str = RECIPIENT, sender: str = SENDER) -> Answer:
        """Hand over a message; return what RCPT got, or what the end of DATA got where RCPT was accepted."""
        answer = self.rcpt(recipient, sender)
        if not answer.accepted:
            return answer
        code, text = self._smtp.data(body)
        return Answer(code, text.decode("utf-8", "replace"))

    def give_up(self) -> None:
        """Close TLS (close_notify) and the connection without QUIT, as a client that waits no longer."""
        tls = self._smtp.sock
        assert isinstance(tls, ssl.SSLSocket)
        tls.settimeout(0.2)  # for the server's own close_notify, which may be held back
        with suppress(OSError):
            tls.unwrap()
        self._smtp.close()

    def close(self) -> None:
        """End the session; one that is broken already is no error."""
        try:
            self._smtp.quit()
        except (OSError, smtplib.SMTPException):
            self._smtp.close()


@contextmanager
def session(port: int, identity: Identity | None, **options: str) -> Iterator[Session]:
    """Hold a session open for the length of a block."""
    opened = Session(port, identity, helo=options.get("helo", "client.lab.example"))
    try:
        yield opened
    finally:
        opened.close()


def ask(
    port: int, identity: Identity | None, recipient: str = RECIPIENT, sender: str = SENDER, *, limit: float = 10.0
) -> Answer:
    """Connect, STARTTLS with the certificate (None: without one), MAIL, RCPT, and say what RCPT got."""
    try:
        opened = Session(port, identity, limit=limit)
    except (OSError, smtplib.SMTPException) as error:
        return Answer(0, str(error))
    try:
        return opened.rcpt(recipient, sender)
    finally:
        opened.close()


def _context(identity: Identity | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # a client of today does not use MD5, SHA-1 or RSA 1024 itself, and so an attack with one would not reach the server
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    if identity is not None:
        context.load_cert_chain(identity.chain, identity.key)
    return context
