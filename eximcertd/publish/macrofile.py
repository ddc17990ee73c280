"""The macro file: what stands in it, and what is written into it. Pure.

Exim reads it line by line (Exim specification, chapter "The Exim runtime configuration file"): a line that ends
in a backslash goes on in the next, comment lines in between are dropped, a blank line ends it. Whatever is no
comment and no list of fingerprints is not understood here, and so never rewritten.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from eximcertd.fingerprint import NEVER, Fingerprint, is_exact
from eximcertd.publish.old_request import Found
from eximcertd.publish.stop import refused, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

LARGEST: Final = 128 << 20
_MOST_COMMENTS: Final = 1000
_OURS: Final = (
    "# Kept by eximcertd-publish: SHA-256 fingerprints of the certificates that may relay.",
    "# What is added here by hand is taken over; lines that begin with # are kept.",
)
_COMMENT: Final = re.compile(rb"#[\x20-\x7e\t]{0,1000}")
_LOOKUP: Final = (
    "${{lookup{{${{sha256:$tls_in_peercert}}}}dsearch,filter=file,cache=no_rd{{{}}}{{${{sha256:$tls_in_peercert}}}}}}"
)
_IS_LOOKUP: Final = re.compile(re.escape(_LOOKUP.format("/DIRECTORY")).replace("/DIRECTORY", r"(?:/[A-Za-z0-9._+-]+)+"))
_PAIRS: Final = r"[0-9A-Fa-f]{2}(?:::?[0-9A-Fa-f]{2}){31}"
_ITEM: Final = re.compile(rf"\s*({_PAIRS}|[0-9A-Fa-f]{{64}})?\s*(?::|\Z)", re.ASCII)


@dataclass(frozen=True, slots=True)
class MacroFile:
    """A macro file as it stands. value: what Exim makes of the macro, None if it is not defined there."""

    raw: bytes | None
    value: str | None
    found: Found


def render(macro: str, value: str, comments: Iterable[str]) -> bytes:
    """Return the file that defines the macro as ``value`` (of list_value or lookup_value)."""
    folded = value.replace(" : ", " : \\\n")
    lines = [*_OURS, *comments, f"{macro} = \\\n{folded}" if value else f"{macro} ="]
    return ("\n".join(lines) + "\n").encode("ascii")


def list_value(fingerprints: Iterable[Fingerprint]) -> str:
    """Return the value of the macro in the list form."""
    listed = list(fingerprints)
    if not all(map(is_exact, listed)):
        raise ValueError("not all of them are fingerprints")
    return " : ".join(listed)


def lookup_value(allowed: Path) -> str:
    """Return the value of the macro in the directory form: it looks the fingerprint up at run time."""
    return _LOOKUP.format(allowed)


def parse(macro: str, raw: bytes | None) -> MacroFile:
    """Return what stands in a macro file (None: there is none). Raises Stop, showing the line that is foreign."""
    if raw is None:
        return MacroFile(None, None, Found("absent"))
    value: str | None = None
    comments: list[str] = []
    for number, line in _logical_lines(raw, comments):
        named = re.fullmatch(rf"{macro}\s*=(?!=)\s*(.*)", line, re.DOTALL | re.ASCII)
        if named is None or value is not None:
            why = "it defines the macro again" if named else "it is neither a comment nor the macro's definition"
            raise refused(f'line {number} is foreign ({why}): "{shown(line)}"; move it to a file of its own')
        value = named[1]
    digest = hashlib.sha256(raw).hexdigest()
    if value is None:
        return MacroFile(raw, None, Found("absent", digest=digest, comments=tuple(comments)))
    if _IS_LOOKUP.fullmatch(value):
        return MacroFile(raw, value, Found("directory", digest=digest, comments=tuple(comments)))
    listed, corrected, dropped = _items(value)
    return MacroFile(
        raw,
        value,
        Found("list", listed, digest, tuple(comments), corrected=corrected, dropped=dropped),
    )


def _logical_lines(raw: bytes, comments: list[str]) -> Iterator[tuple[int, str]]:
    """Join lines as Exim does; comments are collected on the way."""
    joined, start, goes_on = b"", 0, False
    for number, physical in enumerate(raw.split(b"\n"), 1):
        line = physical.strip(b" \t\r")
        if line.startswith(b"#"):
            if _COMMENT.fullmatch(line) is None or len(comments) >= _MOST_COMMENTS:
                raise refused(
                    f'line {number}, a comment, cannot be kept: "{shown(_text(line))}"; '
                    f"only lines of plain ASCII are, and {_MOST_COMMENTS} of them at most: remove it"
                )
            if line.decode() not in _OURS:
                comments.append(line.decode())
            continue
        if not goes_on:
            joined, start = b"", number
        goes_on = line.endswith(b"\\")
        joined += line[:-1] if goes_on else line
        if joined.strip() and not goes_on:
            yield start, _text(joined).strip()
    if joined.strip() and goes_on:
        yield start, _text(joined).strip()


def _text(line: bytes) -> str:
    return line.decode("latin-1")


def _items(value: str) -> tuple[tuple[Fingerprint, ...], tuple[Fingerprint, ...], tuple[Fingerprint, ...]]:
    """Return the fingerprints of a list, those that Exim never matches as they are spelt, and the forbidden ones."""
    listed: dict[Fingerprint, None] = {}
    corrected, dropped = [], []
    at = 0
    while at < len(value):
        item = _ITEM.match(value, at)
        if item is None:
            raise refused(f'the list is not understood at "{shown(value[at : at + 80])}": correct it by hand')
        at = item.end()
        spelt = item[1]
        if spelt is None:
            continue
        fingerprint = Fingerprint(spelt.replace(":", "").upper())
        if fingerprint in NEVER:
            dropped.append(fingerprint)
            continue
        doubled = value[item.start() - 2 : item.start()] == "::" or value[at : at + 1] == ":"
        if spelt != fingerprint or doubled:  # inlist reads "::" as a colon in an item, not as an end
            corrected.append(fingerprint)
        listed[fingerprint] = None
    return tuple(listed), tuple(corrected), tuple(dropped)
