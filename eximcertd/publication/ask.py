"""Calling the two programs of a publication: over their sockets, or by running them.

A failure is an answer too: "unreachable" if nothing can have been done, "unknown" if it may have been.
eximcertd-reload runs as Exim's user, who could forge its answer: every field is checked.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from eximcertd.errors import EximcertdError
from eximcertd.publish import request as publish
from eximcertd.publish.request import Answer, Found, Request
from eximcertd.reload import request as reload
from eximcertd.reload.request import DaemonState, ReloadAnswer
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eximcertd.settings import Config

PUBLISH: Final = "eximcertd-publish"
RELOAD: Final = "eximcertd-reload"
UNREACHABLE: Final = "unreachable"
UNKNOWN: Final = "unknown"
LIMIT: Final = 300.0
"""Seconds in which a program must answer: Exim takes 220 s to read a list of a million."""
_LONGEST_WAIT: Final = publish.SLOWEST - 2
"""Seconds that a program may have waited for its request: it gives up after SLOWEST."""
_PATIENCE: Final = 5.0
"""Seconds in which a socket takes a connection, and a program that has answered ends."""
_LARGEST_ANSWER: Final = {PUBLISH: 128 << 20, RELOAD: 1 << 20}
_LONGEST_TEXT: Final = 2000
_PORTION: Final = 1 << 16
_LARGEST_PID: Final = 1 << 22
_LATEST: Final = 1e11
"""Seconds since the epoch, in the year 5138."""


class Programs:
    """eximcertd-publish and eximcertd-reload, as the configuration says. Neither method raises OSError.

    One request is made at a time. While Exim validates a list, the program that writes it is started: it loads, and
    waits for its request. The program that has validated the list waits too, and loads it. options: of
    eximcertd-publish, where it is run as a command. loads: how many requests to load the list have ended in each way.
    """

    def __init__(self, config: Config, limit: float = LIMIT, options: Sequence[str] = ()) -> None:
        self.config = config
        self._limit = limit
        self._options = options
        self._waiting: dict[str, Program] = {}
        self.loads: Final[Counter[str]] = Counter()

    async def publish(self, request: Request) -> Answer:
        """Ask root's part."""
        reply = await self._exchange(PUBLISH, encode(publish.FIRST_LINE, request))
        try:
            answer = Answer(reply.failure, "ask", reply.message) if reply.failure else decode_publish(reply.raw)
        except ValueError as error:
            answer = Answer(UNKNOWN, "ask", f"the answer of {PUBLISH} cannot be read: {error}")
        if answer.outcome != publish.DONE:
            self.close()
        return answer

    async def reload(self, request: Request) -> ReloadAnswer:
        """Ask the part that runs as Exim's user."""
        validating = request.action == "validate list"
        reply = await self._exchange(RELOAD, encode(reload.FIRST_LINE, request), validating=validating)
        try:
            answer = ReloadAnswer(reply.failure, "ask", reply.message) if reply.failure else decode_reload(reply.raw)
        except ValueError as error:
            answer = ReloadAnswer(UNKNOWN, "ask", f"the answer of {RELOAD} cannot be read: {error}")
        if answer.outcome not in {reload.VALID, reload.SKIPPED}:
            self.close()
        if request.action.startswith("load "):
            self.loads[answer.outcome] += 1
        return answer

    async def _exchange(self, name: str, raw: bytes, *, validating: bool = False) -> ProgramReply:
        return await asyncio.to_thread(self.exchange, name, raw, validating=validating)

    def exchange(self, name: str, raw: bytes, *, validating: bool = False) -> ProgramReply:
        """Send a request to a program and wait for its reply."""
        program = self._waiting.pop(name, None)
        if program is not None and time.monotonic() - program.waits_since > _LONGEST_WAIT:
            program.end()
            program = None
        try:
            program = program or self.start(name)
        except EximcertdError as error:
            return ProgramReply(UNREACHABLE, str(error))
        program.send(raw, self._limit)
        if validating and PUBLISH not in self._waiting:
            with suppress(EximcertdError):  # it is started again, and the error reported, when it is needed
                self._waiting[PUBLISH] = self.start(PUBLISH)
        reply = program.reply(self._limit, keep=validating)
        if validating and not reply.failure and reply.raw:
            self._waiting[name] = program
        return reply

    def start(self, name: str) -> Program:
        """Start a program. Raises EximcertdError."""
        if name == PUBLISH:
            return _start(name, self.config.publish.via, self.config.file, self._options)
        return _start(name, self.config.publish.reload_via, self.config.file)

    def close(self) -> None:
        """End the programs that wait."""
        for program in self._waiting.values():
            program.end()
        self._waiting.clear()


