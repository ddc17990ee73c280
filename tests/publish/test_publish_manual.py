"""eximcertd-publish(8) tells of every option, action, outcome and file, and of none that is not there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from lab.publishing import Publisher

from eximcertd.publish import request
from eximcertd.publish.request import ACTIONS, Answer

if TYPE_CHECKING:
    from lab.exim import EximServer

MANUAL = (Path(__file__).parents[2] / "docs" / "man" / "eximcertd-publish.8").read_text()


def section(name: str) -> str:
    return MANUAL.partition(f".Sh {name}\n")[2].partition("\n.Sh ")[0]


def test_its_options_are_the_programs(exim: EximServer) -> None:
    told = set(re.findall(r"Fl -([a-z][a-z-]+)", MANUAL))
    shown = Publisher(exim).raw(b"", "--help")
    assert shown.returncode == 0
    assert told == set(re.findall(r"--([a-z][a-z-]+)", shown.stdout.decode()))


def test_its_actions_are_the_programs() -> None:
    actions = section("PROTOCOL").partition("The second line is the action")[2].partition(".El")[0]
    assert re.findall(r"^\.It Cm (.+)$", actions, re.MULTILINE) == ACTIONS.split("|")


def test_its_outcomes_are_the_programs() -> None:
    outcomes = section("PROTOCOL").partition(".Ql outcome\nis\n")[2].partition(".El")[0]
    told = re.findall(r"^\.It Cm ([a-z]+)$", outcomes, re.MULTILINE)
    assert told == [request.DONE, request.CHANGED, request.REFUSED, request.FAILED]
    assert set(re.findall(r"^\.Ql ([a-z_]+)$", MANUAL, re.MULTILINE)) & {"exim", "rewritten_by"} == set()
    for field in ("outcome", "step", "message", "found", "changed", "retry_after"):
        assert field in Answer._fields
        assert f".Ql {field}\n" in MANUAL, field


def test_its_files_are_all_that_it_leaves_beside_the_macro_file(exim: EximServer) -> None:
    publisher = Publisher(exim)
    before = set(exim.etc.iterdir())
    publisher.list("AA" * 32)
    publisher.wrapper = ("strace", "-o", "/dev/null", "-e", "inject=renameat:signal=KILL:when=2")
    publisher.raw(b"eximcertd-publish 2\nwrite list\ncount 0\nend\n")
    beside = {path.name.removeprefix(exim.macro_file.name) for path in set(exim.etc.iterdir()) - before}
    assert beside == set(re.findall(r"^\.It Pa (\.[a-z]+)$", section("FILES"), re.MULTILINE))


def test_its_exit_statuses_are_the_programs(exim: EximServer) -> None:
    publisher = Publisher(exim)
    assert re.findall(r"^\.It (\d+)$", section("EXIT STATUS"), re.MULTILINE) == ["0", "2"]
    assert publisher.raw(b"garbage").returncode == 0
    assert publisher.raw(b"", "--no-such-option").returncode == 2
    publisher.config.unlink()
    assert publisher.raw(b"").returncode == 0
