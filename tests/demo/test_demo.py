"""scripts/demo: what a stranger runs first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from lab.certificates import make
from lab.client import EximClient
from lab.exim import EXIM, EximServer
from lab.pages import plain
from lab.picture import THEMES, excerpt, text_of
from lab.wait import until

if TYPE_CHECKING:
    from collections.abc import Iterator

TREE: Final = Path(__file__).parents[2]
DEMO: Final = [sys.executable, str(TREE / "scripts/demo.py")]


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """Let the demo find the lab, and keep its directory where it can be looked for and Exim's user reaches it."""
    with tempfile.TemporaryDirectory(prefix="stage-", dir="/tmp") as stage:
        Path(stage).chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        yield {**kept, "PYTHONPATH": str(TREE / "tests"), "TMPDIR": stage}


def _processes(environment: dict[str, str]) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if environment["TMPDIR"].encode() in entry.read_bytes():
                found.append(entry.read_text())
        except OSError:
            continue  # it ended between the two looks
    return found


def test_the_demo_sees_every_step_and_leaves_nothing(environment: dict[str, str]) -> None:
    done = subprocess.run(DEMO, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    summary = done.stdout.partition("What was seen")[2]
    for sentence in (
        "refused the message with 550",
        "pending names laptop.alice.example",
        "approved, and Exim honours it",
        "the message arrived",
        "revoked, and Exim honours it",
        "refused the message again",
        "refused the impostor",
    ):
        assert sentence in summary
    for theme in THEMES:
        drawn = text_of((TREE / f"docs/demo-{theme}.svg").read_text(encoding="utf-8"))
        assert plain(drawn) == plain(excerpt(done.stdout)), "scripts/picture draws it anew"
    assert _processes(environment) == []
    assert list(Path(environment["TMPDIR"]).iterdir()) == []


def test_a_demo_that_is_left_up_ends_at_once_when_it_is_told_to(environment: dict[str, str], tmp_path: Path) -> None:
    shown = tmp_path / "shown"
    with shown.open("wb") as stream:
        demo = subprocess.Popen([*DEMO, "--stay"], env=environment, stdout=stream, stderr=stream)
    try:
        until(lambda: demo.poll() is not None or "until you press" in shown.read_text(), "the demo stays", limit=200)
        assert demo.poll() is None, shown.read_text()
        demo.send_signal(signal.SIGINT)
        assert demo.wait(120) == 0
    finally:
        demo.terminate()
        demo.wait(20)
    assert _processes(environment) == []
    assert list(Path(environment["TMPDIR"]).iterdir()) == []


def test_a_demo_that_does_not_see_a_step_fails_and_says_which(environment: dict[str, str], tmp_path: Path) -> None:
    blind = tmp_path / "sabotage"
    blind.mkdir()
    (blind / "cp").symlink_to("/bin/false")
    environment["PATH"] = f"{blind}:{environment['PATH']}"
    done = subprocess.run(DEMO, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1
    assert "The demo ends here: the command failed" in done.stderr
    assert _processes(environment) == []


def test_the_published_client_as_mended_refuses_an_impostor_and_keeps_the_message(tmp_path: Path) -> None:
    with EximServer() as server, EximServer() as impostor:
        home = server.directory / "client"
        make(home, "laptop.example")
        client = EximClient(home, server, "laptop.example")
        for port, outcome in ((impostor.port, "certificate verification failed"), (server.port, "550")):
            command = [str(EXIM), "-C", str(client.configuration), f"-DSERVER_PORT={port}", "bob@remote.example"]
            subprocess.run(command, input=b"Subject: hello\n\n", check=True)
            until(lambda: any(outcome in line for line in client.outcomes("bob@remote.example")), outcome)  # noqa: B023
        assert impostor.delivered() == ""
        assert sum(" == " in line for line in client.outcomes("bob@remote.example")) == 1
