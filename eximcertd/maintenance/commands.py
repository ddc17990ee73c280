"""Running a program that the configuration names: text on standard input, a time limit, a bounded answer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST_OUTPUT: Final = 4096
"""Bytes of a program's output that are kept; the rest is read and dropped."""


class Ran(NamedTuple):
    """How a program ended. status: its exit status, negative for a signal; None: it did not start or was killed.

    text: what it printed, or why it has no status.
    """

    status: int | None
    text: str


async def run(command: Sequence[str], text: str, limit: float) -> Ran:
    """Run a program in a session of its own, and kill that after ``limit`` seconds."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        return Ran(None, f"{command[0]} cannot be run: {error.strerror or error}")
    try:
        async with asyncio.timeout(limit):
            output, _ = await asyncio.gather(_read(process), _write(process, text))
            return Ran(await process.wait(), output.decode(errors="replace").strip())
    except TimeoutError:
        return Ran(None, f"{command[0]} did not end within {limit:g} s")
    finally:
        # What it has started ends with it. A setuid program, such as Exim's sendmail, cannot be killed by this user.
        with contextlib.suppress(PermissionError):
            with contextlib.suppress(ProcessLookupError):  # it has ended, and the loop may not know it yet
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _read(process: asyncio.subprocess.Process) -> bytes:
    kept = b""
    while process.stdout is not None and (portion := await process.stdout.read(1 << 16)):
        kept = (kept + portion)[:LONGEST_OUTPUT]
    return kept


async def _write(process: asyncio.subprocess.Process, text: str) -> None:
    if process.stdin is None:
        return
    with contextlib.suppress(ConnectionError):  # it reads no more
        process.stdin.write(text.encode())
        await process.stdin.drain()
    process.stdin.close()
    with contextlib.suppress(ConnectionError):
        await asyncio.shield(process.stdin.wait_closed())  # its future is not ours to cancel
