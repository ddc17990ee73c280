"""Somebody on the path between a client and Exim, who has no key: relays their TLS, and then speaks in clear text.

with OnPath(exim.port) as attacker:
    victim = Session(attacker.port, alice)
    attacker.withhold_answers()
    victim.give_up()
    assert attacker.say("MAIL FROM:<>") == 250
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import threading
from typing import TYPE_CHECKING, Final, Self

from lab.wait import until

if TYPE_CHECKING:
    from collections.abc import Callable

_LIMIT: Final = 10.0


class OnPath:
    """One connection is relayed, byte for byte, until the client has closed it or ``say`` is called."""

    def __init__(self, server_port: int) -> None:
        self._server = socket.create_connection(("127.0.0.1", server_port), _LIMIT)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: Final[int] = self._listener.getsockname()[1]
        self._answers = True
        self._holding = False
        self._held = bytearray()
        self._silent = threading.Event()
        self._thread = threading.Thread(target=self._relay, daemon=True)
        self._received = b""

    def __enter__(self) -> Self:
        """Wait for the client."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End both connections."""
        self._silent.set()
        self._thread.join(_LIMIT)
        self._server.close()
        self._listener.close()

    def withhold_answers(self) -> None:
        """Let the client hear nothing more from the server."""
        self._answers = False

    def hold_client(self) -> None:
        """Keep what the client sends from now on."""
        self._holding = True

    def release(self) -> None:
        """Forward what was kept, and the rest as it comes."""
        until(lambda: self._held, "the client has sent something", limit=_LIMIT)
        held, self._held = bytes(self._held), bytearray()
        self._holding = False
        self._server.sendall(held)

    def say(self, command: str) -> int:
        """Send a command in clear text, once the client is gone; return the reply's code, 0 if the connection ended."""
        if not self._silent.is_set():
            self._silent.set()
            self._thread.join(_LIMIT)
        self._received = b""
        try:
            self._server.sendall(command.encode() + b"\r\n")
            return until(self._code, f"the server answers {command}", limit=_LIMIT, pause=0)
        except OSError:
            return 0

    def start_tls(self, wrap: Callable[[socket.socket], socket.socket]) -> None:
        """Go on under the attacker's own TLS."""
        self._server = wrap(self._server)

    def _code(self) -> int:
        """Return the code of a whole reply at the end of what came; a record of the TLS session may stand before it."""
        portion = self._server.recv(4096)
        if not portion:
            raise ConnectionResetError
        self._received += portion
        found = re.search(rb"(?:^|[^0-9])([2-5][0-9][0-9]) [^\r\n]*\r\n$", self._received)
        return int(found[1]) if found else 0

    def _relay(self) -> None:
        client, _ = self._listener.accept()
        with client, contextlib.suppress(OSError):
            while not self._silent.is_set():
                ready = select.select([client, self._server], [], [], 0.05)[0]
                if client in ready:
                    portion = client.recv(1 << 16)
                    if not portion:  # the end of the client's connection is not forwarded
                        return
                    if self._holding:
                        self._held += portion
                    else:
                        self._server.sendall(portion)
                if self._server in ready:
                    portion = self._server.recv(1 << 16)
                    if not portion:
                        return
                    if self._answers:
                        client.sendall(portion)
