"""The output of eximcertctl. Every text is escaped here once more, whatever its source."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable


def say(text: str, *, alarm: bool = False, bold: bool = False, err: bool = False) -> None:
    """Print lines; control characters are escaped. alarm: in bold red."""
    safe = "\n".join(clean(line) for line in text.split("\n"))
    click.echo(click.style(safe, fg="red" if alarm else None, bold=True) if alarm or bold else safe, err=err)


def print_json(value: Any) -> None:
    """Print one value as JSON in ASCII."""
    click.echo(json.dumps(value, indent=2))


def print_json_array(values: Iterable[Any]) -> None:
    """Print a JSON array, an element a line, as the elements come."""
    separator = "["
    for value in values:
        click.echo(f"{separator}\n{json.dumps(value)}", nl=False)
        separator = ","
    click.echo("[]" if separator == "[" else "\n]")
