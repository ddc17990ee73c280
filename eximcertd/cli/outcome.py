"""What came of a decision: in words, and as an exit status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eximcertd.errors import Exit
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator


def status(publication: dict[str, Any]) -> Exit:
    """Return the exit status that a publication gives to the decision that asked for it."""
    return Exit.DONE if publication["live"] else Exit.NOT_YET_LIVE


def sentences(publication: dict[str, Any]) -> Iterator[str]:
    """Yield the lines that say whether Exim honours the decision, and if not why, and what happens next."""
    if publication["live"]:
        yield _live(publication)
        return
    if publication["outcome"] == "died":
        yield clean(publication["message"])  # it begins with EXIM IS DOWN, or says that it was
        yield "The decision is kept. Start Exim again, then see eximcertctl check."
    else:
        yield "Decided, NOT YET LIVE: Exim does not honour it yet."
        step = f"{clean(publication['step'])}: " if publication["step"] else ""
        yield f"  {step}{clean(publication['message'])}"
    if publication["exim"]:
        yield "  Exim said: " + "\n             ".join(clean(line) for line in publication["exim"].splitlines())
    if publication["retry"]:
        yield f"  {clean(publication['retry'])}"


def _live(publication: dict[str, Any]) -> str:
    if publication["outcome"] == "not-running":
        return "No Exim daemon runs; each Exim that starts honours it."
    if publication["form"] == "directory":
        return "Exim honours it, in open sessions too (directory form)."
    return f"Exim honours it (list form, revision {publication['revision']})."
