"""One connection: its calls in their order, each answered before the next is read."""

from __future__ import annotations

import asyncio
import logging
import select
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from eximcertd.control import service
from eximcertd.control.caller import Caller
from eximcertd.control.faults import reply_of
from eximcertd.control.interface import shipped
from eximcertd.control.protocol import (
    END,
    LARGEST_REPLY,
    Call,
    ProtocolError,
    Reply,
    decode_call,
    encode_reply,
)
from eximcertd.control.rights import TABLE, Right
from eximcertd.errors import EximcertdError, NotPermittedError, UsageError

if TYPE_CHECKING:
    import socket

    from eximcertd.control.rights import Rights

Handler = Callable[[Caller, dict[str, Any]], Awaitable[dict[str, Any]] | AsyncIterator[dict[str, Any]]]
"""Answers one method: caller and parameters in, checked against the interface; the method's outputs out.

An async iterator answers in portions: each has every output, and all of them are lists. Both raise
eximcertd.errors.EximcertdError, which is sent to the caller. An awaitable runs to its end even if the caller closes
the connection; an iterator is closed then.
"""

ENDLESS: Final = frozenset({"org.eximcertd.Watch"})
"""Methods that can only be called with ``more``."""

_log = logging.getLogger(__name__)


class _LostError(Exception):
    """The peer has closed the connection, is silent for too long, or does not read its reply."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds. idle, other_idle: until the next whole call has come. write: until a reply is taken.

    call: for a method. gone: between two checks whether a caller that waits for the next portion is still connected.
    """

    idle: float = 60.0
    other_idle: float = 10.0
    write: float = 30.0
    call: float = 600.0
    gone: float = 1.0


@dataclass(slots=True)
class Service:
    """What all connections share. methods: by name, without the interface. begun: the calls that run."""

    rights: Rights
    methods: Mapping[str, Handler]
    limits: Limits
    begun: set[asyncio.Future[dict[str, Any]]] = field(default_factory=set)
    closing: bool = False


