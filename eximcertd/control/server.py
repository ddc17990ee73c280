"""The control socket: many callers, none of which can harm another's connection.

    server = Server(Path("/run/eximcertd/control"), rights, {"Status": status, "Decide": decide})
    await server.start()
    ...
    await server.close()

Runs in the daemon's loop. A connection has its calls answered one after the other, in their order; the
calls of different connections run side by side.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from eximcertd.control.caller import Caller, caller
from eximcertd.control.connection import Connection, Handler, Limits, Service
from eximcertd.control.connection_limiter import ConnectionLimiter, Rank
from eximcertd.control.faults import reply_of
from eximcertd.control.interface import shipped
from eximcertd.control.listening import Listening
from eximcertd.control.protocol import LARGEST_CALL, LARGEST_QUESTION, encode_reply
from eximcertd.control.rights import Right, Rights
from eximcertd.errors import EximcertdError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet
    from pathlib import Path

__all__ = ["Caller", "Handler", "Limits", "Server"]

_AT_ONCE: Final = 16
"""Connections accepted before the loop does other work."""

_PAUSE: Final = 0.2
"""Seconds without accepting when the kernel has no descriptor or memory for one more."""

_log = logging.getLogger(__name__)


class Server:
    """The server of interface org.eximcertd on a Unix socket.

    path: of the socket. methods: by their names in the interface ("Decide"); a method without a handler is
    answered as not implemented. Raises ValueError for a handler that the interface has no method for.
    """

    def __init__(
        self,
        path: Path,
        rights: Rights,
        methods: Mapping[str, Handler],
        *,
        limits: Limits | None = None,
        limiter: ConnectionLimiter | None = None,
    ) -> None:
        unknown = methods.keys() - shipped().methods.keys()
        if unknown:
            raise ValueError(f"{shipped().name} has no method {', '.join(sorted(unknown))}")
        self._path = path
        self._limits = limits or Limits()
        self._service = Service(rights, methods, self._limits)
        self._limiter = limiter or ConnectionLimiter()
        self._listening: Listening | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._connections: dict[asyncio.Task[None], Connection] = {}

    async def start(self) -> None:
        """Bind the socket and begin to answer. Raises EximcertdError if it cannot be bound."""
        self._listening = Listening(self._path)
        self._accept_again()

    def set_rights(self, rights: Rights) -> None:
        """Use these rights from now on, in open connections too."""
        self._service.rights = rights

    async def close(self, grace: float = 0.5) -> None:
        """Accept no more calls, wait ``grace`` seconds for those that run, and end all connections."""
        self._service.closing = True
        if self._listening is not None:
            asyncio.get_running_loop().remove_reader(self._listening.socket)
            self._listening.close()
            self._listening = None
        if self._pause is not None:
            self._pause.cancel()
        answering = {task for task, connection in self._connections.items() if connection.answering}
        if answering:
            await asyncio.wait(answering, timeout=grace)
        await _cancel(set(self._connections))
        await _cancel(set(self._service.begun))

    def _accept_again(self) -> None:
        if self._listening is not None:
            asyncio.get_running_loop().add_reader(self._listening.socket, self._accept, self._listening.socket)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                connected, _ = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                _log.warning("the control socket cannot accept a connection: %s", error.strerror)
                loop = asyncio.get_running_loop()
                loop.remove_reader(listener)
                self._pause = loop.call_later(_PAUSE, self._accept_again)
                return
            connected.setblocking(False)  # noqa: FBT003 - its only argument
            try:
                self._admit(connected)
            except OSError:
                connected.close()  # the kernel does not tell who it is

    def _admit(self, connected: socket.socket) -> None:
        who = caller(connected)
        held = self._service.rights.held(who.uid, who.groups)
        rank = _rank(who.uid, held)
        if not self._limiter.take(rank, who.uid):
            _turn_away(connected, who)
            return
        connection = Connection(
            self._service,
            who,
            largest=LARGEST_CALL if held & {Right.APPROVE, Right.FLEET} else LARGEST_QUESTION,
            idle=self._limits.other_idle if rank is Rank.OTHER else self._limits.idle,
        )
        task = asyncio.create_task(connection.run(connected), name=f"connection of {who.name}")
        self._connections[task] = connection

        def left(_: asyncio.Task[None]) -> None:
            del self._connections[task]
            self._limiter.leave(rank, who.uid)
            connected.close()
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.error("a connection of %s failed", who.name, exc_info=error)

        task.add_done_callback(left)


def _turn_away(connected: socket.socket, who: Caller) -> None:
    """Report that the limit of connections is reached, without waiting, and close."""
    error = EximcertdError(f"too many connections to eximcertd, of {who.name} or in all", hint="try again later")
    with suppress(OSError):
        connected.send(encode_reply(reply_of(error)), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    connected.close()


async def _cancel(tasks: set[asyncio.Task[None]] | set[asyncio.Future[dict[str, object]]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


def _rank(uid: int, held: AbstractSet[Right]) -> Rank:
    if uid == 0:
        return Rank.ROOT
    if Right.APPROVE in held:
        return Rank.APPROVER
    return Rank.READER if held & {Right.READ, Right.FLEET} else Rank.OTHER