def encode(first_line: str, request: Request) -> bytes:
    """Return a request as bytes; see publish.request."""
    lines = [first_line, request.action]
    if request.expected is not None:
        lines.append(f"expected {request.expected}")
    return "\n".join([*lines, f"count {len(request.fingerprints)}", *request.fingerprints, "end", ""]).encode("ascii")


def decode_publish(raw: bytes) -> Answer:
    """Return an answer of eximcertd-publish. Raises ValueError if it is none."""
    fields = _object(raw)
    try:
        found: Any = fields.pop("found")
        if found is not None:
            tuples: dict[str, Any] = {key: tuple(value) for key, value in found.items() if isinstance(value, list)}
            found = Found(**{**found, **tuples})
        answer = Answer(found=found, **fields)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError("it does not have the expected fields") from error
    if answer.outcome not in {publish.DONE, publish.CHANGED, publish.REFUSED, publish.FAILED}:
        raise ValueError(f"the outcome {ascii(answer.outcome)[:40]} is unknown")
    return answer


def decode_reload(raw: bytes) -> ReloadAnswer:
    """Return an answer of eximcertd-reload, its texts escaped. Raises ValueError if it is none."""
    fields = _object(raw)
    texts = {key: fields.get(key) or "" for key in ("outcome", "step", "message", "exim", "rewritten_by")}
    daemons: Any = fields.get("daemons")
    timings: Any = fields.get("timings")
    lists = isinstance(daemons, list) and isinstance(timings, dict)
    if not lists or not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("it does not have the expected fields")
    if texts["outcome"] not in reload.OUTCOMES:
        raise ValueError(f"the outcome {ascii(texts['outcome'])[:40]} is unknown")
    shown = {key: clean(text[:_LONGEST_TEXT]) for key, text in texts.items()}
    return ReloadAnswer(
        shown["outcome"],
        shown["step"],
        shown["message"],
        shown["exim"],
        shown["rewritten_by"] or None,
        tuple(map(_daemon, daemons)),
        {clean(key[:20]): float(value) for key, value in timings.items() if isinstance(value, float)},
    )


def _daemon(given: Any) -> DaemonState:
    pid, loaded_at = (given.get("pid"), given.get("loaded_at")) if isinstance(given, dict) else (None, None)
    if type(pid) is not int or not 0 < pid <= _LARGEST_PID:
        raise ValueError("a daemon has no process id")
    if loaded_at is not None and not (isinstance(loaded_at, int | float) and 0 < loaded_at < _LATEST):
        raise ValueError("a daemon has no time")
    return DaemonState(pid, None if loaded_at is None else float(loaded_at))


def _object(raw: bytes) -> dict[str, Any]:
    if not raw.endswith(b"\n"):
        raise ValueError("it does not end with a whole line" if raw else "it is empty")
    try:
        value = json.loads(raw)
    except RecursionError:
        value = None
    if isinstance(value, dict):
        return value
    raise ValueError("it is not a JSON object")


class ProgramReply(NamedTuple):
    """What a program replied. failure: UNREACHABLE or UNKNOWN, or "" where raw is its whole reply. message: why."""

    failure: str
    message: str = ""
    raw: bytes = b""


