"""A line to a database that can be made deaf."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from lab.postgres import Cluster


class Line:
    """A line to a cluster: a TCP port that forwards both ways, for the length of a ``with`` block.

    deaf: it goes on to confirm what it receives, and forwards nothing.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: Final[int] = self._listening.getsockname()[1]
        self._ends: list[socket.socket] = []
        self.deaf = False
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for end in (self._listening, *self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listening.accept()
                there = socket.create_connection((self._cluster.address, self._cluster.port))
                self._ends += [here, there]
                for ends in ((here, there), (there, here)):
                    threading.Thread(target=self._forward, args=ends, daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while octets := source.recv(1 << 16):
                if not self.deaf:
                    target.sendall(octets)
            target.shutdown(socket.SHUT_WR)
