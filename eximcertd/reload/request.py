"""The requests and answers of eximcertd-reload: see eximcertd-reload(8), "PROTOCOL".

A request has the frame of eximcertd-publish's (publish/request.py) with these actions:

    validate list                does Exim accept its configuration with this list? count and fingerprints follow
    validate directory           the same for the lookup in the directory
    load DIGEST                  the file is written: validate, signal every daemon, confirm that each has loaded it
    check DIGEST                 the same without signals

DIGEST: SHA-256, lower-case hex, of the macro's value as publish/macrofile.py renders it.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from eximcertd.errors import EximcertdError

FIRST_LINE: Final = "eximcertd-reload 1"
ACTIONS: Final = "validate list|validate directory|(?:load|check) [0-9a-f]{64}"
LONGEST_DEFINITION: Final = 32_000
"""Characters of -DMACRO=VALUE: 4.96 takes 32,768 ("string_sprintf expansion was longer than 32768")."""

VALID: Final = "valid"
SKIPPED: Final = "skipped"
LOADED: Final = "loaded"
NOT_RUNNING: Final = "not-running"
NOT_LOADED: Final = "not-loaded"
INVALID: Final = "invalid"
DIED: Final = "died"
REFUSED: Final = "refused"
FAILED: Final = "failed"
OUTCOMES: Final = (VALID, SKIPPED, LOADED, NOT_RUNNING, NOT_LOADED, INVALID, DIED, REFUSED, FAILED)


class DaemonState(NamedTuple):
    """A daemon. loaded_at: when it was seen to have loaded the file, in seconds since the epoch; None: it was not."""

    pid: int
    loaded_at: float | None


class ReloadAnswer(NamedTuple):
    """The result of a request.

    outcome, one of OUTCOMES:
        valid        validate, check: Exim accepts the configuration
        skipped      validate: only possible after the file is written: load does it
        loaded       load: every daemon was seen to have loaded the file, or there is none to signal ([exim] reload)
        not-running  load: nothing listens on the ports that Exim's configuration or a daemon's command line names
        not-loaded   load, check: something listens there, or runs, that was not seen to have loaded the file; the
                     message tells what
        invalid      Exim rejects its configuration, or its macro has another value: nothing was signalled
        died         load: a daemon ended on its SIGHUP: EXIM IS DOWN
        refused      the request does not follow the protocol, or the program's own configuration is wrong
        failed       Exim or its processes could not be asked
    step: what failed, or "". message: what is wrong, where, and what to do. exim: Exim's own words, escaped.
    rewritten_by: the macro of Exim's configuration that changes fingerprints, where that is what is wrong.
    daemons: those of our configuration. timings: seconds per step.
    """

    outcome: str
    step: str = ""
    message: str = ""
    exim: str = ""
    rewritten_by: str | None = None
    daemons: tuple[DaemonState, ...] = ()
    timings: dict[str, float] = {}  # noqa: RUF012 - never changed in place


class ReloadError(EximcertdError):
    """A request ends early. answer: its answer."""

    def __init__(self, outcome: str, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.answer = ReloadAnswer(outcome, message=message, **fields)


def encode_answer(answer: ReloadAnswer) -> bytes:
    """Return the answer's bytes: one line of JSON."""
    fields = answer._asdict() | {"daemons": [daemon._asdict() for daemon in answer.daemons]}
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"
