"""The commands and files of docs/fleet.md, by which the tests set fleets up."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).parents[2] / "docs/fleet.md"
FILES: Final = "Set it up with files"
POSTGRES: Final = "Set it up with PostgreSQL"
_BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(section: str, kind: str) -> list[str]:
    """Return the blocks of a kind ("console", "sh", "toml", or "" without one) in a section, without the fences."""
    text = PAGE.read_text(encoding="utf-8").partition(f"\n## {section}")[2].partition("\n## ")[0]
    return [block for found, block in _BLOCK.findall(text) if found == kind]


def commands(screen: str) -> list[tuple[str, str]]:
    """Return the commands of root in a block of the kind "console": the machine and what is typed."""
    found = (line.partition("# ") for line in screen.splitlines())
    return [(machine, command) for machine, sign, command in found if sign and machine.isalnum()]