def _start(name: str, via: str, config: Path, options: Sequence[str] = ()) -> Program:
    """Start a program; it loads, and waits for its request. Raises EximcertdError.

    via: "socket:PATH", a Unix stream socket, or "command:PROGRAM", run with ``--config CONFIG`` and the options.
    """
    kind, _, target = via.partition(":")
    if kind == "socket":
        ours = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        ours.settimeout(_PATIENCE)
        try:
            ours.connect(target)
        except OSError as error:
            ours.close()
            hint = f"is {name}.socket started, and may this user connect to it?"
            raise EximcertdError(f"{target} cannot be reached: {error.strerror or error}; {hint}") from None
        return Program(name, ours)
    found = shutil.which(target) or shutil.which(target, path=str(Path(sys.executable).parent))
    if found is None:
        raise EximcertdError(f"there is no program {target}: see [publish] in {config}")
    ours, theirs = socket.socketpair()
    command = [found, "--config", str(config), *options]
    with theirs:
        try:
            process = subprocess.Popen(
                command, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            ours.close()
            raise EximcertdError(f"{found} cannot be run: {error.strerror or error}") from None
    return Program(name, ours, process)


class Program:
    """A program that was started: its input and output is a socket. process: None where systemd has started it."""

    def __init__(self, name: str, connection: socket.socket, process: subprocess.Popen[bytes] | None = None) -> None:
        self.waits_since = time.monotonic()
        self._name = name
        self._connection = connection
        self._process = process

    def send(self, raw: bytes, limit: float) -> None:
        """Send the request. A program may have answered before it reads everything: its answer says why."""
        self._connection.settimeout(limit)
        with suppress(OSError):
            self._connection.sendall(raw)

    def reply(self, limit: float, *, keep: bool = False) -> ProgramReply:
        """Wait for the answer, and for the end of the program unless it answered and is kept for another request."""
        reply = self._receive(time.monotonic() + limit, limit)
        if keep and not reply.failure and reply.raw:
            self.waits_since = time.monotonic()
            return reply
        printed = self.end(kill=bool(reply.failure))
        if self._process is not None and not reply.failure and not reply.raw:
            return ProgramReply(UNKNOWN, printed or f"{self._name} ended without an answer")
        return reply

    def end(self, *, kill: bool = True) -> str:
        """Close the connection, and wait for a process of ours; return the last line that it printed for people."""
        self._connection.close()
        process = self._process
        if process is None or process.stderr is None:
            return ""
        with process, process.stderr:
            if not kill:  # Popen.wait would look at intervals that double
                descriptor = os.pidfd_open(process.pid)
                ends = select.poll()
                ends.register(descriptor, select.POLLIN)
                ends.poll(_PATIENCE * 1000)
                os.close(descriptor)
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            os.set_blocking(process.stderr.fileno(), False)  # a process that it left behind may hold it
            lines = (process.stderr.read(_PORTION) or b"").decode("utf-8", "backslashreplace").strip().splitlines()
        return clean(lines[-1])[:300] if lines else ""

    def _receive(self, deadline: float, limit: float) -> ProgramReply:
        answer = bytearray()
        try:
            while len(answer) <= _LARGEST_ANSWER[self._name]:
                self._connection.settimeout(max(0.001, deadline - time.monotonic()))
                portion = self._connection.recv(_PORTION)
                answer += portion
                if not portion or portion.endswith(b"\n"):  # JSON on one line
                    return ProgramReply("", raw=bytes(answer))
        except TimeoutError:
            return ProgramReply(UNKNOWN, f"{self._name} did not answer within {limit:g} s")
        except OSError as error:
            if self._process is not None:  # it has ended without reading the request: what it printed tells more
                return ProgramReply("", raw=bytes(answer))
            return ProgramReply(UNKNOWN, f"the connection to {self._name} broke: {error.strerror or error}")
        return ProgramReply(UNKNOWN, f"the answer of {self._name} is too large")
