"""The macro's value in Exim's configuration, compared with what is approved."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from eximcertd.cli.check.finding import CheckLine, error, ok
from eximcertd.exim.settings import EximError
from eximcertd.fingerprint import NEVER, Fingerprint, grouped, is_exact

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from eximcertd.exim.settings import Exim

_MOST_NAMED: Final = 3
_LOOKUP = re.compile(r"\$\{lookup\{\$\{sha256:\$tls_in_peercert\}\}dsearch,([a-z_=,]*)\{([^{}$]+)\}")


def compare(value: str, approved: Collection[str], exim: Exim, user: str | None) -> Iterator[CheckLine]:
    """Say whether the macro's value allows exactly the fingerprints that are approved.

    user: the name of Exim's user, as which a lookup is tried; None: as the caller.
    """
    lookup = _LOOKUP.search(value)
    if lookup is None:
        yield from listed(value, approved)
    else:
        yield from _looked_up(lookup[1], lookup[2], approved, exim, user)


def listed(value: str, approved: Collection[str]) -> Iterator[CheckLine]:
    """Say what is wrong with a list. Pure."""
    there = [item.strip() for item in value.split(":") if item.strip()]
    malformed = [item for item in there if not is_exact(item)]
    for item in malformed[:_MOST_NAMED]:
        yield error(f"Exim's list holds {item[:80]!r}, which never matches: not 64 upper-case hex digits", _AGAIN)
    for fingerprint, reason in NEVER.items():
        if fingerprint in there:
            yield error(f"Exim's list holds {grouped(fingerprint)}: {reason}", _AGAIN)
    missing, unapproved = set(approved) - set(there), set(there) - set(approved) - set(malformed) - set(NEVER)
    if missing:
        yield error(f"approved, but not in Exim's list: {_names(missing)}", _AGAIN)
    if unapproved:
        yield error(f"in Exim's list, but not approved: {_names(unapproved)}", _AGAIN)
    if not (malformed or missing or unapproved or set(NEVER) & set(there)):
        yield ok(f"Exim's list holds exactly the {len(there):,} that are approved")


_AGAIN: Final = "eximcertctl status says why eximcertd has not published"


def _looked_up(
    options: str, directory: str, approved: Collection[str], exim: Exim, user: str | None
) -> Iterator[CheckLine]:
    for option in ("filter=file", "cache=no_rd"):
        if option not in options.split(","):
            yield error(f"Exim's lookup in {directory} lacks {option}", _AGAIN)
    inside = next(iter(approved), None)
    try:
        for fingerprint, wanted in ((inside, "in"), (next(iter(NEVER)), "out")):
            if fingerprint is not None and _answer(exim, options, directory, fingerprint, user) != wanted:
                answer = "not found, but approved" if wanted == "in" else "found, but can never be approved"
                yield error(f"Exim's lookup in {directory}: {grouped(fingerprint)} is {answer}", _AGAIN)
                return
    except EximError as failure:
        yield error(
            f"Exim's lookup in {directory} fails, every verified client gets 451: {failure.words or failure.message}",
            f"let Exim's user read {directory}: mode 0755, and 0711 or more above it",
        )
        return
    tried = "an approved one is found, another is not" if inside else "one that is not approved is not found"
    yield ok(f"Exim looks fingerprints up in {directory}: {tried}")


def _answer(exim: Exim, options: str, directory: str, fingerprint: Fingerprint | str, user: str | None) -> str:
    return exim.expand(f"${{lookup{{{fingerprint}}}dsearch,{options}{{{directory}}}{{in}}{{out}}}}", user=user)


def _names(names: Collection[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(grouped(name) for name in sorted(names)[:_MOST_NAMED]) + more