class Connection:
    """A connection of one caller. largest: bytes of a call. idle: seconds until the next call."""

    def __init__(self, served: Service, caller: Caller, *, largest: int, idle: float) -> None:
        self._service = served
        self._caller = caller
        self._largest = largest
        self._idle = idle
        self.answering = False

    async def run(self, connected: socket.socket) -> None:
        """Answer calls until the peer ends, closes, is silent for too long or sends something that is not a call."""
        self._socket = connected
        reader, self._writer = await asyncio.open_unix_connection(sock=connected, limit=self._largest)
        try:
            while not self._service.closing and (call := await self._next(reader)) is not None:
                self.answering = call.method not in ENDLESS
                await self._answer(call)
                self.answering = False
            self._writer.close()
        except _LostError:
            pass
        except ProtocolError as error:
            with suppress(_LostError):
                await self._send(reply_of(UsageError(f"not a Varlink call: {error}")))
                self._writer.close()
        finally:
            await self._end()

    async def _end(self) -> None:
        """Send what was written, if the connection was closed in order, and free it in any case."""
        if not self._writer.is_closing():
            self._writer.transport.abort()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(self._service.limits.write):
                await self._writer.wait_closed()
        self._writer.transport.abort()

    async def _next(self, reader: asyncio.StreamReader) -> Call | None:
        try:
            async with asyncio.timeout(self._idle):
                raw = await reader.readuntil(END)
        except asyncio.IncompleteReadError:
            return None
        except (TimeoutError, ConnectionError):
            raise _LostError from None
        except asyncio.LimitOverrunError:
            raise ProtocolError(f"it is longer than {self._largest} bytes") from None
        return decode_call(raw[:-1])

    async def _answer(self, call: Call) -> None:
        try:
            answer = self._begin(call)
            if isinstance(answer, AsyncIterator):
                reply = await self._portions(call, answer)
            elif isinstance(answer, Reply):
                reply = answer
            else:
                reply = Reply(await self._finish(answer))
        except EximcertdError as error:
            reply = reply_of(error)
        except _LostError:
            raise
        except Exception:  # noqa: BLE001 - an error in one method ends neither the daemon nor the connection
            _log.exception("%s, called by %s, failed inside eximcertd", call.method, self._caller.name)
            reply = reply_of(
                EximcertdError("eximcertd has failed internally", hint="see its journal: journalctl -u eximcertd")
            )
        if not call.oneway:
            await self._send(reply)

    def _begin(self, call: Call) -> Reply | Awaitable[dict[str, Any]] | AsyncIterator[dict[str, Any]]:
        """Check that the call is known and allowed, and begin it."""
        interface, _, name = call.method.rpartition(".")
        if interface == service.NAME:
            return service.answer(call)
        if interface != shipped().name:
            return service.no_interface(interface)
        if name not in shipped().methods:
            return service.no_method(call.method)
        if not self._service.rights.allow(call.method, self._caller.uid, self._caller.groups):
            needed = TABLE.get(call.method, Right.APPROVE)
            who = "members of the groups in [control] readers and approvers (a new member: after the next login)"
            who = who if needed is not Right.FLEET else "the user in [fleet] user"
            raise NotPermittedError(
                f"{self._caller.name} does not have the right to {needed.value}", hint=f"root may, and {who}"
            )
        return self._call(name, call)

    def _call(self, name: str, call: Call) -> Reply | Awaitable[dict[str, Any]] | AsyncIterator[dict[str, Any]]:
        """Call the method, if its parameters are what the interface says."""
        if name not in self._service.methods:
            return service.not_implemented(call.method)
        method = shipped().methods[name]
        wrong = shipped().fault(call.parameters, method.inputs)
        if wrong is not None:
            return service.invalid_parameter(wrong)
        if call.method in ENDLESS and not call.more:
            return service.expected_more()
        parameters = {key: call.parameters.get(key) for key in method.inputs.fields}
        return self._service.methods[name](self._caller, parameters)

    async def _finish(self, answer: Awaitable[dict[str, Any]]) -> dict[str, Any]:
        # A call that was begun, such as a decision, runs to its end, whether its caller stays or not.
        task = asyncio.ensure_future(answer)
        self._service.begun.add(task)
        task.add_done_callback(self._service.begun.discard)
        limit = self._service.limits.call
        done, _ = await asyncio.wait({task}, timeout=limit)
        if not done:
            task.add_done_callback(_log_failure)
            raise EximcertdError(f"still running after {limit:g} s", hint="see eximcertctl status")
        return task.result()

    async def _portions(self, call: Call, answer: AsyncIterator[dict[str, Any]]) -> Reply:
        """Send each portion when it is available, and return the last reply; without ``more``, all portions in one.

        The lists of the last reply after portions are empty. What is no list is that of the last portion.
        """
        outputs = shipped().methods[call.method.rpartition(".")[2]].outputs
        last: dict[str, Any] = {key: [] for key in outputs.fields}
        size = 0
        try:
            while (portion := await self._portion(answer)) is not None:
                last.update((key, value) for key, value in portion.items() if not isinstance(value, list))
                if call.more:
                    await self._send(Reply(portion, continues=True))
                    continue
                size += len(encode_reply(Reply(portion)))
                if size > LARGEST_REPLY:
                    return _too_much()
                for key, value in portion.items():
                    if isinstance(value, list):
                        last[key].extend(value)
        finally:
            if isinstance(answer, AsyncGenerator):
                await answer.aclose()
        return Reply(last)

    async def _portion(self, answer: AsyncIterator[dict[str, Any]]) -> dict[str, Any] | None:
        """Return the next portion, None at the end. Raises _LostError if the caller has closed the connection."""
        step = asyncio.ensure_future(anext(answer, None))
        try:
            while not (await asyncio.wait({step}, timeout=self._service.limits.gone))[0]:
                if self._gone():
                    raise _LostError
        finally:
            if not step.done():
                step.cancel()
                await asyncio.wait({step})
        return step.result()

    def _gone(self) -> bool:
        """Tell whether the peer has closed the connection; one that has only shut down its sending side still reads."""
        if self._writer.is_closing():
            return True
        poll = select.poll()
        poll.register(self._socket.fileno(), 0)
        return bool(poll.poll(0))

    async def _send(self, reply: Reply) -> None:
        raw = encode_reply(reply)
        if len(raw) > LARGEST_REPLY:
            raw = encode_reply(_too_much())
        self._writer.write(raw)
        try:
            async with asyncio.timeout(self._service.limits.write):
                await self._writer.drain()
        except (TimeoutError, ConnectionError):
            raise _LostError from None


def _too_much() -> Reply:
    return reply_of(EximcertdError("the reply is too large", hint='call the method with "more"'))


def _log_failure(task: asyncio.Future[dict[str, Any]]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.error("a call that ran beyond its time limit has failed: %s", task.exception())
