"""What bounds a taken-over eximcertd: size, time between reloads, and how much may be thrown out at once.

Up to FEW fingerprints may always go, the last ones too, so that a single client can be revoked day to day. More
than that may go only while no more than [publish] max_shrink percent of what Exim honours now goes, and something
stays. Root's word (a grant, or its own call with --allow-shrink) lifts this once.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from eximcertd.publish.old_request import REFUSED
from eximcertd.publish.stop import Stop, refused

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from eximcertd.publish.safely import Directory
    from eximcertd.publish.settings import Settings

FEW: Final = 3
GRANT_SECONDS: Final = 600
LONGEST_WAIT: Final = 10.0


def check_size(settings: Settings, count: int) -> None:
    """Raise Stop if a list is too long."""
    if count > settings.max_fingerprints:
        raise refused(
            f"{count} fingerprints are more than [publish] max_fingerprints = {settings.max_fingerprints} allows: "
            "raise it, or use the directory form"
        )


def check_form(settings: Settings, form: str | None) -> None:
    """Raise Stop if root's configuration has the list written in the other form."""
    if form is not None and settings.form not in ("auto", form):
        raise refused(f'[allowlist] form = "{settings.form}": the {form} form is not what root has set')


def shrinks_too_much(settings: Settings, now: AbstractSet[str], after: AbstractSet[str]) -> str:
    """Return why so many may not go without root's word, or ""."""
    going = len(now - after)
    if going <= FEW or (going * 100 <= settings.max_shrink * len(now) and after):
        return ""
    what = "nobody would be left" if not after else f"[publish] max_shrink = {settings.max_shrink} percent"
    return (
        f"{going} of {len(now)} fingerprints would go ({what}): if that is meant, let root run "
        "`eximcertd-publish --grant-shrink` and try again within ten minutes"
    )


def has_grant(directory: Directory, name: str) -> bool:
    """Tell whether root has given its word, lately, for one large shrink. Raises Stop and OSError."""
    if directory.read(name, 64) is None:
        return False
    found = directory.stat(name)
    return found is not None and 0 <= time.time() - found.st_mtime <= GRANT_SECONDS


def wait_for_turn(settings: Settings, directory: Directory, name: str) -> None:
    """Wait until the least time between reloads has passed. Raises Stop if that is too long to wait."""
    found = directory.stat(name)
    passed = time.time() - found.st_mtime if found else settings.min_interval
    left = settings.min_interval - passed if passed >= 0 else 0.0  # a clock that was set back is no reason to wait
    if left > LONGEST_WAIT:
        raise Stop(
            REFUSED,
            f"the last reload was {passed:.0f} s ago and [publish] min_interval is {settings.min_interval:.0f} s",
            retry_after=left,
        )
    if left > 0:
        time.sleep(left)
