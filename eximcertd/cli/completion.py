"""What the shell offers for a fingerprint or a name: asked of the running eximcertd, with a short time limit.

Without click (see quick.py), whose import was most of the time of such a call. The calls are those of the files that
click makes for the shells; what is not understood here is left to click.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Final

from eximcertd.cli.connection import Context
from eximcertd.cli.quick import DEFAULT_CONFIG, MISUNDERSTOOD
from eximcertd.control.client import Client
from eximcertd.errors import EximcertdError
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

VARIABLE: Final = "_EXIMCERTCTL_COMPLETE"
"""In the environment of a shell's call: SHELL_complete."""
LIMIT: Final = 0.5
"""Seconds that the shell waits at most."""

_SHORT: Final = 16
_EVERY: Final = ("pending", "unmatched", "approved", "rejected", "revoked")
_STANDINGS: Final = {
    "approve": ("pending",),
    "reject": ("pending",),
    "revoke": ("approved",),
    "show": _EVERY,
    "certificate": _EVERY,
}
_NAMED: Final = frozenset({"approve", "reject", "revoke"})
_DIGITS = re.compile(r"[0-9A-F]+")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]*")
"""Names that a shell takes as they are: bash would execute "$(...)" in a name that a client has chosen."""


def offers(context: Context, verb: str, incomplete: str) -> list[tuple[str, str]]:
    """Return 16 digits of each fingerprint that fits, and names where the verb takes them, each with the other."""
    given = {"beginning": incomplete, "standings": _STANDINGS.get(verb, _EVERY)}
    try:
        with Client(context.socket or context.config().control.socket, timeout=LIMIT) as client:
            return list(_offers(client.call("Complete", given)["offers"], verb, incomplete))
    except (EximcertdError, *MISUNDERSTOOD):
        return []  # a shell has no place for errors


def _offers(found: Sequence[dict[str, Any]], verb: str, incomplete: str) -> Iterator[tuple[str, str]]:
    for one in found:
        digits, name = one["fingerprint"][:_SHORT], clean(one["name"])
        if not _DIGITS.fullmatch(digits):  # a compromised eximcertd may answer anything
            continue
        if digits.startswith(incomplete.upper()):
            yield digits, name
        elif verb in _NAMED and one["named"] and name.startswith(incomplete) and _PLAIN.fullmatch(name):
            yield name, digits


def answer(environment: Mapping[str, str]) -> bool:
    """Answer the shell if it asks for a fingerprint or a name. Return False for what click answers."""
    shell = environment[VARIABLE].removesuffix("_complete")
    words, place = environment.get("COMP_WORDS", ""), environment.get("COMP_CWORD", "")
    if shell not in _FORMATS or any(quote in words for quote in "'\"\\"):
        return False
    typed = words.split()
    if shell == "fish":
        incomplete = place
        given = typed[1:-1] if incomplete and typed[-1:] == [incomplete] else typed[1:]
    else:
        number = int(place) if place.isdecimal() else 0
        incomplete, given = "".join(typed[number : number + 1]), typed[1:number]
    asked = _asked(given)
    if asked is None or incomplete.startswith("-"):
        return False
    context, verb = asked
    for value, description in offers(context, verb, incomplete):
        sys.stdout.write(_FORMATS[shell].format(value, description or ("_" if shell == "zsh" else "")))
    return True


def _asked(given: Sequence[str]) -> tuple[Context, str] | None:
    """Return what is to be asked for the verb that is typed; None if it takes no fingerprint, or options are there."""
    paths: dict[str, str] = {}
    rest = list(given)
    while len(rest) > 1 and rest[0] in {"--config", "--socket"}:
        paths[rest[0]] = rest[1]
        del rest[:2]
    if not rest or rest[0] not in _STANDINGS or any(word.startswith("-") for word in rest):
        return None
    return Context(paths.get("--config", DEFAULT_CONFIG), paths.get("--socket")), rest[0]


_FORMATS: Final = {"bash": "plain,{0}\n", "zsh": "plain\n{0}\n{1}\n", "fish": "plain,{0}\t{1}\n"}
"""As the files that click makes for these shells read it."""
