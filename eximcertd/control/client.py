"""The client of the control socket: one call after the other, each with a time limit.

Synchronous, with few imports: most of the time of an eximcertctl call is its start.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any, Final, Self

from eximcertd.control.faults import INTERFACE, error_of
from eximcertd.control.protocol import (
    END,
    LARGEST_REPLY,
    Call,
    ProtocolError,
    Reply,
    decode_reply,
    encode_call,
)
from eximcertd.errors import NoAnswerError, NotPermittedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from eximcertd.control.caller import Caller

TIMEOUT: Final = 30.0
"""Seconds to wait for a reply."""

PUBLISH_TIMEOUT: Final = 300.0
"""Seconds to wait for the reply to a call that waits for a publication."""

_PORTION: Final = 1 << 16
_QUEUE_PAUSE: Final = 0.02
_GONE: Final = "see systemctl status eximcertd, and journalctl -u eximcertd"


class LostError(NoAnswerError):
    """The call was sent and no reply came: whether it was carried out is not known."""


class Client:
    """A connection to eximcertd, made at the first call.

    Each call raises NoAnswerError where the daemon does not answer, LostError where the reply was lost after the call
    was sent, and the errors that the daemon reports (eximcertd.errors).
    """

    def __init__(self, path: Path | str, *, timeout: float = TIMEOUT) -> None:
        self._path = path
        self._timeout = timeout
        self._socket: socket.socket | None = None
        self._buffer = bytearray()

    def __enter__(self) -> Self:
        """Connect at the first call."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._buffer.clear()

    def peer(self) -> Caller:
        """Return the process that listens, as the kernel tells (SO_PEERCRED, unix(7)). Raises NoAnswerError."""
        from eximcertd.control.caller import caller  # noqa: PLC0415 - most callers do not ask

        return caller(self._connected())

    def call(self, method: str, parameters: dict[str, Any] | None = None, *, timeout: float | None = None) -> Any:
        """Call a method of org.eximcertd and return its outputs, a dict."""
        self._send(Call(f"{INTERFACE}.{method}", parameters or {}))
        return self._receive(timeout or self._timeout).parameters

    def stream(
        self, method: str, parameters: dict[str, Any] | None = None, *, timeout: float | None = None
    ) -> Iterator[Any]:
        """Call a method with ``more`` and yield its portions. timeout: seconds for each; inf: no limit."""
        self._send(Call(f"{INTERFACE}.{method}", parameters or {}, more=True))
        while True:
            reply = self._receive(timeout or self._timeout)
            yield reply.parameters
            if not reply.continues:
                return

    def _send(self, call: Call) -> None:
        raw = encode_call(call)
        connection = self._connected()
        connection.settimeout(self._timeout)
        try:
            connection.sendall(raw)
        except (BrokenPipeError, ConnectionResetError):
            return  # the reason may have been sent before the connection was closed: read on
        except TimeoutError:
            self.close()
            raise NoAnswerError(
                f"eximcertd at {self._path} accepted no call within {self._timeout:g} s", hint=_GONE
            ) from None

    def _connected(self) -> socket.socket:
        if self._socket is not None:
            return self._socket
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        connection.settimeout(self._timeout)
        try:
            _connect(connection, str(self._path), time.monotonic() + self._timeout)
        except PermissionError:
            connection.close()
            raise NotPermittedError(
                f"this user may not connect to eximcertd's socket {self._path}", hint="run it as root"
            ) from None
        except OSError as error:
            connection.close()
            reason = {
                FileNotFoundError: "the socket does not exist",
                ConnectionRefusedError: "no process listens there",
                BlockingIOError: "it is busy",
            }.get(type(error), str(error))
            raise NoAnswerError(f"eximcertd does not answer at {self._path}: {reason}", hint=_GONE) from None
        self._socket = connection
        return connection

    def _receive(self, timeout: float) -> Reply:
        try:
            raw = self._message(timeout)
        except KeyboardInterrupt:
            self.close()
            raise LostError("interrupted before eximcertd answered") from None
        except TimeoutError:
            self.close()
            raise LostError(f"eximcertd at {self._path} timed out after {timeout:g} s", hint=_GONE) from None
        except OSError as error:
            self.close()
            raise LostError(f"the connection to eximcertd broke: {error.strerror or error}", hint=_GONE) from None
        try:
            reply = decode_reply(raw)
        except ProtocolError as error:
            self.close()
            raise LostError(f"the process that listens at {self._path} is not eximcertd: {error}", hint=_GONE) from None
        if reply.error:
            raise error_of(reply)
        return reply

    def _message(self, timeout: float) -> bytes:
        if self._socket is None:
            raise ConnectionError("it was closed")
        deadline = time.monotonic() + timeout
        looked = 0
        while (end := self._buffer.find(END, looked)) < 0:
            looked = len(self._buffer)
            if looked > LARGEST_REPLY:
                raise ConnectionError("the reply is too large")
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(None if left == float("inf") else left)
            portion = self._socket.recv(_PORTION)
            if not portion:
                raise ConnectionError("closed by eximcertd")
            self._buffer += portion
        raw = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return raw


def _connect(connection: socket.socket, path: str, deadline: float) -> None:
    """Connect; wait while the listen queue is full (a Unix socket returns EAGAIN then)."""
    while True:
        try:
            connection.connect(path)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_QUEUE_PAUSE)
        else:
            return
