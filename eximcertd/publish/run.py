"""Running Exim and systemctl: no shell, no input, a limit of time and of output, nothing left behind."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from eximcertd.publish.stop import failed, shown

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_OUTPUT: Final = 160 << 20
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
    as_user: dict[str, Any] = {} if user is None else {"user": user[0], "group": user[1], "extra_groups": user[2]}
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
            **as_user,
        )
    except OSError as error:
        raise failed(f"{command[0]} cannot be run: {error.strerror}") from None
    with process:
        try:
            out, err = _output(process, began + limit)
            status = process.wait(max(0.1, began + limit - time.monotonic()))
        except (TimeoutError, subprocess.TimeoutExpired):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            asked = shown(" ".join(command[:6]))
            raise failed(f'"{asked}" gave no end within {limit:g} s, or of output, and was killed') from None
    return Said(status, out, err, time.monotonic() - began)


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
