"""Calling the two programs of a publication: over their sockets, or by running them.

A failure is an answer too: "unreachable" if nothing can have been done, "unknown" if it may have been.
eximcertd-reload runs as Exim's user, who could forge its answer: every field is checked.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from eximcertd.publish import request as publish
from eximcertd.publish.request import Answer, Found, Request
from eximcertd.reload import request as reload
from eximcertd.reload.request import DaemonState, ReloadAnswer
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eximcertd.settings import Config

UNREACHABLE: Final = "unreachable"
UNKNOWN: Final = "unknown"
LIMIT: Final = 300.0
"""Seconds in which a program must answer: Exim takes 220 s to read a list of a million."""
_LARGEST_ANSWER: Final = {"eximcertd-publish": 128 << 20, "eximcertd-reload": 1 << 20}
_LONGEST_TEXT: Final = 2000
_PORTION: Final = 1 << 16
_LARGEST_PID: Final = 1 << 22
_LATEST: Final = 1e11
"""Seconds since the epoch, in the year 5138."""


class ProgramReply(NamedTuple):
    """What a program replied. failure: UNREACHABLE or UNKNOWN, or "" where raw is its whole reply. message: why."""

    failure: str
    message: str = ""
    raw: bytes = b""


class Programs:
    """eximcertd-publish and eximcertd-reload, as the configuration says. Neither method raises OSError."""

    def __init__(self, config: Config, limit: float = LIMIT) -> None:
        self.config = config
        self._limit = limit

    async def publish(self, request: Request) -> Answer:
        """Ask root's part."""
        via = self.config.publish.via
        return await asyncio.to_thread(ask_publish, via, self.config.file, request, self._limit)

    async def reload(self, request: Request) -> ReloadAnswer:
        """Ask the part that runs as Exim's user."""
        via = self.config.publish.reload_via
        return await asyncio.to_thread(ask_reload, via, self.config.file, request, self._limit)


def ask_publish(via: str, config: Path, request: Request, limit: float = LIMIT, options: Sequence[str] = ()) -> Answer:
    """Ask eximcertd-publish and wait for its answer, ``limit`` seconds at most.

    via: "socket:PATH", a Unix stream socket, or "command:PROGRAM", run with ``--config CONFIG`` and the options.
    """
    reply = _exchange(
        "eximcertd-publish", via, config, encode(publish.FIRST_LINE, request), limit=limit, options=options
    )
    if reply.failure:
        return Answer(reply.failure, "ask", reply.message)
    try:
        return decode_publish(reply.raw)
    except ValueError as error:
        return Answer(UNKNOWN, "ask", f"the answer of eximcertd-publish cannot be read: {error}")


def ask_reload(via: str, config: Path, request: Request, limit: float = LIMIT) -> ReloadAnswer:
    """Ask eximcertd-reload, as ask_publish does."""
    reply = _exchange("eximcertd-reload", via, config, encode(reload.FIRST_LINE, request), limit=limit)
    if reply.failure:
        return ReloadAnswer(reply.failure, "ask", reply.message)
    try:
        return decode_reload(reply.raw)
    except ValueError as error:
        return ReloadAnswer(UNKNOWN, "ask", f"the answer of eximcertd-reload cannot be read: {error}")


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


def _exchange(
    name: str, via: str, config: Path, raw: bytes, *, limit: float, options: Sequence[str] = ()
) -> ProgramReply:
    kind, _, target = via.partition(":")
    if kind == "socket":
        return _over_socket(name, target, raw, limit)
    return _by_running(name, [target, "--config", str(config), *options], raw, limit)


def _over_socket(name: str, path: str, raw: bytes, limit: float) -> ProgramReply:
    deadline = time.monotonic() + limit
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(limit)
        try:
            connection.connect(path)
        except OSError as error:
            reason = error.strerror or str(error)
            hint = f"is {name}.socket started, and may this user connect to it?"
            return ProgramReply(UNREACHABLE, f"{path} cannot be reached: {reason}; {hint}")
        try:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it may have answered before it read everything: its answer says why
        answer = bytearray()
        try:
            while len(answer) <= _LARGEST_ANSWER[name]:
                connection.settimeout(max(0.001, deadline - time.monotonic()))
                portion = connection.recv(_PORTION)
                if not portion:
                    return ProgramReply("", raw=bytes(answer))
                answer += portion
        except TimeoutError:
            return ProgramReply(UNKNOWN, f"{name} did not answer within {limit:g} s")
        except OSError as error:
            return ProgramReply(UNKNOWN, f"the connection to {name} broke: {error.strerror or error}")
    return ProgramReply(UNKNOWN, f"the answer of {name} is too large")


def _by_running(name: str, command: list[str], raw: bytes, limit: float) -> ProgramReply:
    found = shutil.which(command[0]) or shutil.which(command[0], path=str(Path(sys.executable).parent))
    if found is None:
        return ProgramReply(UNREACHABLE, f"there is no program {command[0]}: see [publish] in {command[2]}")
    try:
        process = subprocess.Popen(
            [found, *command[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        return ProgramReply(UNREACHABLE, f"{found} cannot be run: {error.strerror or error}")
    with process:
        try:
            answer, errors = process.communicate(raw, limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return ProgramReply(UNKNOWN, f"{name} did not answer within {limit:g} s and was killed")
    if not answer:
        lines = errors.decode("utf-8", "backslashreplace").strip().splitlines()
        return ProgramReply(UNKNOWN, clean(lines[-1])[:300] if lines else f"{name} ended without an answer")
    return ProgramReply("", raw=answer)
