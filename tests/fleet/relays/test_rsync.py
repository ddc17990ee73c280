"""What docs/fleet.md sets up for a fleet by files: rsync over ssh, with keys that can read one directory."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import pytest
from lab.home import Home
from lab.network import Network
from lab.rsync import Place, serve, settings
from lab.wait import until

from eximcertd.fingerprint import Fingerprint
from eximcertd.fleet.directory import DirectoryRelaySide
from eximcertd.fleet.remote import Report

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from eximcertd.acts.act import Head

A, B = (Fingerprint(digit * 64) for digit in "AB")
NAMES: Final = ("mx1", "mx2", "mx3")


class Fleet:
    """The home relay mx1, and two that fetch from it. No Exim and no eximcertd runs."""

    def __init__(self, base: Path, network: Network, stack: ExitStack) -> None:
        self.home: Final = Home(base)
        of = {name: base / name / "fleet" for name in NAMES} | {"mx1": self.home.directory}
        self.places: Final = {name: Place(name, network[name], of[name], base / name) for name in NAMES}
        serve(stack, self.places)
        self.sides: Final = {name: self._side(place) for name, place in self.places.items()}

    def _side(self, place: Place) -> DirectoryRelaySide:
        pull = settings(place, home=place.name == "mx1").get("pull", ())
        return DirectoryRelaySide(self.home.settings(place.name, pull=pull, directory=place.directory))

    def head(self, name: str) -> Head:
        """Have a relay fetch the acts, and return the last one."""
        return self.places[name].host.inside(self.sides[name].head)

    def reported(self) -> set[str]:
        """Return the relays whose reports are on mx1."""
        return {state.name for state in self.home.desk().relays() if state.report and state.report.version}

    def served(self, name: str) -> int:
        """Return how often somebody has logged in on a relay."""
        return (self.places[name].own / "sshd-output").read_text().count("Accepted publickey")

    def rsync(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run rsync on a relay, with its key."""
        place = self.places[name]
        command = [*place.host.enter, "rsync", "-e", f"ssh -F {place.own}/ssh", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Set it up as the page says."""
    with Network(*NAMES) as network, ExitStack() as stack:
        yield Fleet(tmp_path_factory.mktemp("fleet"), network, stack)


def test_acts_reach_the_other_relays_and_their_reports_the_home_relay(fleet: Fleet) -> None:
    fleet.home.act("approve", A)
    for name in ("mx2", "mx3"):
        assert fleet.head(name) == fleet.home.desk().head()
        fleet.sides[name].report(Report("0.1.0", 1, 1, 0, 1))
    until(lambda: fleet.reported() == {"mx2", "mx3"}, "both reports are there", limit=30)


def test_what_the_home_relay_has_lost_is_kept_on_the_others(fleet: Fleet) -> None:
    lost = fleet.home.act("approve", B)
    assert fleet.head("mx2").generation == lost.generation
    for end in ("", ".sig"):
        fleet.home.file(lost.generation, end).unlink()
    assert fleet.head("mx2").generation == lost.generation - 1
    removed = fleet.places["mx2"].directory / "acts.removed"
    assert sorted(file.name for file in removed.iterdir()) == [
        f"{lost.generation:08d}.act",
        f"{lost.generation:08d}.act.sig",
    ]
    for file in removed.iterdir():
        file.rename(fleet.home.directory / "acts" / file.name)
    assert fleet.head("mx3").generation == lost.generation


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("{fleet}/acts/00000001.act", "root@mx1.example.org:"),
        ("root@mx1.example.org:../relays/mx3.json", "{fleet}/"),
        ("root@mx1.example.org:/etc/passwd", "{fleet}/"),
        ("root@mx3.example.org:mx3.json", "{fleet}/"),
    ],
)
def test_a_key_reads_one_directory_and_writes_none(fleet: Fleet, source: str, target: str) -> None:
    there = fleet.places["mx2"].directory
    before = sorted(there.iterdir())
    assert fleet.rsync("mx2", source.format(fleet=there), target.format(fleet=there)).returncode
    assert sorted(there.iterdir()) == before


def test_a_key_runs_no_other_program(fleet: Fleet) -> None:
    place = fleet.places["mx2"]
    command = [*place.host.enter, "ssh", "-F", str(place.own / "ssh"), "root@mx1.example.org", "id"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode
    assert "uid=" not in done.stdout


def test_a_link_or_a_large_file_in_the_place_of_a_report_is_not_fetched(fleet: Fleet) -> None:
    report = fleet.places["mx3"].directory / "relays/mx3.json"
    report.unlink()
    report.symlink_to("/etc/passwd")
    (fleet.places["mx2"].directory / "relays/mx2.json").write_bytes(b" " * (9 << 20))
    for name in ("mx2", "mx3"):
        asked = fleet.served(name)
        until(lambda: fleet.served(name) > asked + 2, f"{name} is asked again", limit=60)  # noqa: B023 - called at once
    assert fleet.reported() == {"mx2", "mx3"}, "what they reported before is there"
