"""eximcertd-reload(8) says what the program does: options, actions, outcomes, exit statuses."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from lab.daemon import program

from eximcertd.reload.request import ACTIONS, FIRST_LINE, OUTCOMES

ROOT = Path(__file__).parents[2]
MANUAL = (ROOT / "docs" / "man" / "eximcertd-reload.8").read_text(encoding="utf-8")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program("eximcertd-reload"), *arguments], input="", capture_output=True, text=True, check=False, timeout=60
    )


def test_every_option_is_in_the_manual_and_no_other() -> None:
    documented = {f"--{name}" for name in re.findall(r"^\.It Fl -([a-z-]+)", MANUAL, re.MULTILINE)}
    assert documented == {"--config", "--help"}
    assert "--config FILE" in run("--help").stdout
    assert run("--help").returncode == 0


@pytest.mark.parametrize("arguments", [("--config",), ("--config", "a", "b"), ("--other",), ("x",)])
def test_a_wrong_call_ends_with_the_status_that_the_manual_tells(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: eximcertd-reload")
    assert not done.stdout
    statuses = MANUAL.partition(".Sh EXIT STATUS")[2].partition("\n.Sh")[0]
    assert re.findall(r"^\.It (\d+)$", statuses, re.MULTILINE) == ["0", "2"]


def test_every_outcome_is_in_the_manual_and_no_other() -> None:
    protocol = MANUAL.partition(".Sh PROTOCOL")[2].partition("\n.Sh")[0]
    assert set(re.findall(r"^\.It ([a-z-]+)$", protocol, re.MULTILINE)) == set(OUTCOMES)
    assert FIRST_LINE in protocol


def test_every_action_is_in_the_manual_and_no_other() -> None:
    documented = re.findall(r"^\.It Cm ([a-z ]+?)(?: Ar DIGEST)?$", MANUAL, re.MULTILINE)
    assert documented == ["validate list", "validate directory", "load", "check"]
    digest = "0" * 64
    for action in documented:
        assert re.fullmatch(ACTIONS, action if action.startswith("validate") else f"{action} {digest}")


def test_a_configuration_file_that_is_wrong_is_an_answer(tmp_path: Path) -> None:
    file = tmp_path / "eximcertd.toml"
    file.write_text('[exim]\nreload = "perhaps"\n')
    done = run("--config", str(file))
    assert done.returncode == 0
    assert '"outcome":"refused"' in done.stdout
    assert "[exim] reload" in done.stdout
