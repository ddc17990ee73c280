"""A fleet in a directory of files: what is written, and what becomes of files that are not what they should be."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import threading
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lab.fleet import next_act
from lab.home import Home

from eximcertd.acts.act import Head
from eximcertd.acts.signature import ActSignatureError
from eximcertd.errors import EximcertdError
from eximcertd.fingerprint import Fingerprint, of_der
from eximcertd.fleet.directory import DirectoryDesk, DirectoryRelaySide
from eximcertd.fleet.relay_file import LARGEST_FILE, MOST_SIGHTED
from eximcertd.fleet.remote import ActRefusedError, MovedError, OwnDecision, RemoteError, Report, Sighted

if TYPE_CHECKING:
    from collections.abc import Callable

A, B, C = (Fingerprint(digit * 64) for digit in "ABC")
REPORT = Report("0.1.0", 1, 1, 0, 1_700_000_000_000)
DER = b"not looked into here"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Make a fleet in which nothing is decided."""
    return Home(tmp_path)


@pytest.fixture
def two(home: Home) -> Home:
    """Make a fleet with two acts."""
    home.act("approve", A)
    home.act("revoke", A, by="bob")
    return home


def own(verb: str, fingerprint: Fingerprint = A) -> OwnDecision:
    return OwnDecision("mx2", str(uuid.uuid4()), fingerprint, verb, "carol", 1, "lost laptop", 0)


def test_where_the_acts_are_a_copy_no_act_is_made(home: Home) -> None:
    act = home.signed(next_act(Head(), "approve", A))
    desk = DirectoryDesk(home.settings(pull=["/bin/true"]), home.key("alice"))
    for failing in (desk.who, lambda: desk.decide(act)):
        with pytest.raises(ActRefusedError, match=r"is a copy, which \[fleet\] pull fetches: no act is made here"):
            failing()
    assert list(desk.acts(0, 10)) == []


def test_a_new_fleet_has_no_act_and_no_relay(home: Home) -> None:
    assert home.relay().head() == Head()
    assert list(home.relay().acts(0, 10)) == []
    assert list(home.desk().relays()) == []
    assert list(home.desk().pending(10)) == []


def test_a_relay_reads_what_people_have_decided(two: Home) -> None:
    acts = two.relay().acts(0, 10)
    assert [(act.verb, act.by, act.fingerprints) for act in acts] == [
        ("approve", "alice", (A,)),
        ("revoke", "bob", (A,)),
    ]
    assert two.relay().head() == Head(2, acts[1].hash())
    assert list(two.relay().acts(1, 10)) == [acts[1]]
    assert [act.generation for act in two.relay().acts(0, 1)] == [1]


def test_ssh_keygen_alone_verifies_what_the_directory_has(two: Home) -> None:
    signers, signature = str(two.signers), str(two.file(2, ".sig"))
    verify = ["-Y", "verify", "-n", "eximcertd-fleet", "-I", "bob", "-f", signers, "-s", signature]
    with two.file(2).open("rb") as text:
        subprocess.run(["/usr/bin/ssh-keygen", *verify], stdin=text, check=True)


def test_a_desk_knows_the_person_by_the_key(two: Home) -> None:
    assert two.desk("bob").who() == "bob"
    (two.base / "signers").write_text("")
    with pytest.raises(EximcertdError, match="may not decide"):
        two.desk("bob").who()


