"""The macro file: parsing and rendering it. Pure.

Exim reads it line by line (Exim specification, chapter "The runtime configuration file"): a line that ends in a
backslash continues in the next one, comment lines in between are skipped, a blank line ends it. A file that holds
anything but comments and one list or lookup is never rewritten.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from eximcertd.fingerprint import NEVER, Fingerprint, is_exact
from eximcertd.publish.error import refused, shown
from eximcertd.publish.request import Found

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

LARGEST: Final = 128 << 20
_MOST_COMMENTS: Final = 1000
_HEADER: Final = "# Kept by eximcertd-publish. Fingerprints added by hand are adopted, comment lines are kept."
_DROPPED: Final = re.compile("# (Kept by eximcertd-publish|What is added here by hand|Emptied when eximcertd was).*")
"""Comments that are written anew, or that the new list makes wrong."""
_COMMENT: Final = re.compile(rb"#[\x20-\x7e\t]{0,1000}")
_CLIENT: Final = "${sha256:$tls_in_peercert}"
_LOOKUP: Final = f"${{lookup{{{_CLIENT}}}dsearch,filter=file,cache=no_rd{{/DIRECTORY}}{{{_CLIENT}}}}}"
_IS_LOOKUP: Final = re.compile(re.escape(_LOOKUP).replace("/DIRECTORY", r"(?:/[A-Za-z0-9._+-]+)+"))
_RENDERED: Final = re.compile(r"[0-9A-F]{64}(?: : [0-9A-F]{64})*")
_PAIRS: Final = r"[0-9A-Fa-f]{2}(?:::?[0-9A-Fa-f]{2}){31}"
_ITEM: Final = re.compile(rf"\s*({_PAIRS}|[0-9A-Fa-f]{{64}})?\s*(?::|\Z)", re.ASCII)
_HEX_ONLY: Final = re.compile(r"[0-9A-Fa-f:\s\\]+", re.ASCII)


def render(macro: str, value: str, comments: Iterable[str]) -> bytes:
    """Return the file that defines the macro as ``value`` (of list_value or lookup_value)."""
    folded = value.replace(" : ", " : \\\n")
    lines = [_HEADER, *comments, f"{macro} = \\\n{folded}" if value else f"{macro} ="]
    return ("\n".join(lines) + "\n").encode("ascii")


def list_value(fingerprints: Iterable[Fingerprint]) -> str:
    """Return the value of the macro in the list form. Raises ValueError for anything but a fingerprint."""
    listed = list(fingerprints)
    if not all(map(is_exact, listed)):
        raise ValueError("not all of them are fingerprints")
    return " : ".join(listed)


def lookup_value(allowed: Path) -> str:
    """Return the value of the macro in the directory form: it looks the fingerprint up at run time."""
    return _LOOKUP.replace("/DIRECTORY", str(allowed))


def parse(macro: str, raw: bytes | None, inode: int = 0, ctime_ns: int = 0) -> Found:
    """Return the contents of a macro file (None: there is none). Raises PublishError that shows the wrong line."""
    if raw is None:
        return Found("absent")
    value: str | None = None
    comments: list[str] = []
    for number, line in _logical_lines(raw, comments):
        named = re.match(rf"{macro}\s*=(?!=)\s*", line, re.ASCII)
        if named is None or value is not None:
            raise refused(f'line {number}: {_mistake(line, again=named is not None)}: "{shown(line)}"')
        value = line[named.end() :]
    found = Found("absent", (), hashlib.sha256(raw).hexdigest(), inode, ctime_ns, tuple(comments))
    if value is None:
        return found
    if _IS_LOOKUP.fullmatch(value):
        return found._replace(form="directory")
    listed, corrected, dropped = _items(value)
    return found._replace(form="list", fingerprints=listed, corrected=corrected, dropped=dropped)


def _mistake(line: str, *, again: bool) -> str:
    if again:
        return "the macro is defined again: remove one of the two definitions"
    if _HEX_ONLY.fullmatch(line):
        return "fingerprints outside the definition: end the line before, which must not be blank, with a backslash"
    return "neither a comment nor the macro's definition: move it to another file"


def _logical_lines(raw: bytes, comments: list[str]) -> Iterator[tuple[int, str]]:
    """Join lines as Exim does; return each with its number. The comments that are kept are added to ``comments``."""
    parts: list[bytes] = []
    start, continued = 0, False
    for number, physical in enumerate([*raw.split(b"\n"), b""], 1):  # the blank line ends a last continuation
        line = physical.strip(b" \t\r")
        if line.startswith(b"#"):
            if _COMMENT.fullmatch(line) is None or len(comments) >= _MOST_COMMENTS:
                why = f"only plain ASCII can be kept, and {_MOST_COMMENTS} comment lines: remove it"
                raise refused(f'line {number} cannot be kept: "{shown(line.decode("latin-1"))}"; {why}')
            if _DROPPED.fullmatch(line.decode()) is None:
                comments.append(line.decode())
            continue
        if not continued:
            parts, start = [], number
        continued = line.endswith(b"\\")
        parts.append(line[:-1] if continued else line)
        if not continued:
            joined = b"".join(parts).decode("latin-1").strip()
            if joined:
                yield start, joined


def _items(value: str) -> tuple[tuple[Fingerprint, ...], tuple[Fingerprint, ...], tuple[Fingerprint, ...]]:
    """Return the fingerprints of a list, those whose spelling Exim does not match, and those that are forbidden."""
    if _RENDERED.fullmatch(value):
        rendered = dict.fromkeys(map(Fingerprint, value.split(" : ")))
        if not rendered.keys() & NEVER.keys():
            return tuple(rendered), (), ()
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
        if spelt != fingerprint or doubled:  # inlist reads "::" as a colon in an item, not as a separator
            corrected.append(fingerprint)
        listed[fingerprint] = None
    return tuple(listed), tuple(corrected), tuple(dropped)
