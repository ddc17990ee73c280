"""How a relay fetches the directory of its fleet."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from eximcertd.fingerprint import Fingerprint
from eximcertd.fleet.directory import DirectoryRelaySide
from eximcertd.fleet.remote import RemoteError

if TYPE_CHECKING:
    from lab.home import Home

B = Fingerprint("B" * 64)


def fetching(home: Home, command: str) -> DirectoryRelaySide:
    """Return a relay whose directory is fetched by a command of the shell."""
    there = home.base / "copy"
    there.mkdir(exist_ok=True)
    return DirectoryRelaySide(home.settings("mx2", pull=["/bin/sh", "-c", command], directory=there))


def test_a_relay_fetches_the_directory_before_it_looks(two: Home) -> None:
    relay = fetching(two, f"cp -a {two.directory}/acts {two.base}/copy/")
    assert relay.head().generation == 2
    two.act("approve", B)
    assert relay.head().generation == 3
    assert not relay.wait(0)


def test_a_relay_follows_a_repository_of_git(two: Home) -> None:
    there = two.base / "copy"
    git = ["/usr/bin/git", "-c", "user.name=alice", "-c", "user.email=alice@example.org", "-C", str(two.directory)]

    def commit() -> None:
        for command in ["add", "acts"], ["commit", "-q", "-m", "acts"]:
            subprocess.run([*git, *command], check=True)

    subprocess.run([*git, "init", "-q"], check=True, capture_output=True)
    commit()
    subprocess.run(["/usr/bin/git", "clone", "-q", two.directory, there], check=True)
    pull = ["/usr/bin/git", "-C", str(there), "pull", "-q", "--ff-only"]
    relay = DirectoryRelaySide(two.settings("mx2", pull=pull, directory=there))
    assert relay.head().generation == 2
    two.act("approve", B)
    commit()
    assert relay.head() == two.desk().head()
    assert relay.acts(0, 10) == two.desk().acts(0, 10)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("echo '\033[1mno route to host' >&2; exit 12", r"exit status 12: \\x1b\[1mno route to host"),
        ("kill -9 $$", "exit status -9"),
        ("exec sleep 1000", "timed out after 0.5 s and was killed"),
        ("sleep 1000 & echo x", "timed out after 0.5 s and was killed"),
    ],
)
def test_a_fetch_that_fails_or_hangs_is_told(
    two: Home, command: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eximcertd.fleet.directory.PULL_LIMIT", 0.5)
    with pytest.raises(RemoteError, match=told):
        fetching(two, command).head()


def test_a_fetch_whose_program_is_missing_is_told(two: Home) -> None:
    relay = DirectoryRelaySide(two.settings("mx2", pull=["/nowhere/rsync"]))
    with pytest.raises(RemoteError, match="/nowhere/rsync cannot be run: No such file"):
        relay.head()
