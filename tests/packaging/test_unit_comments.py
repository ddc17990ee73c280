"""Every line of the sandboxes says, right above it, when an admin would relax it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).parents[2] / "packaging" / "systemd"
ADVICE = re.compile(
    'relax|another|instead|for another|add |"(?:read-only|default|none)"|never root|taken away', re.IGNORECASE
)


@pytest.mark.parametrize(
    ("unit", "least"),
    [
        ("eximcertd.service", 50),
        ("eximcertd-publish@.service", 50),
        ("eximcertd-reload@.service", 50),
        ("eximcertd-fleet.service", 50),
        ("eximcertd-mail@.service", 20),
    ],
)
def test_a_line_of_the_sandbox_has_its_comment(unit: str, least: int) -> None:
    sandbox = (SYSTEMD / unit).read_text(encoding="utf-8").partition("# --- The sandbox ---\n")[2].partition("\n[")[0]
    assert sandbox.count("\n") > least
    comment = ""
    for line in sandbox.splitlines():
        if line.startswith("#"):
            comment += line
        elif line and line not in {"Group=eximcertd", "Group=eximcertd-fleet"}:  # goes with User=
            assert ADVICE.search(comment), f"{line}: {comment or 'no comment'}"
            comment = ""
