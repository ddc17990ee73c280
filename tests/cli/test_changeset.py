"""Changes to files, made as one, put back, and taken out again: whatever happens between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab.strace import run_traced

from eximcertd.cli.changeset import Change, Changeset
from eximcertd.cli.steps import ChangeError, difference

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECRET = "-----BEGIN PRIVATE KEY-----"


class Machine:
    """A tree with another's files in it, and changes to it: a file of our own, a secret, an edit, two appended."""

    def __init__(self, top: Path) -> None:
        self.top = top
        (top / "etc").mkdir()
        self.answers = top / "etc/answers"
        self.answers.write_bytes(b"name='a'\ntype='local'\n# \xff\n")
        self.macros = top / "etc/macros"
        self.macros.write_text("OLD = 1")
        self.own = top / "etc/new/deep/own"
        self.key = top / "etc/new/key"
        self.appended = top / "etc/appended"
        self.record = top / "etc/new/record"

    def changes(self, text: str = "ours\n") -> list[Change]:
        return [
            Change(self.key, SECRET, mode=0o640, secret=True),
            Change(self.own, text),
            Change(self.answers, "type='smarthost'\n", "type='local'\n"),
            Change(self.macros, f"\n# {text}", ""),
            Change(self.appended, f"# {text}", ""),
        ]

    def changeset(self) -> Changeset:
        return Changeset(self.record)

    def state(self) -> dict[str, object]:
        return {
            str(path): (path.stat().st_mode, path.read_bytes() if path.is_file() else None)
            for path in sorted(self.top.rglob("*"))
        }


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def nothing() -> None: ...


def fail() -> None:
    raise ChangeError("it does not work")


def test_changes_are_made_and_taken_out_again_to_the_byte(machine: Machine) -> None:
    before = machine.state()
    machine.changeset().apply(machine.changes(), nothing)
    assert machine.own.read_text() == "ours\n"
    assert machine.key.stat().st_mode & 0o777 == 0o640
    assert machine.answers.read_bytes() == b"name='a'\ntype='smarthost'\n# \xff\n"
    assert machine.macros.read_text() == "OLD = 1\n# ours\n"
    machine.changeset().apply([], nothing)
    assert machine.state() == before


def test_what_somebody_else_writes_into_such_files_later_stays(machine: Machine) -> None:
    machine.changeset().apply(machine.changes(), nothing)
    for path in (machine.macros, machine.appended):
        with path.open("a") as stream:
            stream.write("NEW = 2\n")
    machine.changeset().apply([], nothing)
    assert machine.macros.read_text() == "OLD = 1NEW = 2\n"
    assert machine.appended.read_text() == "NEW = 2\n"


def test_the_same_changes_again_are_nothing_to_do(machine: Machine) -> None:
    machine.changeset().apply(machine.changes(), nothing)
    changeset = machine.changeset()
    kept = changeset.standing(machine.key)
    assert changeset.plan([*kept, *machine.changes()[1:]]) == []


def test_what_stands_can_be_kept_as_it_is(machine: Machine) -> None:
    machine.changeset().apply(machine.changes(), nothing)
    changeset = machine.changeset()
    kept = changeset.standing(*(change.path for change in machine.changes()))
    assert len(kept) == len(machine.changes())
    assert changeset.plan(kept) == []


def test_other_changes_take_the_place_of_the_old_ones(machine: Machine) -> None:
    before = machine.state()
    machine.changeset().apply(machine.changes(), nothing)
    machine.changeset().apply(machine.changes("another text\n")[1:4], nothing)
    assert machine.own.read_text() == "another text\n"
    assert machine.macros.read_text() == "OLD = 1\n# another text\n"
    assert not machine.key.exists()
    machine.changeset().apply([], nothing)
    assert machine.state() == before


@pytest.mark.parametrize("first", [[], ["ours\n"]], ids=["nothing", "other changes"])
def test_a_failure_at_the_end_puts_all_of_it_back(machine: Machine, first: list[str]) -> None:
    for text in first:
        machine.changeset().apply(machine.changes(text), nothing)
    before = machine.state()
    with pytest.raises(ChangeError, match="it does not work"):
        machine.changeset().apply(machine.changes("another text\n"), fail)
    assert machine.state() == before


def test_a_file_that_is_not_ours_is_not_overwritten(machine: Machine) -> None:
    machine.appended.write_text("somebody's")
    with pytest.raises(ChangeError, match="did not write it"):
        machine.changeset().plan([Change(machine.appended, "ours")])


def test_a_text_that_is_not_there_once_cannot_be_replaced(machine: Machine) -> None:
    with pytest.raises(ChangeError, match="exactly once"):
        machine.changeset().plan([Change(machine.answers, "x", "'")])


def test_a_secret_is_in_neither_the_diff_nor_the_record(machine: Machine) -> None:
    changeset = machine.changeset()
    shown = "\n".join(difference(changeset.plan(machine.changes())))
    assert shown.splitlines()[:3] == [
        f"make {machine.key} (a secret, not shown)",
        f"make {machine.own}",
        f"change {machine.answers}",
    ], "it begins with the files, and what is done with each"
    assert str(machine.key) in shown
    assert "+type='smarthost'" in shown
    assert SECRET not in shown
    changeset.apply(machine.changes(), nothing)
    assert SECRET not in machine.record.read_text()
    assert machine.record.stat().st_mode & 0o077 == 0


def test_a_damaged_record_is_an_error_with_a_remedy(machine: Machine) -> None:
    machine.record.parent.mkdir()
    machine.record.write_text('{"changes": [1]}')
    with pytest.raises(ChangeError, match="damaged"):
        machine.changeset()


def test_a_fifo_in_the_place_of_a_file_is_no_endless_wait(machine: Machine) -> None:
    import os  # noqa: PLC0415 - here alone

    os.mkfifo(machine.own.parent.parent.parent / "fifo")
    with pytest.raises(ChangeError, match="not a regular file"):
        machine.changeset().plan([Change(machine.own.parent.parent.parent / "fifo", "x", "")])


def test_whatever_call_is_the_last_one_of_a_killed_run_all_of_it_can_be_taken_out(tmp_path: Path) -> None:
    calls, _ = run_traced(_applied(Machine(_new(tmp_path, "whole"))))
    changing = [call for call in calls if call.changes()]
    assert len(changing) > 40
    for number, call in enumerate(changing):
        machine = Machine(_new(tmp_path, str(number)))
        before = machine.state()
        run_traced(_applied(machine), kill_at=call)
        machine.changeset().apply([], nothing)
        left = machine.state()
        for directory in ("etc/new/deep", "etc/new"):
            if str(machine.top / directory) not in before:  # made, and not yet noted: an empty directory stays
                left.pop(str(machine.top / directory), None)
        assert left == before, call


def _new(directory: Path, name: str) -> Path:
    made = directory / name
    made.mkdir()
    return made


def _applied(machine: Machine) -> Callable[[], None]:
    return lambda: machine.changeset().apply(machine.changes(), nothing)
