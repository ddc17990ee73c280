"""Records of what happened: into the journal with fields, else on standard error with a priority.

The journal takes them through systemd-python where it is there and standard error is the journal's
(JOURNAL_STREAM, systemd.exec(5)). The caller escapes text from outside before it becomes part of a message.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from eximcertd.text import clean

if TYPE_CHECKING:
    from eximcertd.events import Event

Send = Callable[..., None]


class Recorder(Protocol):
    """Takes records. The in-memory twin in the tests keeps them in a list."""

    def record(self, event: Event, message: str, **fields: str) -> None:
        """Record an event: a sentence for people, and journal fields (upper-case names)."""


class Journal:
    """Records to the journal with their fields."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def record(self, event: Event, message: str, **fields: str) -> None:
        """See Recorder."""
        with contextlib.suppress(OSError):  # the daemon goes on without a journal
            self._send(
                clean(message),
                MESSAGE_ID=event.message_id,
                PRIORITY=str(int(event.priority)),
                SYSLOG_IDENTIFIER="eximcertd",
                **{name: clean(value) for name, value in fields.items() if value},
            )


class StandardError:
    """Records on standard error, a line each; with <N> before it where the journal reads the stream (sd-daemon(3))."""

    def __init__(self, *, prioritised: bool) -> None:
        self._prioritised = prioritised

    def record(self, event: Event, message: str, **fields: str) -> None:
        """See Recorder."""
        prefix = f"<{int(event.priority)}>" if self._prioritised else "eximcertd: "
        facts = "".join(f" {name}={clean(value)}" for name, value in fields.items() if value)
        with contextlib.suppress(OSError):  # the same
            sys.stderr.write(f"{prefix}{clean(message)}{facts if self._prioritised else ''}\n")
            sys.stderr.flush()


def recorder() -> Recorder:
    """Return what fits how this process was started."""
    if not os.environ.get("JOURNAL_STREAM"):
        return StandardError(prioritised=False)
    try:
        import systemd.journal  # noqa: PLC0415 - optional, and only under systemd
    except ImportError:
        return StandardError(prioritised=True)
    return Journal(systemd.journal.send)
