"""Running Exim and systemctl: no shell, no input, a limit of time and of output, nothing left behind."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from eximcertd.publish.child import as_user
from eximcertd.publish.process import field, read
from eximcertd.publish.stop import failed, shown

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_OUTPUT: Final = 160 << 20
_PATIENCE: Final = 2.0
"""Seconds in which a program that was killed must have ended."""
_BECOME: Final = """
import os, sys
user, group, groups, *command = sys.argv[1:]
try:
    os.setgroups([int(group) for group in groups.split(",") if group])
    os.setresgid(*[int(group)] * 3)
    os.setresuid(*[int(user)] * 3)
    os.execv(command[0], command)
except OSError as error:
    sys.exit(f"{command[0]} cannot be run as user {user}: {error.strerror}")
"""
_ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


@dataclass(frozen=True, slots=True)
class Said:
    """What a program said: its exit status (negative: killed by a signal), output, errors, and seconds it took."""

    status: int
    out: str
    err: str
    seconds: float

    def words(self) -> str:
        """Return what it said to people, escaped and cut to a length that can be shown."""
        lines = [line.strip() for line in (self.err.strip() or self.out.strip()).splitlines()]
        kept = [
            line for line in lines if line and "purging the environment" not in line and "keep_environment" not in line
        ]
        return shown(" / ".join(kept), 1000)


def run(
    command: list[str],
    limit: float,
    *,
    first: Callable[[], None] | None = None,
    user: tuple[int, int, list[int]] | None = None,
) -> Said:
    """Run a program and return what it said. Raises Stop if it is missing, hangs or never stops talking.

    first: called in the child before the program starts; what it raises is subprocess.SubprocessError here.
    user: user id, group id and groups that it runs as.
    """
    if user is not None:
        # its own program becomes the user: between fork and exec it would hold the lock, and the user can stop it
        command = [
            sys.executable,
            "-I",
            "-S",
            "-c",
            _BECOME,
            *map(str, user[:2]),
            ",".join(map(str, user[2])),
            *command,
        ]
    began = time.monotonic()
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_ENVIRONMENT,
            cwd="/",
            start_new_session=True,
            preexec_fn=first,  # noqa: PLW1509 - this program has one thread
        )
    except OSError as error:
        raise failed(f"{command[0]} cannot be run: {error.strerror}") from None
    try:
        out, err = _output(process, began + limit)
        status = process.wait(max(0.1, began + limit - time.monotonic()))
    except (TimeoutError, subprocess.TimeoutExpired):
        asked = shown(" ".join(command[-6:] if user else command[:6]))
        end = "was killed" if _kill(process) else "could not be killed: look for it with ps"
        raise failed(f'"{asked}" gave no end within {limit:g} s, or of output, and {end}') from None
    finally:
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    return Said(status, out, err, time.monotonic() - began)


def _kill(process: subprocess.Popen[bytes]) -> bool:
    """Kill a program and what it started; tell whether it has ended.

    It may have become another user by now, whom root without CAP_KILL must be to signal it.
    """
    group = process.pid
    with suppress(OSError):
        os.killpg(group, signal.SIGKILL)
    users, groups = (field(read(group, "status"), name) for name in ("Uid", "Gid"))
    if users and groups:
        as_user(int(users[0]), int(groups[0]), lambda: os.killpg(group, signal.SIGKILL))
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        return False
    return True


def _output(process: subprocess.Popen[bytes], deadline: float) -> tuple[str, str]:
    if process.stdout is None or process.stderr is None:
        raise AssertionError
    out, err = bytearray(), bytearray()
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdout, selectors.EVENT_READ, out)
        ready.register(process.stderr, selectors.EVENT_READ, err)
        while ready.get_map():
            found = ready.select(max(0.0, deadline - time.monotonic()))
            if not found or len(out) + len(err) > _MOST_OUTPUT:
                raise TimeoutError
            for key, _events in found:
                portion = os.read(key.fd, 1 << 16)
                key.data.extend(portion)
                if not portion:
                    ready.unregister(key.fileobj)
    return out.decode("utf-8", "backslashreplace"), err.decode("utf-8", "backslashreplace")
