"""An SMTP session under STARTTLS (RFC 5321, RFC 3207): what a server shows, and what it answers to a certificate.

The server's certificate is not verified here, it is handed out: the caller compares it. No name is sent in the
handshake (SNI), as Exim's smtp transport sends none unless ``tls_sni`` is set. Every wait has one deadline, every
answer a size. TLS is never closed by close_notify before QUIT was answered: Exim would go on in clear text with the
certificate of the TLS session.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import time
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Self

from eximcertd.errors import EximcertdError, NoAnswerError
from eximcertd.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TIME_LIMIT: Final = 30.0
"""Seconds for a whole session."""
LARGEST_REPLY: Final = 1 << 16
"""Bytes of one SMTP reply."""
_LONGEST_SHOWN: Final = 300
_READY: Final = 220
"""SMTP's code for "service ready" (RFC 5321, section 4.2.2)."""
_DONE: Final = 250
"""SMTP's code for "completed"."""
_CERTIFICATE_REQUEST: Final = 13
"""The type of the handshake message that asks for the client's certificate (RFC 8446, appendix B.3)."""

SmtpStep = Literal["resolve", "connect", "greeting", "starttls", "handshake", "session"]


class SmtpReply(NamedTuple):
    """What an SMTP server answered. text: its lines, joined by newlines, not escaped."""

    code: int
    text: str

    def __str__(self) -> str:
        return shown(f"{self.code} {self.text}", _LONGEST_SHOWN)


class StarttlsError(NoAnswerError):
    """No session under TLS came about, or it broke. step: where. reply: the server's words, where it gave any."""

    def __init__(self, step: SmtpStep, message: str, *, hint: str = "", reply: SmtpReply | None = None) -> None:
        super().__init__(message, hint=hint)
        self.step: Final = step
        self.reply: Final = reply


class TlsSession:
    """An SMTP session under TLS, after the second EHLO; made by ``connect``. Close it, or use it in a ``with`` block.

    certificate: the server's, in DER form. certificate_requested: whether the server asked for the client's
    certificate; None where this Python cannot tell. protocol: such as "TLSv1.3".
    """

    def __init__(self, wire: _Wire, tls: ssl.SSLSocket, requested: bool | None) -> None:
        self._wire = wire
        self.certificate: Final = tls.getpeercert(binary_form=True) or b""
        self.certificate_requested: Final = requested
        self.protocol: Final = tls.version() or ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def command(self, line: str) -> SmtpReply:
        """Send a command and return the answer. Raises StarttlsError where none comes."""
        return self._wire.command(line, "session")

    def close(self) -> None:
        """Send QUIT, wait for its answer, and close the connection; one that is broken already is no error."""
        with contextlib.suppress(StarttlsError):
            self._wire.command("QUIT", "session")
        self._wire.abandon()


def connect(
    host: str,
    port: int,
    *,
    helo: str,
    identity: tuple[Path, Path] | None = None,
    on_connect: bool = False,
    limit: float = TIME_LIMIT,
) -> TlsSession:
    """Connect, EHLO, STARTTLS, handshake, EHLO.

    host: a name or an IP address. identity: PEM files with the client's certificate and its private key. on_connect:
    the port expects TLS at once, without STARTTLS (RFC 8314). limit: seconds, until the session's end. Raises
    StarttlsError; EximcertdError if certificate and key cannot be used.
    """
    context, requested = _context(identity)
    deadline = time.monotonic() + limit
    wire = _Wire(_socket(host, port, limit), f"{shown(host)} port {port}", deadline)
    try:
        if not on_connect:
            _greet(wire)
            _ask_for_tls(wire, helo)
        tls = wire.start_tls(context)
        session = TlsSession(wire, tls, requested() if requested else None)
        if on_connect:
            _greet(wire)
        again = wire.command(f"EHLO {helo}", "handshake")  # in TLS 1.3 a refusal of the certificate comes here
    except BaseException:
        wire.abandon()
        raise
    if again.code != _DONE:
        wire.abandon()
        raise StarttlsError("session", f"{wire.peer} refuses EHLO under TLS: it answers {again}", reply=again)
    return session


def _greet(wire: _Wire) -> None:
    greeting = wire.reply("greeting")
    if greeting.code != _READY:
        raise StarttlsError("greeting", f"{wire.peer} takes no mail now: it answers {greeting}", reply=greeting)


def _ask_for_tls(wire: _Wire, helo: str) -> None:
    offered = wire.command(f"EHLO {helo}", "greeting")
    if offered.code != _DONE or not re.search(r"^STARTTLS\s*$", offered.text, re.MULTILINE | re.IGNORECASE):
        raise StarttlsError("starttls", f"{wire.peer} does not offer STARTTLS", reply=offered)
    ready = wire.command("STARTTLS", "starttls")
    if ready.code != _READY:
        raise StarttlsError("starttls", f"{wire.peer} cannot start TLS: it answers {ready}", reply=ready)


