"""The manual page tells of every verb and every option, and of none that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from eximcertd.cli.app import VERBS, program

MANUAL = (Path(__file__).parents[2] / "docs" / "man" / "eximcertctl.8").read_text()


def options(command: click.Command) -> set[str]:
    """Return the long options of a command, but those that every verb has."""
    if isinstance(command, click.Group) and command is not program:
        return set().union(*map(options, command.commands.values()))
    found = {name for parameter in command.params for name in parameter.opts if name.startswith("--")}
    return found - {"--json", "--help"}


def test_every_verb_and_no_other_has_its_paragraph() -> None:
    assert set(re.findall(r"^\.It Ic (\w+)", MANUAL, re.MULTILINE)) == set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_of_a_verb_is_in_the_manual(verb: str) -> None:
    command = program.get_command(click.Context(program), verb)
    assert command is not None
    told = {f"--{name}" for name in re.findall(r"Fl -([a-z-]+)", MANUAL)}
    told |= {f"--{name}" for name in re.findall(r"\| -([a-z-]+)", MANUAL)}
    assert options(command) <= told


def test_every_option_in_the_manual_is_there() -> None:
    there = {"--json", "--help"} | options(program)
    for verb in VERBS:
        command = program.get_command(click.Context(program), verb)
        assert command is not None
        there |= options(command)
    told = {f"--{name}" for name in re.findall(r"Fl -([a-z][a-z-]+)", MANUAL)}
    assert told <= there


def test_the_readme_calls_nothing_that_is_not_there() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    called = set(re.findall(r"(?:\$ |`|sudo )eximcertctl ([a-z]+)\b", readme))
    assert called
    assert called <= set(VERBS)
