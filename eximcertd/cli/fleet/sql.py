"""``eximcertctl fleet sql``: what the administrator of the fleet's database runs. It connects to no database."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from eximcertd.cli.context import json_option
from eximcertd.cli.output import print_json
from eximcertd.fleet import statements

if TYPE_CHECKING:
    from collections.abc import Callable


@click.group("sql")
def command() -> None:
    """Print SQL for the administrator of the database.

    Run it as a superuser of PostgreSQL 15 or newer: eximcertctl fleet sql init | psql postgres
    """


def _without_name(name: str, sentence: str, statement: Callable[[], str]) -> None:
    @command.command(name, help=sentence)
    @json_option
    def run(as_json: bool) -> None:
        _print(statement(), as_json=as_json)


def _with_name(verb: str, sentence: str, statement: Callable[[str], str]) -> None:
    @command.command(verb, help=sentence)
    @click.argument("name")
    @json_option
    def run(name: str, as_json: bool) -> None:
        _print(statement(name), as_json=as_json)


def _print(text: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"sql": text})
    else:
        sys.stdout.write(text)


@command.command("back-to")
@click.argument("number", type=click.IntRange(min=0))
@json_option
def back_to(number: int, as_json: bool) -> None:
    """Remove every act after act NUMBER.

    For the case that the relays refuse the next one. A relay that has taken some of the removed acts keeps them as its
    own decisions.
    """
    _print(statements.back_to(number), as_json=as_json)


_without_name("init", "Make the database, in a cluster that has no fleet.", statements.init)
_without_name("upgrade", "Bring the database to the version of this eximcertctl.", statements.upgrade)
_with_name("add-relay", "Add a relay. NAME is the CN of its certificate.", statements.add_relay)
_with_name(
    "add-approver",
    "Add a person who decides. NAME is the CN of the person's certificate.",
    lambda name: statements.add_person(name, decides=True),
)
_with_name(
    "add-reader",
    "Add a person who only reads. NAME is the CN of the person's certificate.",
    lambda name: statements.add_person(name, decides=False),
)
_with_name("remove", "Remove a relay or a person, and end the connections.", statements.remove)