def test_of_two_desks_that_decide_at_once_one_is_told_to_build_the_act_again(two: Home) -> None:
    acts = [two.signed(next_act(two.desk().head(), "approve", one)) for one in (A, B)]
    start, told = threading.Barrier(2), []

    def decide(number: int) -> None:
        desk = two.desk()
        desk.head()
        start.wait()
        try:
            desk.decide(acts[number])
        except MovedError:
            told.append(number)

    threads = [threading.Thread(target=decide, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 1
    kept = acts[1 - told[0]]
    assert two.desk().head() == Head(3, kept.hash())
    assert [act.signature for act in two.relay().acts(2, 9)] == [kept.signature]


def test_a_desk_that_died_between_its_two_files_leaves_nothing_behind_that_counts(two: Home) -> None:
    two.file(3, ".sig").write_text("a signature whose act was never written")
    assert two.relay().head().generation == 2
    two.act("approve", B)
    assert two.relay().acts(2, 1)[0].fingerprints == (B,)


@pytest.mark.parametrize(("by", "key"), [("alice", "bob"), ("mallory", "alice")])
def test_a_decision_with_a_wrong_signature_is_not_written(two: Home, by: str, key: str) -> None:
    desk = two.desk()
    with pytest.raises(ActSignatureError):
        desk.decide(two.signed(next_act(desk.head(), "approve", A, by=by), key))
    with pytest.raises(ActSignatureError, match="not signed"):
        desk.decide(next_act(desk.head(), "approve", A))
    assert two.desk().head().generation == 2


def test_the_rules_hold_at_the_desk(two: Home) -> None:
    with pytest.raises(ActRefusedError, match="was never approved"):
        two.act("revoke", B)
    two.relay("mx2").tell([])
    relay = two.relay("mx2")
    relay.tell([against := own("revoke")])
    relay.report(REPORT)
    with pytest.raises(ActRefusedError, match=against.id):
        two.act("approve", A)
    two.act("approve", A, settles=[against.id])
    assert list(two.desk().own()) == []  # before mx2 has taken the act


def test_asked_for_again_a_request_is_found(two: Home) -> None:
    act = two.relay().acts(1, 1)[0]
    assert two.desk().of_request(act.request) == act
    desk = two.desk()
    with pytest.raises(MovedError, match="this request is act 2 already"):
        desk.decide(two.signed(replace(next_act(desk.head(), "approve", B), request=act.request)))
    assert two.desk().of_request(str(uuid.uuid4())) is None
    assert two.desk().newest([A, B]) == {A: act}


def spoil(text: bytes) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.write_bytes(text)

    return change


def link_to_a_secret(path: Path) -> None:
    secret = path.parent.parent / "secret"
    path.rename(secret)
    path.symlink_to(secret)


def make_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def tear(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 20)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (tear, "malformed"),
        (spoil(b""), "malformed"),
        (spoil(b"\xff" * 100), "malformed"),
        (spoil(b"A" * (2 << 20)), "larger than 1048576 bytes"),
        (link_to_a_secret, "symbolic link, which is not followed"),
        (make_a_pipe, "not a regular file"),
        (Path.unlink, "is missing, though there is an act 2"),
        (lambda path: path.write_bytes(path.with_name("00000002.act").read_bytes()), "it is act 2"),
    ],
)
def test_an_act_that_cannot_be_read_stops_there_and_is_named(
    two: Home, change: Callable[[Path], None], told: str
) -> None:
    change(two.file(1))
    with pytest.raises(RemoteError, match=f"00000001.act.*({told})"):
        two.relay().acts(0, 10)
    assert [act.generation for act in two.relay().acts(1, 10)] == [2]  # a relay that has act 1 goes on
    with pytest.raises(RemoteError):
        two.act("approve", C)


@pytest.mark.parametrize("change", [tear, spoil(b"A" * (2 << 20)), link_to_a_secret, make_a_pipe])
def test_a_signature_that_cannot_be_read_is_named(two: Home, change: Callable[[Path], None]) -> None:
    change(two.file(1, ".sig"))
    with pytest.raises(RemoteError, match=r"00000001\.act"):
        two.relay().acts(0, 10)


def test_a_signature_that_is_not_there_yet_is_waited_for(two: Home) -> None:
    two.file(2, ".sig").unlink()
    assert two.relay().head().generation == 1
    assert [act.generation for act in two.relay().acts(0, 10)] == [1]


def test_an_edited_act_breaks_the_chain_at_the_desk(two: Home) -> None:
    other = two.signed(next_act(Head(), "approve", B))
    two.file(1).write_bytes(other.text())
    with pytest.raises(RemoteError, match="act 2 does not follow act 1"):
        two.desk().head()


def test_other_files_in_the_directory_are_ignored(two: Home) -> None:
    for name in ("README", "1.act", "00000009.act~", ".00000003.act.Xy12", "00000003.act.sig", "000000003.act"):
        (two.directory / "acts" / name).write_text("x")
    (two.directory / "acts/.git").mkdir()
    assert two.relay().head().generation == 2


