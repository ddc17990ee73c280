"""What every verb needs: the configuration, the daemon, and a way to print."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import click

from eximcertd.control.client import Client

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from eximcertd.config import Config

json_option: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
"""The option that every verb has."""

pass_context: Final = click.pass_obj
"""Gives a verb its Context."""


class Context:
    """The options before the verb. config_file: where the configuration is. socket: given by hand, or None."""

    def __init__(self, config_file: Path, socket: Path | None) -> None:
        self.config_file: Final = config_file
        self.socket: Final = socket
        self._config: Config | None = None

    def config(self) -> Config:
        """Return the configuration. Raises ConfigurationError."""
        if self._config is None:
            from eximcertd.config import load  # noqa: PLC0415 - many calls need no configuration

            self._config = load(self.config_file)
        return self._config

    def client(self) -> Client:
        """Return a client of the daemon, not yet connected. Raises ConfigurationError."""
        return Client(self.socket or self.config().control.socket)


def print_json(value: Any) -> None:
    """Print one value: ASCII, so that nothing in it can harm a terminal."""
    click.echo(json.dumps(value, indent=2))


def print_json_array(values: Iterable[Any]) -> None:
    """Print an array, an element a line, as the elements come."""
    separator = "["
    for value in values:
        click.echo(f"{separator}\n{json.dumps(value)}", nl=False)
        separator = ","
    click.echo("[]" if separator == "[" else "\n]")
