"""eximcertctl scan: reading the logs and printing what was found in them. Without click (see quick.py)."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from eximcertd.cli.formatting import complaint, count
from eximcertd.cli.scanbar import Bar
from eximcertd.cli.scanning import Scan, known_to, to_json
from eximcertd.errors import Exit
from eximcertd.fingerprint import grouped
from eximcertd.log.line import Grammar

if TYPE_CHECKING:
    from eximcertd.cli.quick import Asked

_SHOWN: Final = 50


def run(what: Asked) -> int:
    """Scan and print; return the exit status. Raises EximcertdError."""
    dry_run = "--dry-run" in what.flags
    settings, client = what.context.config(), what.context.client()
    with client, Bar(sys.stderr, sum(map(_size, what.files))) as bar:
        known = known_to(client, dry_run=dry_run)
        scan = Scan(Grammar(settings.log.message), None if dry_run else client, known, bar)
        scan.run(what.files)
    for problem in scan.problems:
        sys.stderr.write(complaint(problem, "scan") + "\n")
    if "--json" in what.flags:
        sys.stdout.write(json.dumps(_told(scan, what), indent=2) + "\n")
    else:
        _say(scan, dry_run=dry_run)
    return Exit.FAILED if scan.problems else Exit.DONE


def _told(scan: Scan, what: Asked) -> dict[str, Any]:
    return {
        "files": len(what.files),
        "bytes": scan.size,
        "attempts": scan.attempts,
        "fingerprints": len(scan.found) + scan.others,
        "added": 0 if "--dry-run" in what.flags else scan.attempts,
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