def test_a_directory_that_vanishes_is_an_error_and_comes_back(two: Home) -> None:
    relay = two.relay()
    acts = two.directory / "acts"
    acts.rename(aside := two.base / "aside")
    assert relay.head() == Head()  # a directory without acts: it says nothing of what was lost
    two.directory.rename(gone := two.base / "gone")
    for call in (relay.head, lambda: relay.acts(0, 1), lambda: relay.report(REPORT), two.desk().relays):
        with pytest.raises(RemoteError, match="No such file or directory"):
            call()
    gone.rename(two.directory)
    acts.symlink_to(aside)
    with pytest.raises(RemoteError, match="symbolic link"):
        relay.head()
    acts.unlink()
    aside.rename(acts)
    assert relay.head().generation == 2


def test_a_relay_tells_what_it_has_and_the_desk_reads_it(two: Home) -> None:
    fingerprint = of_der(DER)
    relay = two.relay("mx2")
    relay.tell([decision := own("reject", B)])
    relay.sight([seen := Sighted("mx2", fingerprint, 3, 1, 2, "[192.0.2.7]", "laptop", "a@x", "b@y", DER)])
    relay.sight([later := replace(seen, attempts=4, last_seen=9, der=None)])
    relay.sight([Sighted("mx2", C, 1, 0, 99)])
    relay.report(REPORT)
    desk = two.desk()
    assert list(desk.own()) == [decision]
    assert list(desk.own([A])) == list(desk.own([])) == []
    assert [one.fingerprint for one in desk.pending(9)] == [fingerprint, C]
    assert list(desk.sighted([fingerprint])) == [replace(later, der=DER)]
    assert list(desk.matching(fingerprint[:8])) == [fingerprint]
    (state,) = desk.relays()
    assert (state.name, state.report, state.skew, state.dropped) == ("mx2", REPORT, 0, 0)
    assert state.seen_at is not None
    assert abs(state.seen_at - time.time() * 1000) < 60_000


