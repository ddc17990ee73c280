"""Distinguished names as text (RFC 4514), the same whichever parser read them.

Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from eximcertd.certificates.der import Name

LONGEST: Final = 2000
"""Characters of one text; what is longer is cut, with an ellipsis."""

# RFC 4514, section 3, and the one that mail certificates have beside them.
_SHORT: Final = {
    "2.5.4.3": "CN",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "emailAddress",
}

_SPECIAL: Final = str.maketrans({character: f"\\{character}" for character in '"+,;<>\\'} | {"\0": "\\00"})

_COMMON_NAME: Final = re.compile(r"(?:(?:\\.|[^\\])*?[,+])?CN=((?:\\.|[^\\,+])*)")


def common_name(subject: str) -> str:
    """Return the first common name in the text of a distinguished name (RFC 4514), or all of it if it has none."""
    found = _COMMON_NAME.match(subject)
    return (found[1] if found else "") or subject


def values(name: str) -> list[str]:
    """Return the values in a name as a person types it: a distinguished name, a part of one, or any other name."""
    parts = re.split(r"[,+]|\\", name)
    return [part.rpartition("=")[2].strip() for part in parts]


def cut(text: str) -> str:
    """Return ``text``, cut where it is longer than any that belongs into a certificate."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "\u2026"


def rfc4514(name: Name) -> str:
    """Return a distinguished name as text, the last part first. What does not print is in it as it is."""
    return cut(",".join("+".join(_attribute(kind, value) for kind, value in relative) for relative in reversed(name)))


def _attribute(kind: str, value: str) -> str:
    text = cut(value).translate(_SPECIAL)
    if text[:1] in {" ", "#"}:
        text = "\\" + text
    if text.endswith(" ") and len(text) > 1:
        text = text[:-1] + "\\ "
    return f"{_SHORT.get(kind, kind)}={text}"
