"""What root decided while eximcertd was down is taken once, whole, and from a file that only root can have written."""

from __future__ import annotations

import json
import os
import pwd
from typing import TYPE_CHECKING, Any

import pytest
from lab.deciding import decide
from lab.records import Records
from lab.strace import run_traced

from eximcertd.decisions.decide import Decider
from eximcertd.decisions.offline import take_offline_decisions
from eximcertd.errors import LedgerError
from eximcertd.events import Event
from eximcertd.fingerprint import Fingerprint
from eximcertd.ledger import Ledger
from eximcertd.ledger.authorities import Enrolment
from eximcertd.ledger.decisions import Decision
from eximcertd.ledger.identities import Identity
from eximcertd.log.sighting import Sighting
from eximcertd.status import Status, Verb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ONE, TWO, THREE = (Fingerprint(f"{n:08X}".ljust(64, "0")) for n in (1, 2, 3))


class Offline:
    """A ledger, and root's file beside it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file, self.taken = directory / "offline", directory / "taken"
        self.open("ledger")

    def open(self, name: str) -> None:
        """Go on with a ledger of this name, a new one if there is none."""
        (self.directory / name).mkdir(exist_ok=True)
        self.ledger, self.records = Ledger(self.directory / name), Records()

    def write(self, *fingerprints: Fingerprint, **fields: Any) -> None:
        """Append a revocation of each."""
        with self.file.open("a") as file:
            for one in fingerprints:
                decision = {"request": f"r{one[:8]}", "verb": "revoke", "fingerprint": one, "by": "root"}
                file.write(json.dumps({**decision, "at": "2026-01-02T03:04:05.678Z", "note": "lost", **fields}) + "\n")

    def take(self) -> None:
        """Start with the file."""
        take_offline_decisions(self.file, self.taken, self.ledger, Decider(self.ledger, self.records))

    def status(self, *fingerprints: Fingerprint) -> list[Status]:
        """Return the status of each."""
        return [self.ledger.entries.get(one).status for one in fingerprints]


@pytest.fixture
def offline(tmp_path: Path) -> Iterator[Offline]:
    offline = Offline(tmp_path)
    yield offline
    offline.ledger.close()


def test_the_next_certificate_of_a_client_that_an_authority_had_approved_stays_refused_too(offline: Offline) -> None:
    ledger, authority = offline.ledger, Fingerprint("AB" * 32)
    ledger.sightings.record("f", "1", [Sighting(ONE, 1, 1, 1)], lambda _: True)
    row = Identity(ONE, "key", "CN=laptop", "CN=Site CA", 1 << 44, 1)
    ledger.authorities.enrol([Enrolment(authority, 1, ("Laptop.example",), row)], 1)
    offline.write(ONE)
    for _ in range(2):  # at each start
        offline.take()
    assert offline.status(ONE) == [Status.REVOKED]
    for value in (("key", "key"), ("name", "laptop.example"), ("subject", "cn=laptop")):
        assert ledger.denials.denied([value])


def test_a_decision_is_kept_with_who_when_and_why(offline: Offline) -> None:
    decide(offline.ledger, Verb.APPROVE, ONE)
    offline.write(ONE)
    offline.take()
    [(_, taken)] = offline.ledger.decisions.newest(limit=1)
    assert taken == Decision(ONE, Verb.REVOKE, "root", 1_767_323_045_678, "lost", "r00000001")
    assert offline.records.events() == [Event.REVOKED]


@pytest.mark.parametrize("at", ["2026-01-02T03:04:05.678", "2026-01-02T05:04:05.678+02:00"])
def test_a_time_without_a_zone_is_utc_and_one_with_a_zone_is_converted(offline: Offline, at: str) -> None:
    offline.write(ONE, at=at, note=None)
    offline.take()
    [(_, taken)] = offline.ledger.decisions.newest(limit=1)
    assert (taken.at, taken.note) == (1_767_323_045_678, "")


def test_what_was_taken_is_not_taken_again_and_what_was_added_is(offline: Offline) -> None:
    decide(offline.ledger, Verb.APPROVE, ONE, TWO)
    offline.write(ONE)
    offline.take()
    decide(offline.ledger, Verb.APPROVE, ONE)
    offline.write(TWO)
    offline.take()
    assert offline.status(ONE, TWO) == [Status.APPROVED, Status.REVOKED]
    assert offline.taken.read_text() == str(offline.file.stat().st_size)


def test_a_restored_ledger_takes_what_it_lacks_and_a_new_one_only_what_no_ledger_has_taken(offline: Offline) -> None:
    offline.write(ONE)
    offline.take()
    offline.ledger.close()
    offline.open("restored")
    decide(offline.ledger, Verb.APPROVE, THREE)
    offline.take()
    assert offline.status(ONE) == [Status.REVOKED]
    offline.ledger.close()
    offline.open("new")
    offline.write(TWO)
    offline.take()
    assert offline.status(ONE, TWO) == [Status.UNSEEN, Status.REVOKED]


def test_a_new_ledger_takes_all_of_a_file_that_is_shorter_than_what_was_taken(offline: Offline) -> None:
    offline.write(ONE)
    offline.taken.write_text("1000000")
    offline.take()
    assert offline.status(ONE) == [Status.REVOKED]
    assert offline.taken.read_text() == str(offline.file.stat().st_size)


def test_without_a_file_nothing_is_decided_and_nothing_written(offline: Offline) -> None:
    offline.take()
    assert offline.ledger.decisions.newest() == []
    assert not offline.taken.exists()


def test_a_line_that_was_cut_is_no_decision(offline: Offline) -> None:
    offline.write(ONE, TWO)
    whole = offline.file.read_bytes()
    offline.file.write_bytes(whole[:-1])
    offline.take()
    assert offline.status(ONE, TWO) == [Status.REVOKED, Status.UNSEEN]
    assert offline.taken.read_text() == str(whole.index(b"\n") + 1)


@pytest.mark.parametrize(
    "line", ["{", "[]", "{}", '{"fingerprint": "AA"}', f'{{"at": "2026-01-02", "verb": "x", "fingerprint": "{ONE}"}}']
)
def test_a_line_that_is_no_decision_is_named_and_no_other_is_taken(offline: Offline, line: str) -> None:
    offline.write(ONE)
    with offline.file.open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(LedgerError, match=r"line 2 is not a decision") as told:
        offline.take()
    assert str(offline.file) in str(told.value)
    assert told.value.hint == "Look at the file as root."
    assert offline.status(ONE) == [Status.UNSEEN]
    assert not offline.taken.exists()


def test_the_number_of_a_wrong_line_counts_those_that_were_taken(offline: Offline) -> None:
    offline.write(ONE, TWO)
    offline.taken.write_text(str(offline.file.stat().st_size))
    with offline.file.open("a") as file:
        file.write("x\n")
    with pytest.raises(LedgerError, match="line 3 is not a decision"):
        offline.take()


def _link(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


def _fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o600)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(_link, id="a link"),
        pytest.param(_fifo, id="a fifo"),
        pytest.param(lambda file: file.chmod(0o664), id="writable by its group"),
        pytest.param(lambda file: file.chmod(0o646), id="writable by everybody"),
        pytest.param(lambda file: os.chown(file, pwd.getpwnam("nobody").pw_uid, 0), id="another user's"),
    ],
)
def test_a_file_that_others_could_have_written_is_not_taken(offline: Offline, spoil: Callable[[Path], object]) -> None:
    offline.write(ONE)
    spoil(offline.file)
    with pytest.raises(LedgerError, match="decisions made offline cannot be taken"):
        offline.take()
    assert offline.status(ONE) == [Status.UNSEEN]


def test_a_file_that_is_too_large_to_be_read_whole_is_not_taken(offline: Offline) -> None:
    offline.write(ONE)
    os.truncate(offline.file, (16 << 20) + 1)
    with pytest.raises(LedgerError, match="larger than 16 MiB"):
        offline.take()
    assert offline.status(ONE) == [Status.UNSEEN]
    os.truncate(offline.file, 16 << 20)
    offline.take()
    assert offline.status(ONE) == [Status.REVOKED]


@pytest.mark.parametrize("mode", [0o644, 0o600, 0o755])
def test_a_file_of_roots_that_others_can_read_is_taken(offline: Offline, mode: int) -> None:
    offline.write(ONE)
    offline.file.chmod(mode)
    offline.take()
    assert offline.status(ONE) == [Status.REVOKED]


def test_how_much_was_taken_is_on_the_disk_before_it_has_its_name_and_after_the_ledger(offline: Offline) -> None:
    offline.write(ONE)
    offline.ledger.close()

    def take() -> None:
        offline.open("ledger")
        offline.take()

    calls, status = run_traced(take)
    offline.open("ledger")
    assert (status, offline.status(ONE)) == (0, [Status.REVOKED])
    names = [call.name for call in calls]
    renamed = next(at for at, call in enumerate(calls) if call.name.startswith("rename") and "taken" in call.text)
    assert names[renamed - 2 : renamed] == ["write", "fsync"]
    assert "pwrite64" in names[:renamed], "the ledger was written first"
    assert "pwrite64" not in names[renamed:]


def test_where_it_cannot_be_written_down_the_reason_is_told(offline: Offline) -> None:
    offline.write(ONE)
    offline.taken.mkdir()
    with pytest.raises(LedgerError, match=r"taken: cannot be written: Is a directory"):
        offline.take()