class _Wire:
    """A connection with a deadline (monotonic seconds). peer: how it is named in messages."""

    def __init__(self, connection: socket.socket, peer: str, deadline: float) -> None:
        self.peer = peer
        self._socket = connection
        self._deadline = deadline
        self._received = b""

    def command(self, line: str, step: SmtpStep) -> SmtpReply:
        if not line.isprintable():
            raise EximcertdError(f"{shown(line, 80)!r} cannot be sent: it holds a control character")
        try:
            self._limit()
            self._socket.sendall(line.encode("ascii", "replace") + b"\r\n")
        except (OSError, ValueError) as error:
            raise self._broken(step, error) from None
        return self.reply(step)

    def reply(self, step: SmtpStep) -> SmtpReply:
        lines: list[str] = []
        size = 0
        while True:
            line = self._line(step)
            size += len(line)
            found = re.match(rb"([2-5][0-9][0-9])([ -]?)(.*)", line)
            if found is None or size > LARGEST_REPLY:
                raise StarttlsError(step, f"{self.peer} is no SMTP server: it says {shown(repr(line[:80]))}")
            lines.append(found[3].decode("utf-8", "backslashreplace"))
            if found[2] != b"-":
                return SmtpReply(int(found[1]), "\n".join(lines))

    def start_tls(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        if self._received:
            raise StarttlsError("starttls", f"{self.peer} sends more in clear text after its answer to STARTTLS")
        try:
            self._limit()
            tls = context.wrap_socket(self._socket)
        except (OSError, ValueError) as error:
            raise self._broken("handshake", error) from None
        self._socket = tls
        return tls

    def abandon(self) -> None:
        self._socket.close()

    def _line(self, step: SmtpStep) -> bytes:
        while b"\n" not in self._received:
            try:
                self._limit()
                received = self._socket.recv(4096)
            except (OSError, ValueError) as error:
                raise self._broken(step, error) from None
            if not received or len(self._received) > LARGEST_REPLY:
                raise StarttlsError(
                    step, f"{self.peer} ended the connection" if not received else f"{self.peer} is no SMTP server"
                )
            self._received += received
        line, _, self._received = self._received.partition(b"\n")
        return line.rstrip(b"\r")

    def _limit(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)

    def _broken(self, step: SmtpStep, error: Exception) -> StarttlsError:
        if isinstance(error, TimeoutError):
            return StarttlsError(step, f"{self.peer} did not answer in time")
        if isinstance(error, ssl.SSLError):
            reason = (error.reason or str(error)).replace("_", " ").lower()
            return StarttlsError("handshake", f"the TLS handshake with {self.peer} failed: {shown(reason, 200)}")
        return StarttlsError(step, f"the connection to {self.peer} broke: {getattr(error, 'strerror', None) or error}")


def _socket(host: str, port: int, limit: float) -> socket.socket:
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        words = getattr(error, "strerror", None) or str(error)
        raise StarttlsError("resolve", f"the name {shown(host)} has no address: {words}") from None
    try:
        return socket.create_connection((host, port), limit)
    except TimeoutError:
        raise StarttlsError("connect", f"{shown(host)} does not answer on port {port} within {limit:g} s") from None
    except OSError as error:
        words = error.strerror or str(error)
        raise StarttlsError("connect", f"no connection to {shown(host)} port {port}: {words}") from None


def _context(identity: tuple[Path, Path] | None) -> tuple[ssl.SSLContext, Callable[[], bool] | None]:
    """Return a context that verifies nothing, and what tells whether a certificate was asked for (None: unknown)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if identity is not None:
        certificate, key = identity
        try:
            context.load_cert_chain(certificate, key, password=_no_password)
        except (OSError, ValueError) as error:
            words = getattr(error, "strerror", None) or str(error)
            raise EximcertdError(
                f"certificate {certificate} and key {key} cannot be used: {shown(words, 200)}"
            ) from None
    if not hasattr(ssl.SSLContext, "_msg_callback"):
        return context, None
    seen: set[int] = set()

    def note(_connection: object, direction: str, _version: object, _content: object, kind: int, _data: object) -> None:
        if direction == "read":
            seen.add(int(kind))

    # The only way in which Python's ssl tells of a CertificateRequest; test_starttls holds it.
    context._msg_callback = note  # type: ignore[attr-defined] # noqa: SLF001
    return context, lambda: _CERTIFICATE_REQUEST in seen


def _no_password() -> str:
    raise ValueError("the key is encrypted")
