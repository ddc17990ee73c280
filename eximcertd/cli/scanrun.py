"""eximcertctl scan without click: reading its arguments and printing what it found.

A scan of a big log costs no more than grep takes for it, and a third of that is the program's start: click and
what comes with it would be another tenth. What is not understood here is left to click (scan.py).
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from eximcertd.cli.formatting import complaint, count
from eximcertd.cli.scanbar import Bar
from eximcertd.cli.scanning import Scan, known_to, to_json
from eximcertd.config import DEFAULT_FILE, load
from eximcertd.control.client import Client
from eximcertd.errors import EximcertdError, Exit
from eximcertd.fingerprint import grouped
from eximcertd.log.line import Grammar

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHOWN: Final = 50


class Asked(NamedTuple):
    """The arguments of scan. socket: of the option --socket, or None."""

    config: Path
    socket: Path | None
    files: Sequence[str]
    dry_run: bool
    as_json: bool


def asked(arguments: Sequence[str]) -> Asked | None:
    """Return the arguments of scan; None for another verb, and for arguments that click handles."""
    config, socket, verb, files, flags = DEFAULT_FILE, None, False, [], set()
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not verb and argument in {"--config", "--socket"} and rest:
            value = Path(rest.pop(0))
            config, socket = (value, socket) if argument == "--config" else (config, value)
        elif not verb and argument == "scan":
            verb = True
        elif verb and argument in {"--dry-run", "--json"}:
            flags.add(argument)
        elif verb and not argument.startswith("-"):
            files.append(argument)
        else:
            return None
    return Asked(config, socket, files, "--dry-run" in flags, "--json" in flags) if verb and files else None


def run(what: Asked) -> int:
    """Scan and print; return the exit status. Raises EximcertdError."""
    settings = load(what.config)
    client = Client(what.socket or settings.control.socket)
    with client, Bar(sys.stderr, sum(map(_size, what.files))) as bar:
        known = known_to(client, dry_run=what.dry_run)
        scan = Scan(Grammar(settings.log.message), None if what.dry_run else client, known, bar)
        scan.run(what.files)
    for problem in scan.problems:
        sys.stderr.write(complaint(problem, "scan") + "\n")
    if what.as_json:
        sys.stdout.write(json.dumps(_told(scan, what), indent=2) + "\n")
    else:
        _say(scan, dry_run=what.dry_run)
    return Exit.FAILED if scan.problems else Exit.DONE


def run_quickly(what: Asked) -> NoReturn:
    """Scan and print, print an error that a person has to know, and end the program."""
    status = _status(what)
    sys.stderr.flush()
    os._exit(status)  # all is printed, and Python's own cleanup takes as long as reading a tenth of a gigabyte


def _status(what: Asked) -> int:
    try:
        status = run(what)
        sys.stdout.flush()
    except EximcertdError as error:
        sys.stderr.write(complaint(error, "scan") + "\n")
        return Exit.FAILED if error.exit_status is Exit.CONFIGURATION else error.exit_status
    except KeyboardInterrupt:
        sys.stderr.write("\nAborted!\n")
        return Exit.FAILED
    except BrokenPipeError:  # the reader of the output has gone; Python would print an error at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED
    return status


def _told(scan: Scan, what: Asked) -> dict[str, Any]:
    return {
        "files": len(what.files),
        "bytes": scan.size,
        "attempts": scan.attempts,
        "fingerprints": len(scan.found) + scan.others,
        "added": 0 if what.dry_run else scan.attempts,
        "found": [to_json(sighting) for sighting in scan.found.values()],
        "problems": [problem.message for problem in scan.problems],
    }


def _say(scan: Scan, *, dry_run: bool) -> None:
    ordered = sorted(scan.found.values(), key=lambda sighting: -sighting.attempts)
    say = sys.stdout.write
    for found in ordered[:_SHOWN] if dry_run else []:
        times = [time.strftime("%Y-%m-%d %H:%M", time.localtime(at // 1000)) for at in (found.first, found.last) if at]
        say(f"{grouped(found.fingerprint)}\n  {count(found.attempts, 'attempt')}, {' to '.join(times)}\n")
    if dry_run and len(ordered) + scan.others > _SHOWN:
        say(f"and {len(ordered) + scan.others - _SHOWN:,} more\n")
    attempts = f"{count(scan.attempts, 'attempt')} of {count(len(ordered) + scan.others, 'certificate')}"
    if not scan.attempts:
        say("Nothing that was not counted before.\n")
    elif dry_run:
        say(f"{attempts} would be added.\n")
    else:
        say(f"{attempts} added; see eximcertctl pending.\n")


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - pathlib costs more than the look
    except OSError:
        return 0
