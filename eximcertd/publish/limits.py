"""The limits that root sets in [publish]: they bound what a compromised eximcertd can do.

A request may always remove up to FEW fingerprints, the last one too, so that a client can be revoked at any time. It
may remove more if they are at most max_shrink percent of the list and some remain. Root can override this limit.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from eximcertd.fingerprint import is_exact
from eximcertd.publish.error import refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from eximcertd.publish.request import Found, Request
    from eximcertd.settings import Config

FEW: Final = 3


def check_form(config: Config, form: str) -> None:
    """Raise PublishError if root's configuration sets the other form."""
    if config.allowlist.form not in ("auto", form):
        raise refused(f'[allowlist] form is "{config.allowlist.form}": the {form} form is not allowed')


def check_interval(config: Config, found: Found) -> None:
    """Raise PublishError if the file was changed less than min_interval ago. A change in the future does not count."""
    passed = time.time() - found.ctime_ns / 1e9
    left = config.publish.min_interval.total_seconds() - passed
    if passed >= 0 and left > 0:
        raise refused(f"the file was changed {passed:.1f} s ago, and [publish] min_interval is longer", left)


def check_shrink(config: Config, found: Found, request: Request) -> None:
    """Raise PublishError if too many of those who are on the list would go. Raises OSError."""
    to_list = request.action == "write list"
    after = set(request.fingerprints)
    if found.form == "list":
        listed = set(found.fingerprints)
        after = after if to_list else listed.intersection(_names(config.allowed))
        before, going = len(listed), len(listed - after)
    elif found.form == "directory" and to_list:
        staying = [name in after for name in _names(config.allowed)]
        before, going = len(staying), staying.count(False)
    else:
        return
    if going > FEW and (not after or going * 100 > config.publish.max_shrink * before):
        why = f"[publish] max_shrink = {config.publish.max_shrink} percent" if after else "none would remain"
        what = "if that is intended, root repeats the command with --allow-shrink"
        raise refused(f"{going} of {before} fingerprints would go ({why}): {what}")


def _names(directory: Path) -> Iterator[str]:
    """Return the fingerprints for which the directory has a regular file, as Exim counts them."""
    with suppress(FileNotFoundError), os.scandir(directory) as entries:
        yield from (one.name for one in entries if is_exact(one.name) and one.is_file(follow_symlinks=False))
