"""A bare client of the control socket, for what eximcertctl is too slow for or too polite to send."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path


class CallError(Exception):
    """An error that the daemon answered with. name: with its interface. parameters: as they came."""

    def __init__(self, name: str, parameters: dict[str, Any]) -> None:
        super().__init__(f"{name}: {parameters.get('message', parameters)}")
        self.name = name
        self.parameters = parameters


class Control:
    """One connection to a control socket, for the length of a ``with`` block."""

    def __init__(self, path: Path, *, limit: float = 60.0) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(limit)
        self.socket.connect(str(path))
        self._rest = b""

    def __enter__(self) -> Self:
        """Give the connection."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.socket.close()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of org.eximcertd and return its answer. Raises CallError and OSError."""
        message = {"method": f"org.eximcertd.{method}", "parameters": parameters}
        self.socket.sendall(json.dumps(message).encode() + b"\0")
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """Read one more answer. Raises CallError, and ConnectionError at the end of the connection."""
        reply = self.reply()
        parameters: dict[str, Any] = reply.get("parameters") or {}
        if "error" in reply:
            raise CallError(reply["error"], parameters)
        return parameters

    def reply(self) -> dict[str, Any]:
        """Read one more reply, whatever it is. Raises ConnectionError at the end of the connection."""
        while b"\0" not in self._rest:
            more = self.socket.recv(1 << 16)
            if not more:
                raise ConnectionError("eximcertd closed the connection")
            self._rest += more
        raw, _, self._rest = self._rest.partition(b"\0")
        reply: dict[str, Any] = json.loads(raw)
        return reply
