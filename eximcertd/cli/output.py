"""The output of eximcertctl. Every text is escaped here once more, whatever its source. Without click (see quick.py).

Styles are printed to a terminal only, and not if NO_COLOR is set (https://no-color.org) or TERM is "dumb".
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, Final

from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

_ALARM: Final = "1;31"  # bold red: ECMA-48, 8.3.117 (SGR)
_BOLD: Final = "1"


def say(text: str, *, alarm: bool = False, bold: bool = False, err: bool = False, end: str = "\n") -> None:
    """Print lines; control characters are escaped. alarm: in bold red. end: what follows."""
    stream = sys.stderr if err else sys.stdout
    style = _ALARM if alarm else _BOLD
    styled = (alarm or bold) and coloured(stream)
    safe = "\n".join(clean(line) for line in text.split("\n"))
    stream.write((f"\x1b[{style}m{safe}\x1b[0m" if styled else safe) + end)
    stream.flush()


def coloured(stream: TextIO) -> bool:
    """Tell whether styles may be printed."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def print_json(value: Any) -> None:
    """Print one value as JSON in ASCII."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def print_json_array(values: Iterable[Any]) -> None:
    """Print a JSON array, an element a line, as the elements come."""
    separator = "["
    for value in values:
        sys.stdout.write(f"{separator}\n{json.dumps(value)}")
        separator = ","
    sys.stdout.write("[]\n" if separator == "[" else "\n]\n")
