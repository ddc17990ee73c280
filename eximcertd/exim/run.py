"""Running Exim: no shell, no input, a limit of time and of output, nothing left behind.

posix_spawn(3) and poll(2) instead of subprocess: eximcertd-reload is started for each publication, and importing
subprocess takes longer than Exim's answer.
"""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress
from typing import Final, NamedTuple

from eximcertd.errors import EximcertdError

LARGEST_OUTPUT: Final = 96 << 20
"""Bytes; a macro that lists a million fingerprints fits."""

_ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
_LONGEST_QUOTE: Final = 1000
_PATIENCE: Final = 2.0
"""Seconds in which a program that was killed has to end."""


class EximError(EximcertdError):
    """Exim is missing, times out, prints what is no answer, or reports an error. words: Exim's own, or ""."""

    def __init__(self, message: str, *, hint: str = "", words: str = "") -> None:
        super().__init__(message, hint=hint)
        self.words = words


class CommandResult(NamedTuple):
    """What became of a program. status: exit status, negative: the signal that ended it. seconds: how long it ran."""

    status: int
    out: str
    err: str
    seconds: float

    def words(self) -> str:
        """Return what it printed for people, on one line, escaped and of a length that can be shown."""
        lines = [line.strip() for line in (self.err.strip() or self.out.strip()).splitlines()]
        kept = [line for line in lines if line and not any(text in line for text in _NOISE)]
        return quoted(" / ".join(kept))


_NOISE: Final = ("purging the environment", "keep_environment", "exim user lost privilege for using -C")


def quoted(text: str, most: int = _LONGEST_QUOTE) -> str:
    """Return text from outside in ASCII, control characters escaped, cut to ``most`` characters."""
    escaped = text.encode("unicode_escape").decode("ascii")
    return escaped if len(escaped) <= most else escaped[:most] + "..."


def run(argv: list[str], limit: float, *, user: str | None = None) -> CommandResult:
    """Run a program to its end, ``limit`` seconds at most. Raises EximError if it is missing or exceeds a limit.

    user: the name of another user to run it as, which takes root.
    """
    command = ["/usr/bin/setpriv", f"--reuid={user}", "--init-groups", *_group(user), "--", *argv] if user else argv
    began = time.monotonic()
    out, err = os.pipe(), os.pipe()
    try:
        pid = os.posix_spawn(
            command[0],
            command,
            _ENVIRONMENT,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, out[1], 1),
                (os.POSIX_SPAWN_DUP2, err[1], 2),
            ],
            setsid=True,
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
        )
    except OSError as error:
        for descriptor in (*out, *err):
            os.close(descriptor)
        raise EximError(
            f"{command[0]} cannot be run: {error.strerror}",
            hint="Set [exim] binary in the configuration to the path of Exim's program.",
        ) from None
    os.close(out[1])
    os.close(err[1])
    try:
        printed = _output(out[0], err[0], began + limit)
        too_much = printed is None and time.monotonic() < began + limit
        status = None if printed is None else _wait(pid, began + limit)
        if printed is None or status is None:
            raise _exceeded(pid, argv, limit, too_much=too_much)
    finally:
        os.close(out[0])
        os.close(err[0])
    return CommandResult(status, *printed, time.monotonic() - began)


def _group(user: str) -> list[str]:
    import pwd  # noqa: PLC0415 - only where root asks as another user

    try:
        return [f"--regid={pwd.getpwnam(user).pw_gid}"]
    except KeyError:
        raise EximError(f"there is no user {quoted(user)}") from None


def _output(out: int, err: int, deadline: float) -> tuple[str, str] | None:
    """Return both outputs as text; None if they do not end in time or are too large."""
    kept = {out: bytearray(), err: bytearray()}
    open_ones = select.poll()
    for descriptor in kept:
        open_ones.register(descriptor, select.POLLIN)
    ended = 0
    while ended < len(kept):
        ready = open_ones.poll(max(0.0, deadline - time.monotonic()) * 1000)
        for descriptor, _event in ready:
            portion = os.read(descriptor, 1 << 16)
            kept[descriptor] += portion
            if not portion:
                open_ones.unregister(descriptor)
                ended += 1
        if not ready or sum(map(len, kept.values())) > LARGEST_OUTPUT:
            return None
    first, second = (bytes(raw).decode("utf-8", "backslashreplace") for raw in kept.values())
    return first, second


def _wait(pid: int, deadline: float) -> int | None:
    """Return a child's exit status; None if it does not end in time."""
    descriptor = os.pidfd_open(pid)
    try:
        if not select.select([descriptor], [], [], max(0.05, deadline - time.monotonic()))[0]:
            return None
    finally:
        os.close(descriptor)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _exceeded(pid: int, argv: list[str], limit: float, *, too_much: bool) -> EximError:
    """Kill a program with all that it started; return the error that says so."""
    with suppress(OSError):
        os.killpg(pid, signal.SIGKILL)
    killed = _wait(pid, time.monotonic() + _PATIENCE) is not None
    what = f"printed more than {LARGEST_OUTPUT >> 20} MiB" if too_much else f"timed out after {limit:g} s"
    return EximError(
        f'"{quoted(" ".join(argv[:6]), 200)}" {what} and {"was killed" if killed else "could not be killed"}',
        hint="" if too_much else "Run it by hand to see what it waits for.",
    )
