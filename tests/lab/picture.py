"""Draws a part of the demo as a terminal, light and dark, as SVG; started by scripts/picture."""

from __future__ import annotations

import os
import re
import sys
from html import escape, unescape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lab.dialogue import at_terminal
from lab.pages import Shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TREE: Final = Path(__file__).resolve().parents[2]
FIRST: Final = "1. "
LAST: Final = "the server relayed the message"
THEMES: Final[Mapping[str, Mapping[str, str]]] = {
    "light": {"back": "#ffffff", "frame": "#d0d7de", "text": "#24292f", "1;36": "#0550ae", "32": "#116329"},
    "dark": {"back": "#0d1117", "frame": "#30363d", "text": "#c9d1d9", "1;36": "#79c0ff", "32": "#56d364"},
}
"""Colours: of the window, and of the styles that lab/screen.py uses (SGR parameters)."""
_FONT: Final = "ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace"
_SIZE: Final = 14
_ADVANCE: Final = 8.43
"""Pixels of a monospace letter of that size."""
_LINE: Final = 20
_PADDING: Final = 18
_STYLED: Final = re.compile(r"\x1b\[([0-9;]*)m")


def excerpt(run: str) -> list[str]:
    """Return the lines of a run that the picture shows, from the first message to the second."""
    lines = run.splitlines()
    first = next(place for place, line in enumerate(lines) if _plain(line).startswith(FIRST))
    last = next(place for place, line in enumerate(lines) if LAST in line)
    shown = Shown(["the server's is not shown"])
    return [shown.as_on_page(line) for line in lines[first : last + 1]]


def picture(lines: list[str], theme: Mapping[str, str]) -> str:
    """Return lines with their styles as an SVG of a terminal."""
    width = round(max(len(_plain(line)) for line in lines) * _ADVANCE) + 2 * _PADDING
    height = len(lines) * _LINE + 2 * _PADDING
    frame = f'width="{width - 1}" height="{height - 1}" rx="8" fill="{theme["back"]}" stroke="{theme["frame"]}"'
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        f'<rect x="0.5" y="0.5" {frame}/>',
        f'<g font-family="{_FONT}" font-size="{_SIZE}" fill="{theme["text"]}" style="white-space:pre">',
    ]
    for number, line in enumerate(lines, 1):
        baseline = _PADDING + number * _LINE - 5
        drawn.append(f'<text x="{_PADDING}" y="{baseline}">{"".join(_spans(line, theme))}</text>')
    return "\n".join([*drawn, "</g>", "</svg>", ""])


def text_of(svg: str) -> list[str]:
    """Return the lines that a picture shows."""
    return [unescape(re.sub(r"<[^>]*>", "", line)) for line in svg.splitlines() if line.startswith("<text")]


def _spans(line: str, theme: Mapping[str, str]) -> Iterator[str]:
    style = ""
    for place, part in enumerate(_STYLED.split(line)):
        if place % 2:
            style = part
        elif part:
            bold = ' font-weight="bold"' if style.startswith("1") else ""
            colour = f' fill="{theme[style]}"' if style in theme else ""
            yield f"<tspan{bold}{colour}>{escape(part)}</tspan>" if bold or colour else escape(part)


def _plain(line: str) -> str:
    return _STYLED.sub("", line)


def main() -> int:
    """Run the demo and draw it."""
    run = at_terminal([sys.executable, str(TREE / "scripts/demo.py")], (), os.environ, styled=True)
    lines = excerpt(run)
    for name, theme in THEMES.items():
        (TREE / f"docs/demo-{name}.svg").write_text(picture(lines, theme), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
