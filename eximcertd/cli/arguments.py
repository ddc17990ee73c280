"""Fingerprints as arguments and on standard input."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Final

import click

from eximcertd.errors import UsageError
from eximcertd.fingerprint import LENGTH, SHORTEST_PREFIX, FingerprintError, parse_prefix

if TYPE_CHECKING:
    from collections.abc import Iterable

    from click.shell_completion import CompletionItem


def _complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return what completion.py offers, if options come before the fingerprint; else it has answered without click."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - only for a shell that completes

    from eximcertd.cli.completion import offers  # noqa: PLC0415 - the same
    from eximcertd.cli.connection import Context  # noqa: PLC0415 - the same

    options = ctx.find_root().params
    context = Context(options["config"], options["socket"])
    return [CompletionItem(value, help=text) for value, text in offers(context, ctx.info_name or "", incomplete)]


fingerprints_argument: Final = click.argument(
    "fingerprints", nargs=-1, required=True, metavar="FINGERPRINT|NAME...", shell_complete=_complete
)
fingerprint_argument: Final = click.argument(
    "fingerprint", nargs=-1, required=True, metavar="FINGERPRINT", shell_complete=_complete
)

MOST: Final = 10_000
"""Maximum number of fingerprints in one decision."""

LONGEST_LINE: Final = 512

_GROUPS: Final = LENGTH // 8
_DIGITS = re.compile(r"[0-9A-Fa-f:\s]*")
_LABEL = re.compile(r"\s*sha-?256 fingerprint\s*=\s*", re.IGNORECASE)  # openssl x509 -fingerprint -sha256


def prefixes(given: Iterable[str]) -> list[str]:
    """Return the distinct fingerprints or prefixes that were given, as upper-case hex digits.

    "-" reads standard input, one per line; blank lines and those that begin with # are skipped. Eight
    arguments of eight digits in a row are one fingerprint, pasted as it is printed. Raises UsageError.
    """
    found: dict[str, None] = {}
    for text in _joined(list(given)):
        for one in _lines() if text == "-" else (text,):
            found[_parsed(one)] = None
            if len(found) > MOST:
                raise UsageError(
                    f"more than {MOST} fingerprints at once",
                    hint="eximcertctl import has no such limit",
                )
    if not found:
        raise UsageError("no fingerprint was given: standard input holds none")
    return list(found)


def names(given: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return what is written as digits, or "-", and what is the name of a certificate."""
    texts = _joined(list(given))
    named = [text for text in texts if text != "-" and not _DIGITS.fullmatch(_LABEL.sub("", text, count=1))]
    return [text for text in texts if text not in named], named


def prefix(given: Iterable[str]) -> str:
    """Return the one fingerprint or prefix that was given. Raises UsageError."""
    found = prefixes(given)
    if len(found) != 1:
        raise UsageError(f"{len(found)} fingerprints were given, but one is expected")
    return found[0]


def _joined(given: list[str]) -> list[str]:
    joined: list[str] = []
    while given:
        groups = given[:_GROUPS]
        if len(groups) == _GROUPS and all(re.fullmatch(r"[0-9A-Fa-f]{8}", group) for group in groups):
            joined.append("".join(groups))
            del given[:_GROUPS]
        else:
            joined.append(given.pop(0))
    return joined


def _lines() -> Iterable[str]:
    while line := sys.stdin.readline(LONGEST_LINE):
        if line.strip() and not line.lstrip().startswith("#"):
            yield line


def _parsed(text: str) -> str:
    try:
        return parse_prefix(_LABEL.sub("", text, count=1))
    except FingerprintError as error:
        raise UsageError(
            str(error), hint=f"give {SHORTEST_PREFIX} to {LENGTH} hex digits, as eximcertctl pending prints them"
        ) from None
