"""What every verb needs: the configuration, a client of eximcertd, and the options that all verbs have."""

from __future__ import annotations

from typing import Final

import click

from eximcertd.cli.connection import Context, each

__all__ = ["Context", "each", "json_option", "pass_context"]

json_option: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
"""The option that every verb has."""

pass_context: Final = click.pass_obj
"""Gives a verb its Context."""
