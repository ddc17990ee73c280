"""Running a program within limits: whatever it does, it ends or is left, and nothing of it stays."""

from __future__ import annotations

import os
import pwd
import sys
import time
from typing import TYPE_CHECKING

import pytest
from lab.exim import USER
from lab.wait import until

from eximcertd.exim import run as module
from eximcertd.exim.processes import all_ids, read
from eximcertd.exim.run import CommandResult, EximError, quoted, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHELL = ["/bin/sh", "-c"]


@pytest.fixture(autouse=True)
def nothing_is_left_open() -> Iterator[None]:
    """Hold every call to closing all that it opens."""
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - names are enough
    yield
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208 - the same


def test_status_and_both_outputs_are_returned() -> None:
    done = run([*SHELL, "echo out; echo err >&2; exit 3"], 10)
    assert (done.status, done.out, done.err) == (3, "out\n", "err\n")
    assert 0 < done.seconds < 10


def test_a_program_that_a_signal_ends_has_a_negative_status() -> None:
    assert run([*SHELL, "kill -SEGV $$"], 10).status == -11


def test_it_has_no_input_and_a_small_environment() -> None:
    environment = run([*SHELL, "cat; env"], 10).out.splitlines()
    assert {line.partition("=")[0] for line in environment} <= {"LC_ALL", "PATH", "PWD", "SHLVL", "_", "OLDPWD"}


def test_it_has_a_session_of_its_own_and_no_open_file_of_ours() -> None:
    with open("/etc/passwd", encoding="ascii"):  # noqa: PTH123 - an open file
        session, pid, *links = run([*SHELL, "cut -d' ' -f6 /proc/$$/stat; echo $$; ls -l /proc/$$/fd"], 10).out.split(
            "\n"
        )
    assert session == pid
    assert not [link for link in links if "passwd" in link]


def test_a_broken_pipe_ends_it_as_it_does_in_a_shell() -> None:
    assert run([*SHELL, "(yes; echo $? >&2) | head -1"], 10).err == "141\n"


def test_a_large_output_comes_whole() -> None:
    done = run(
        [sys.executable, "-c", "import sys; sys.stdout.write('x' * 5000000); sys.stderr.write('y' * 300000)"], 20
    )
    assert (len(done.out), len(done.err)) == (5_000_000, 300_000)


@pytest.mark.parametrize("script", ["sleep 60", "sleep 60 & echo started", "kill -STOP $$", "exec >&- 2>&-; sleep 60"])
def test_a_program_that_does_not_end_is_killed_with_all_that_it_started(tmp_path: Path, script: str) -> None:
    ids = tmp_path / "pid"
    began = time.monotonic()
    with pytest.raises(EximError, match=r'"/bin/sh -c .* timed out after 0\.3 s and was killed') as caught:
        run([*SHELL, f"echo $$ >{ids}; {script}"], 0.3)
    assert "by hand" in caught.value.hint
    assert time.monotonic() - began < 20
    group = ids.read_text().strip()
    until(lambda: not alive_in(group), "all of it is gone")


def alive_in(group: str) -> list[int]:
    """Return the processes of a group, those excepted that only wait to be reaped."""
    found = []
    for pid in all_ids():
        stat = read(pid, "stat").rpartition(")")[2].split()
        if stat and stat[2] == group and stat[0] != "Z":
            found.append(pid)
    return found


def test_a_program_that_never_stops_printing_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_OUTPUT", 1 << 20)
    with pytest.raises(EximError, match="printed more than 1 MiB and was killed"):
        run(["/bin/cat", "/dev/zero"], 60)


def test_a_missing_program_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EximError, match=r"no-such-program cannot be run: No such file") as caught:
        run([str(tmp_path / "no-such-program")], 10)
    assert "[exim] binary" in caught.value.hint


def test_a_program_runs_as_another_user_with_that_users_groups() -> None:
    entry = pwd.getpwnam(USER)
    assert run(["/usr/bin/id", "-u"], 10, user=USER).out.strip() == str(entry.pw_uid)
    assert run(["/usr/bin/id", "-G"], 10, user=USER).out.split() == [str(entry.pw_gid)]
    with pytest.raises(EximError, match=r"there is no user no\\nsuch"):
        run(["/usr/bin/id"], 10, user="no\nsuch")


def test_what_it_printed_is_shown_on_one_line_in_ascii_without_what_every_exim_prints() -> None:
    noise = "2026-11-25 purging the environment.\n Suggested action: use keep_environment.\n"
    assert CommandResult(1, "out", f"{noise}\x1b[31mé\n\n second \n", 0.1).words() == "\\x1b[31m\\xe9 / second"
    assert CommandResult(1, "out\n", "", 0.1).words() == "out"


def test_a_quotation_has_an_end() -> None:
    assert quoted("x" * 2000) == "x" * 1000 + "..."
    assert quoted("x" * 5, 5) == "xxxxx"
    assert quoted("a\x00\u202e\U0001f600b") == "a\\x00\\u202e\\U0001f600b"
