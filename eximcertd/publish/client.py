"""Asking the publisher, from the daemon's side: over its socket, or by running it.

Whatever goes wrong is an Answer too: "unreachable" where nothing can have been done, "unknown" where it
may have been.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from eximcertd.publish.old_request import (
    LARGEST_ANSWER,
    UNKNOWN,
    UNREACHABLE,
    Answer,
    Request,
    decode_answer,
    encode,
)

_PORTION = 1 << 16


def ask(via: str, config: Path, request: Request, timeout: float) -> Answer:
    """Ask the publisher and wait for its answer, ``timeout`` seconds at most. Never raises OSError.

    via: "socket:PATH", a Unix stream socket, or "command:PROGRAM", run with ``--config CONFIG``.
    """
    kind, _, target = via.partition(":")
    if kind == "socket":
        return _over_socket(target, encode(request), timeout)
    return _by_running(target, config, encode(request), timeout)


def _over_socket(path: str, raw: bytes, timeout: float) -> Answer:
    deadline = time.monotonic() + timeout
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(path)
        except OSError as error:
            reason = error.strerror or str(error)
            return Answer(
                UNREACHABLE,
                "ask",
                f"the publisher's socket {path} cannot be reached: {reason}; "
                "is eximcertd-publish.socket started, and may this user connect to it?",
            )
        try:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it may have answered early, with a refusal: read on
        answer = bytearray()
        try:
            while len(answer) <= LARGEST_ANSWER:
                connection.settimeout(max(0.001, deadline - time.monotonic()))
                portion = connection.recv(_PORTION)
                if not portion:
                    return _read(bytes(answer), "")
                answer += portion
        except TimeoutError:
            return Answer(UNKNOWN, "ask", f"the publisher gave no answer within {timeout:g} s")
        except OSError as error:
            return Answer(UNKNOWN, "ask", f"the connection to the publisher broke: {error.strerror or error}")
    return Answer(UNKNOWN, "ask", "the publisher's answer is too large")


def _by_running(program: str, config: Path, raw: bytes, timeout: float) -> Answer:
    found = shutil.which(program) or shutil.which(program, path=str(Path(sys.executable).parent))
    if found is None:
        return Answer(UNREACHABLE, "ask", f"there is no program {program}: see [publish] via in {config}")
    try:
        process = subprocess.Popen(
            [found, "--config", str(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        return Answer(UNREACHABLE, "ask", f"{found} cannot be run: {error.strerror or error}")
    with process:
        try:
            answer, said = process.communicate(raw, timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return Answer(UNKNOWN, "ask", f"{found} gave no answer within {timeout:g} s")
    return _read(answer, said.decode("utf-8", "backslashreplace").strip())


def _read(raw: bytes, said: str) -> Answer:
    try:
        return decode_answer(raw)
    except ValueError as error:
        reason = said.splitlines()[-1][:300] if said else str(error) if raw else "it ended without an answer"
        return Answer(UNKNOWN, "ask", f"the publisher gave no answer that can be read: {reason}")
