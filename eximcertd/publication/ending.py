"""Ending what withdrawn authorities have enrolled: any number, in portions, between which the loop goes on.

The files of a portion are removed before the ledger says that it has ended. So a kill leaves enrolments of a withdrawn
authority, which the next call ends. In the directory form nothing else is to be published for a whole portion.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from eximcertd.publication.allowed_directory import DirectoryError
from eximcertd.publication.form import DIRECTORY

if TYPE_CHECKING:
    from eximcertd.fingerprint import Fingerprint
    from eximcertd.ledger import Ledger
    from eximcertd.publication.allowed_directory import AllowedDirectory
    from eximcertd.publication.publisher import Publisher

PORTION: Final = 2500
"""So many entries change in one transaction."""

_PORTIONS: Final = 8  # whose files are removed before the directory is synced


async def end_withdrawn(
    publication: Publisher, ledger: Ledger, directory: AllowedDirectory, portion: int = PORTION
) -> int:
    """End all that withdrawn authorities have enrolled, and publish it; return how many. Raises LedgerError."""
    ended, number = 0, 0
    last: list[Fingerprint] = []
    found = ledger.authorities.ending(_PORTIONS * portion)
    while found:
        async with publication.lock:  # no publication makes one of the files again meanwhile
            form = publication.state.form
            try:
                if not number:  # a ledger from before this is recognised as older
                    number = ledger.publications.begin(form, time.time_ns() // 1_000_000)
                    directory.set_revision(number)
                await asyncio.to_thread(directory.change, [], found)
            except DirectoryError:  # the publication reports it
                form = ""
            for start in range(0, len(found), portion):
                names = found[start : start + portion]
                whole = form == DIRECTORY and len(names) == portion
                ended += ledger.authorities.end(names, removed=whole)
                last += [] if whole else names
                await asyncio.sleep(0)
        found = ledger.authorities.ending(_PORTIONS * portion, found[-1])
    if last:
        await publication.settle(last)
    return ended
