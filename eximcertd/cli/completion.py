"""What the shell offers for a fingerprint or a name: asked of the running eximcertd, with a short time limit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from click.shell_completion import CompletionItem

from eximcertd.cli import table
from eximcertd.cli.connection import Context, each
from eximcertd.control.client import Client
from eximcertd.errors import EximcertdError
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click

LIMIT: Final = 0.5
"""Seconds that the shell waits at most."""

_MOST: Final = 100
_STANDINGS: Final = {"approve": ("pending",), "reject": ("pending",), "revoke": ("approved",)}
_EVERY: Final = ("pending", "approved", "rejected", "revoked")
_NAMED: Final = frozenset(_STANDINGS)
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]*")
"""Names that a shell takes as they are: bash would execute "$(...)" in a name that a client has chosen."""


def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return 16 digits of each fingerprint that fits, described by its name, and names where the verb takes them."""
    options = ctx.find_root().params
    try:
        path = options.get("socket") or Context(options["config"], None).config().control.socket
        with Client(path, timeout=LIMIT) as client:
            return list(_items(client, ctx.info_name or "", incomplete))
    except (EximcertdError, KeyError):
        return []  # a shell has no place for errors


def _items(client: Client, verb: str, incomplete: str) -> Iterator[CompletionItem]:
    standings = _STANDINGS.get(verb, _EVERY)
    for entry in each(client, "List", "entries", standings=standings, prefixes=[], newest=_MOST):
        digits, name = entry["fingerprint"][: table.SHORT], clean(table.name(entry))
        if digits.startswith(incomplete.upper()):
            yield CompletionItem(digits, help=name)
        elif incomplete and verb in _NAMED and _has_name(entry) and name.startswith(incomplete):
            yield CompletionItem(name, help=digits)


def _has_name(entry: dict[str, Any]) -> bool:
    """Tell whether a verb takes the name: not of a certificate that only a client has shown."""
    known = (entry["certificate"] or {}).get("source") == "directory"
    return known and _PLAIN.fullmatch(table.name(entry)) is not None
