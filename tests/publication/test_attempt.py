"""One attempt at a publication: what is asked for in which order, and how each answer ends it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from lab.publisher import TwinPrograms

from eximcertd.fingerprint import Fingerprint
from eximcertd.publication.attempt import Attempt, Wanted, identity, publish, replaced
from eximcertd.publish.request import Answer, Found, Request
from eximcertd.reload.request import DIED, INVALID, LOADED, NOT_LOADED, SKIPPED, VALID, DaemonState, ReloadAnswer

ONE, TWO = (Fingerprint(f"{n:064X}") for n in (1, 2))
ALLOWED = Path("/var/lib/eximcertd/allowed")
NOWHERE = ("", 0, 0)


class Programs:
    """Twins of the two programs that give prepared answers first. asked: every request, whole."""

    def __init__(self, directory: Path) -> None:
        self.twins = TwinPrograms(directory / "macro")
        self.asked: list[Request] = []
        self.reloads: dict[str, ReloadAnswer] = {}
        self.writes: dict[str, Answer] = {}

    async def publish(self, request: Request) -> Answer:
        self.asked.append(request)
        return self.writes.get(request.action.split()[0]) or await self.twins.publish(request)

    async def reload(self, request: Request) -> ReloadAnswer:
        self.asked.append(request)
        return self.reloads.get(request.action.split()[0]) or await self.twins.reload(request)

    def attempt(self, *fingerprints: Fingerprint, confirmed: tuple[str, int, int] = NOWHERE) -> Attempt:
        """Make an attempt; forget what was asked before."""
        self.asked.clear()
        wanted = Wanted("list", fingerprints, ALLOWED)
        return asyncio.run(publish(self, wanted, self.twins.found(), confirmed))

    def actions(self) -> list[str]:
        """Return the verbs that were asked for."""
        return [request.action.split()[0] for request in self.asked]


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path)


def test_a_list_is_validated_written_over_the_file_that_was_seen_and_loaded(programs: Programs) -> None:
    seen = programs.twins.found().digest
    live = programs.attempt(ONE, TWO)
    digest = Wanted("list", (ONE, TWO), ALLOWED).value_digest()
    assert programs.asked == [
        Request("validate list", None, (ONE, TWO)),
        Request("write list", seen, (ONE, TWO)),
        Request(f"load {digest}"),
    ]
    found = programs.twins.found()
    assert live == Attempt("live", found=found, file=str(programs.twins.path), daemons=(DaemonState(1, 1.0),))
    assert found.digest == Wanted("list", (ONE, TWO), ALLOWED).file_digest("RELAY_FROM_CERTS", ())


def test_a_file_that_stands_and_was_confirmed_is_checked_and_not_loaded(programs: Programs) -> None:
    live = programs.attempt(ONE)
    assert live.found is not None
    assert programs.attempt(ONE, confirmed=identity(live.found)).live
    assert programs.actions() == ["write", "check"]
    assert programs.attempt(ONE, confirmed=("", *identity(live.found)[1:])).live
    assert programs.actions() == ["write", "load"]


def test_a_file_with_an_entry_that_exim_does_not_match_does_not_stand() -> None:
    found = Found("list", (TWO, ONE))
    wanted = Wanted("list", (ONE, TWO), ALLOWED)
    assert wanted.matches(found)
    assert not wanted.matches(found._replace(corrected=(ONE,)))
    assert not wanted.matches(found._replace(dropped=(ONE,)))
    assert not wanted.matches(found._replace(form="directory"))
    assert not Wanted("list", (ONE,), ALLOWED).matches(found)
    assert Wanted("directory", (), ALLOWED).matches(Found("directory"))


@pytest.mark.parametrize("outcome", [VALID, SKIPPED])
def test_a_list_that_cannot_be_validated_before_is_written_all_the_same(programs: Programs, outcome: str) -> None:
    programs.reloads["validate"] = ReloadAnswer(outcome)
    assert programs.attempt(ONE).live


def test_a_list_that_exim_rejects_is_not_written(programs: Programs) -> None:
    programs.reloads["validate"] = ReloadAnswer(INVALID, "validate", "no", "words", "DB")
    before = programs.twins.found()
    told = programs.attempt(ONE)
    assert programs.actions() == ["validate"]
    assert told == Attempt(INVALID, "validate", "no", "words", before, rewritten_by="DB")


@pytest.mark.parametrize(
    "answer",
    [Answer("refused", "limits", "too many", retry_after=2.5, file="/f"), Answer("done", found=None)],
    ids=["refused", "done, and what stands is not known"],
)
def test_a_write_that_is_not_done_ends_it(programs: Programs, answer: Answer) -> None:
    programs.writes["write"] = answer
    told = programs.attempt(ONE)
    assert programs.actions() == ["validate", "write"]
    assert (told.outcome, told.step, told.message) == (answer.outcome, answer.step, answer.message)
    assert (told.retry_after, told.file, told.found) == (answer.retry_after, answer.file, None)


@pytest.mark.parametrize(
    ("outcome", "restored"), [(INVALID, True), (DIED, True), (NOT_LOADED, False), ("unknown", False)]
)
def test_the_previous_list_is_restored_where_exim_does_not_accept_the_new_one(
    programs: Programs, outcome: str, restored: bool
) -> None:
    programs.attempt(ONE)
    programs.reloads["load"] = ReloadAnswer(outcome, "reload", "It is wrong.")
    told = programs.attempt(ONE, TWO)
    assert told.outcome == outcome
    assert ("restore" in programs.actions()) is restored
    assert programs.twins.fingerprints == ((ONE,) if restored else (ONE, TWO))
    assert told.found == programs.twins.found()
    assert told.message == ("It is wrong. The previous list was restored." if restored else "It is wrong.")
    if restored:
        written = Wanted("list", (ONE, TWO), ALLOWED).file_digest("RELAY_FROM_CERTS", ())
        assert programs.asked[-1] == Request("restore", written)


def test_a_list_that_was_there_before_is_not_taken_back(programs: Programs) -> None:
    programs.attempt(ONE)
    programs.reloads["load"] = ReloadAnswer(INVALID, "validate", "no")
    assert programs.attempt(ONE).message == "no"
    assert programs.actions() == ["write", "load"]


def test_a_list_that_could_not_be_restored_is_told(programs: Programs) -> None:
    programs.reloads["load"] = ReloadAnswer(DIED, "reload", "EXIM IS DOWN.")
    programs.writes["restore"] = Answer("failed", "restore", "no space")
    told = programs.attempt(ONE)
    assert told.message == "EXIM IS DOWN. NOT restored: no space"
    assert (told.outcome, told.found) == (DIED, None)


def test_a_loaded_list_is_live_and_so_is_one_where_exim_does_not_run() -> None:
    assert [Attempt(outcome).live for outcome in ("live", "not-running", LOADED, NOT_LOADED)] == [
        True,
        True,
        False,
        False,
    ]


def test_a_file_is_another_one_when_inode_or_change_time_differ_or_it_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "relay_from_certs"
    file.touch()
    status = file.stat()
    found = Found("list", inode=status.st_ino, ctime_ns=status.st_ctime_ns)
    assert not replaced(file, found)
    assert replaced(file, found._replace(inode=1))
    assert replaced(file, found._replace(ctime_ns=1))
    file.unlink()
    assert replaced(file, found)
    assert not replaced(file, Found("absent"))
    assert not replaced(None, found)
    assert not replaced(file, None)
    assert not replaced(Path("/dev/null/x"), found), "what cannot be looked at is not known to be another one"


@pytest.mark.parametrize(("number", "first"), [(477, "validate"), (478, "write")])
def test_a_list_that_is_too_long_for_exims_command_line_is_validated_once_it_is_written(
    programs: Programs, number: int, first: str
) -> None:
    assert programs.attempt(*(Fingerprint(f"{n:064X}") for n in range(number))).live
    assert programs.actions()[0] == first