def test_the_clock_of_a_relay_that_is_ahead_is_told(two: Home) -> None:
    two.relay("mx2").report(replace(REPORT, clock=time.time_ns() // 1_000_000 + 3_600_000))
    assert 3_500_000 < two.desk().relays()[0].skew < 3_600_001


def test_of_too_many_waiting_clients_the_newest_with_a_certificate_are_reported_and_the_rest_counted(two: Home) -> None:
    relay = two.relay("mx2")
    every = [Sighted("mx2", Fingerprint(f"{number:064X}"), 1, 0, number) for number in range(MOST_SIGHTED + 7)]
    relay.sight([Sighted("mx2", of_der(DER), 1, 0, 0, der=DER)])
    for start in range(0, len(every), 500):
        relay.sight(every[start : start + 500])
    relay.report(REPORT)
    desk = two.desk()
    assert desk.relays()[0].dropped == 8
    pending = desk.pending(2000)
    assert len(pending) == MOST_SIGHTED
    assert [one.fingerprint for one in pending[:2]] == [of_der(DER), every[-1].fingerprint]


def test_certificates_do_not_make_the_file_too_large_to_be_read(two: Home) -> None:
    relay = two.relay("mx2")
    ders = [bytes([number % 251, number // 251]) * 8000 for number in range(400)]
    relay.sight([Sighted("mx2", of_der(der), 1, 0, 5, der=der) for der in ders])
    relay.tell([own("reject", Fingerprint(f"{number:064X}")) for number in range(12_000)])
    relay.report(REPORT)
    assert (two.directory / "relays/mx2.json").stat().st_size < LARGEST_FILE
    assert 100 < len(two.desk().pending(1000)) < 400
    assert len(two.desk().own()) == 10_000


def hostile(**changes: Any) -> bytes:
    """Return a relay's file in which some values are others."""
    file = {
        "report": {"version": "1", "received": 1, "live": 1, "own": 0, "clock": 5, "problem": "", "dropped": 0},
        "dropped": 0,
        "own": [
            {"id": "i", "fingerprint": A, "verb": "reject", "by": "c", "at": 1, "note": "", "base": 0, "lost": False}
        ],
        "sighted": [
            {"fingerprint": B, "attempts": 1, "first_seen": 1, "last_seen": 2, "der": None}
            | dict.fromkeys(("host", "helo", "sender", "recipient"))
        ],
    }
    for path, value in changes.items():
        *parts, last = path.split("__")
        inner: Any = file
        for part in parts:
            inner = inner[part] if isinstance(inner, dict) else inner[0]
            inner = inner[0] if isinstance(inner, list) else inner
        inner[last] = value
    return json.dumps(file).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"report":' + b"9" * 5000 + b"}",
        b" " * (LARGEST_FILE + 1),
        hostile(report=None),
        hostile(report__version=7),
        hostile(report__version="x" * 1001),
        hostile(report__received=-1),
        hostile(report__live=True),
        hostile(report__clock=1 << 70),
        hostile(report__clock=1.5),
        hostile(own__verb="authorize"),
        hostile(own__verb="see"),
        hostile(own__verb="become root"),
        hostile(own__fingerprint="a" * 64),
        hostile(own__note=["x"]),
        hostile(own=[{}]),
        hostile(own={}),
        hostile(sighted__fingerprint=5),
        hostile(sighted__helo="x" * 1001),
        hostile(sighted__der="not base64!"),
        hostile(sighted__der="QQ=="),
        hostile(sighted=[None] * (MOST_SIGHTED + 1)),
    ],
)
def test_the_file_of_a_hostile_relay_is_its_own_problem_and_no_others(two: Home, raw: bytes) -> None:
    two.relay("mx2").report(REPORT)
    (two.directory / "relays/mx3.json").write_bytes(raw)
    good, bad = two.desk().relays()
    assert (good.name, good.report) == ("mx2", REPORT)
    assert bad.report is not None
    assert bad.report.problem.startswith("mx3.json: it is")
    assert bad.report.problem.isprintable()
    assert bad.seen_at is None
    assert list(two.desk().own()) == []


def test_what_a_hostile_relay_says_is_cut_to_what_can_be(two: Home) -> None:
    two.relay("mx2").report(REPORT)
    future = (1 << 62) - 1
    raw = hostile(report__problem="\x1b[2J\ud800", sighted__last_seen=future, sighted__first_seen=future)
    (two.directory / "relays/mx2.json").write_bytes(raw)
    (state,) = two.desk().relays()
    assert state.report is not None
    assert state.report.problem == "\x1b[2J?"  # escaped where it is shown; what cannot be shown is gone
    assert two.desk().pending(1)[0].last_seen <= time.time() * 1000


def test_a_client_with_a_long_name_or_a_long_error_does_not_keep_the_relays_file_from_being_read(two: Home) -> None:
    relay = two.relay("mx2")
    relay.sight([Sighted("mx2", B, 1, 1, 2, "[192.0.2.1]", "x" * 5000, "s" * 5000, "r" * 5000)])
    relay.report(replace(REPORT, problem="rsync: " * 500))
    (state,) = two.desk().relays()
    assert state.report is not None
    assert (state.report.received, state.report.problem[:13]) == (REPORT.received, "rsync: rsync:")
    assert [one.helo for one in two.desk().pending(9)] == ["x" * 1000]


def test_a_certificate_counts_under_its_own_fingerprint_only(two: Home) -> None:
    two.relay("mx2").report(REPORT)
    text = hostile(sighted__der="bm90IGxvb2tlZCBpbnRvIGhlcmU=")
    path = two.directory / "relays/mx2.json"
    path.write_bytes(text)
    assert list(two.desk().pending(9)) == []
    path.write_bytes(text.replace(B.encode(), hashlib.sha256(DER).hexdigest().upper().encode()))
    assert two.desk().pending(9)[0].der == DER


def test_a_relays_file_that_is_a_link_or_a_pipe_is_not_read(two: Home) -> None:
    two.relay("mx2").report(REPORT)
    relays = two.directory / "relays"
    (relays / "mx3.json").symlink_to("/etc/shadow")
    os.mkfifo(relays / "mx4.json")
    (relays / "..evil.json").write_bytes(b"x")
    states = {state.name: state.report.problem for state in two.desk().relays() if state.report}
    assert states == {
        "mx2": "",
        "mx3": "mx3.json: Too many levels of symbolic links",
        "mx4": "mx4.json: it is not a regular file",
    }


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


def test_a_new_act_ends_the_wait(two: Home) -> None:
    relay = two.relay()
    relay.head()
    assert not relay.wait(0)
    two.act("approve", B)
    assert relay.wait(60)
