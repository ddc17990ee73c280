"""--help and --version: every verb has its sentence and an example that runs."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from lab.ctl import ctl
from lab.entries import certificate

from eximcertd.cli.app import EXAMPLES, VERBS
from eximcertd.cli.app import program as program_of_verbs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.twins import Twin


def each_with_parts(command: click.Command, *words: str) -> Iterator[tuple[str, ...]]:
    """Yield the words that call a command, or each of its parts."""
    if not isinstance(command, click.Group):
        yield words
        return
    for name, part in command.commands.items():
        yield from each_with_parts(part, *words, name)


def test_the_list_of_verbs_says_what_each_verbs_own_help_says() -> None:
    listed = ctl("--help").out
    for verb, sentence in VERBS.items():
        assert f"  {verb}" in listed
        assert sentence.split()[-1].rstrip(".") in listed
        command = program_of_verbs.get_command(click.Context(program_of_verbs), verb)
        assert command is not None
        for words in each_with_parts(command, verb):
            helped = ctl(*words, "--help")
            assert helped.status == 0
            assert "--json" in helped.out, f"{words}: every verb can print JSON"


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_has_an_example_that_runs(
    twin: Twin, at: tuple[str, str], verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert f"Example: eximcertctl {EXAMPLES[verb]}" in ctl(verb, "--help").out
    called, *arguments = shlex.split(EXAMPLES[verb])
    assert called == verb
    if verb in {
        "setup",
        "client",
        "check",
        "authority",
        "certificate",
        "fleet",
        "review",
        "revoke",
    }:  # of root, or of a terminal
        command = program_of_verbs.get_command(click.Context(program_of_verbs), verb)
        assert command is not None
        if isinstance(command, click.Group):
            command = command.get_command(click.Context(command), arguments.pop(0))
            assert command is not None
        assert command.make_context(verb, arguments, resilient_parsing=False).params
        return
    twin.see("58CD37DA" + "0" * 56, certificate("CN=laptop.alice.example"))
    twin.edits["removed"] = list(twin.entries.values())
    twin.events = [{"kind": "published", "at": "2026-01-01T00:00:00Z", "sentence": "live", "entry": None}]
    monkeypatch.chdir(tmp_path)
    Path("decisions.json").write_text("")
    if verb == "undo":
        ctl(*at, "approve", "58CD37DA")
    more = ["--yes"] if verb in {"approve", "undo"} else []
    missing = verb == "scan" and not Path(arguments[0]).exists()
    assert ctl(*at, verb, *arguments, *more).status == (1 if missing else 0)


def test_the_version_is_told() -> None:
    done = ctl("--version")
    assert done.out.startswith("eximcertctl, version ")
