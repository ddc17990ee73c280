"""The verbs that start without click: pending, status and scan, as they are mostly called.

A third of the time of such a call would be the import of click. A call that is not understood here is left to click,
and so is --help; both ways do the same.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from eximcertd.cli.connection import Context
from eximcertd.cli.formatting import complaint
from eximcertd.cli.output import say
from eximcertd.errors import EximcertdError, Exit

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

DEFAULT_CONFIG: Final = "/etc/eximcertd/eximcertd.toml"
_FLAGS: Final = {
    "pending": frozenset({"--all", "--long", "--json"}),
    "status": frozenset({"--json"}),
    "scan": frozenset({"--dry-run", "--json"}),
}
_VERSIONS: Final = "eximcertd and eximcertctl must be of the same version: restart eximcertd after an upgrade"
MISUNDERSTOOD: Final = (AttributeError, KeyError, TypeError, ValueError)
"""What a verb raises that unpacks an answer of an eximcertd of another version, or of a compromised one."""


class Asked(NamedTuple):
    """A call of a quick verb. files: of scan. flags: with their dashes."""

    context: Context
    verb: str
    files: Sequence[str]
    flags: Collection[str]


def asked(arguments: Sequence[str]) -> Asked | None:
    """Return the call; None if it is another verb's, and for arguments that click handles."""
    paths: dict[str, str] = {}
    verb, files, flags = "", [], set()
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not verb and argument in {"--config", "--socket"} and rest:
            paths[argument] = rest.pop(0)
        elif not verb and argument in _FLAGS:
            verb = argument
        elif verb and argument in _FLAGS[verb]:
            flags.add(argument)
        elif verb == "scan" and not argument.startswith("-"):
            files.append(argument)
        else:
            return None
    if not verb or (verb == "scan" and not files):
        return None
    return Asked(Context(paths.get("--config", DEFAULT_CONFIG), paths.get("--socket")), verb, files, flags)


def run(call: Asked) -> NoReturn:
    """Do what was asked, print an error that a person has to know, and end the program."""
    status = _status(call)
    sys.stderr.flush()
    os._exit(status)  # all is printed, and Python's own cleanup takes as long as reading a tenth of a gigabyte


def failed(error: Exception, verb: str) -> int:
    """Print why a verb failed, and return its exit status. Raises what is no error of these programs."""
    if isinstance(error, MISUNDERSTOOD):
        error = EximcertdError(
            f"the answer of eximcertd is not understood: {type(error).__name__}: {error}", hint=_VERSIONS
        )
    if not isinstance(error, EximcertdError):
        raise error
    say(complaint(error, verb), err=True)
    return int(Exit.FAILED if error.exit_status is Exit.CONFIGURATION else error.exit_status)


def _status(call: Asked) -> int:
    try:
        status = _run(call)
        sys.stdout.flush()
    except (EximcertdError, *MISUNDERSTOOD) as error:
        return failed(error, call.verb)
    except KeyboardInterrupt:
        sys.stderr.write("\nAborted!\n")
        return Exit.FAILED
    except BrokenPipeError:  # the reader of the output has gone; Python would print an error at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED
    return status


def _run(call: Asked) -> int:
    if call.verb == "scan":
        from eximcertd.cli import scanrun  # noqa: PLC0415 - each verb loads its own modules

        return scanrun.run(call)
    if call.verb == "status":
        from eximcertd.cli import statusrun  # noqa: PLC0415 - the same

        statusrun.run(call.context, as_json="--json" in call.flags)
    else:
        from eximcertd.cli import pendingrun  # noqa: PLC0415 - the same

        flags = call.flags
        wanted = pendingrun.PendingFilter(everything="--all" in flags, long="--long" in flags)
        pendingrun.run(call.context, wanted, as_json="--json" in flags)
    return Exit.DONE
