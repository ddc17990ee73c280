r"""Text from outside, made safe to show: in a table, in JSON, in the journal.

Clients choose the names in certificates, HELO arguments and file names. A terminal obeys escape sequences and
bidirectional controls in them, a journal entry ends at a newline, JSON cannot carry a lone surrogate. A character that
does not print is shown as ``\n``, ``\x1b``, ``\u202e`` or ``\U000e0041``. A backslash is not escaped: the result is
safe, not reversible.

Pure: no I/O.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

_INVISIBLE: Final = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10))))
)
"""Characters that Unicode calls letters, marks or symbols and that leave nothing, or a blank, on the screen."""

_MOST_MARKS: Final = 2
"""Combining marks on one character; a longer stack is written over the lines above and below."""

_ELLIPSIS: Final = "\u2026"


def _escape(character: str) -> str:
    number = ord(character)
    if number <= 0xFF:  # noqa: PLR2004 - two hex digits
        return _SHORT.get(character) or f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"  # noqa: PLR2004 - four hex digits


def _pieces(text: str) -> Iterator[tuple[str, int]]:
    """Yield what each character is shown as, and its width in columns (0: a mark on the one before)."""
    marks = _MOST_MARKS  # no character before it at the start of a text
    for character in text:
        if " " <= character <= "~":
            marks = 0
            yield character, 1
        elif not character.isprintable() or character in _INVISIBLE:
            marks = _MOST_MARKS
            escaped = _escape(character)
            yield escaped, len(escaped)
        elif unicodedata.category(character) in {"Mn", "Me"}:
            marks += 1
            if marks > _MOST_MARKS:
                escaped = _escape(character)
                yield escaped, len(escaped)
            else:
                yield character, 0
        else:
            marks = 0
            yield character, 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _plain(text: str) -> bool:
    """Tell whether each character is shown as it is, in one column. Almost every text is; the others take long."""
    return text.isascii() and text.isprintable()


def clean(text: str) -> str:
    """Return ``text`` with everything escaped that does not print: valid UTF-8, one line, no control character."""
    if _plain(text):
        return text
    return "".join(piece for piece, _ in _pieces(text))


def columns(text: str) -> int:
    """Return how many columns of a terminal ``clean(text)`` takes."""
    return len(text) if _plain(text) else sum(width for _, width in _pieces(text))


def shown(text: str, width: int | None = None) -> str:
    """Return ``clean(text)``, cut to ``width`` columns with an ellipsis where it is longer. width None: not cut.

    An escape is never cut in two. width: at least 1.
    """
    if width is None:
        return clean(text)
    if _plain(text):
        return text if len(text) <= width else text[: width - 1] + _ELLIPSIS
    kept: list[tuple[str, int]] = []
    used = 0
    for piece, columns_taken in _pieces(text):
        if used + columns_taken > width:
            break
        kept.append((piece, columns_taken))
        used += columns_taken
    else:
        return "".join(piece for piece, _ in kept)
    while kept and used + 1 > width:
        used -= kept.pop()[1]
    return "".join(piece for piece, _ in kept) + _ELLIPSIS
