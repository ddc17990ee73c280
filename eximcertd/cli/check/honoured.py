"""What Exim's configuration says of the list, against what was decided."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from eximcertd.cli.check.finding import Line, bad, good
from eximcertd.exim.settings import EximError
from eximcertd.fingerprint import NEVER, Fingerprint, grouped, is_exact

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from eximcertd.exim.settings import Exim

_MOST_NAMED: Final = 3
_LOOKUP = re.compile(r"\$\{lookup\{\$\{sha256:\$tls_in_peercert\}\}dsearch,([a-z_=,]*)\{([^{}$]+)\}")


def compare(value: str, approved: Collection[str], exim: Exim, user: str | None) -> Iterator[Line]:
    """Say whether the macro's value lets in those that are approved, and nobody else.

    approved: all of them. user: Exim's, as whom a lookup is tried; None: as the caller.
    """
    lookup = _LOOKUP.search(value)
    if lookup is None:
        yield from listed(value, approved)
    else:
        yield from _looked_up(lookup[1], lookup[2], approved, exim, user)


def listed(value: str, approved: Collection[str]) -> Iterator[Line]:
    """Say what is wrong with a list. Pure."""
    there = [item.strip() for item in value.split(":") if item.strip()]
    odd_ones = [item for item in there if not is_exact(item)]
    for item in odd_ones[:_MOST_NAMED]:
        yield bad(f"Exim's list holds {item[:80]!r}, which never matches: not 64 upper-case hex digits", _AGAIN)
    for fingerprint, reason in NEVER.items():
        if fingerprint in there:
            yield bad(f"Exim's list holds {grouped(fingerprint)}: {reason}", _AGAIN)
    missing, strange = set(approved) - set(there), set(there) - set(approved) - set(odd_ones) - set(NEVER)
    if missing:
        yield bad(f"approved, and not in Exim's list: {_names(missing)}", _AGAIN)
    if strange:
        yield bad(f"in Exim's list, and not approved: {_names(strange)}", _AGAIN)
    if not (odd_ones or missing or strange or set(NEVER) & set(there)):
        yield good(f"Exim's list holds the {len(there):,} that are approved")


_AGAIN: Final = "eximcertctl status says what keeps eximcertd from publishing"


def _looked_up(options: str, directory: str, approved: Collection[str], exim: Exim, user: str | None) -> Iterator[Line]:
    for option in ("filter=file", "cache=no_rd"):
        if option not in options.split(","):
            yield bad(f"Exim's lookup in {directory} lacks {option}", _AGAIN)
    inside = next(iter(approved), None)
    try:
        for fingerprint, wanted in ((inside, "in"), (next(iter(NEVER)), "out")):
            if fingerprint is not None and _answer(exim, options, directory, fingerprint, user) != wanted:
                stands = "not found, though approved" if wanted == "in" else "found, which nobody may approve"
                yield bad(f"Exim's lookup in {directory}: {grouped(fingerprint)} is {stands}", _AGAIN)
                return
    except EximError as error:
        yield bad(
            f"Exim's lookup in {directory} fails, so every verified client gets 451: {error.words or error.message}",
            f"Exim's user must be able to read {directory}: 0755, and at least 0711 above it",
        )
        return
    tried = (
        "one that is approved is found, and one that is not is not" if inside else "what is not approved is not found"
    )
    yield good(f"Exim looks fingerprints up in {directory}: {tried}")


def _answer(exim: Exim, options: str, directory: str, fingerprint: Fingerprint | str, user: str | None) -> str:
    return exim.expand(f"${{lookup{{{fingerprint}}}dsearch,{options}{{{directory}}}{{in}}{{out}}}}", user=user)


def _names(names: Collection[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(grouped(name) for name in sorted(names)[:_MOST_NAMED]) + more
