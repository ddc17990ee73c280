"""A fleet in a directory of files: acts that are written, and files that are not what they should be."""

from __future__ import annotations

import fcntl
import os
import subprocess
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lab.fleet import next_act

from eximcertd.acts.act import Head
from eximcertd.acts.signature import ActSignatureError, verify
from eximcertd.errors import EximcertdError
from eximcertd.fingerprint import Fingerprint
from eximcertd.fleet.directory import DirectoryDesk
from eximcertd.fleet.remote import ActRefusedError, MovedError, OwnDecision, RemoteError, Report

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.home import Home

A, B, C = (Fingerprint(digit * 64) for digit in "ABC")
REPORT = Report("0.1.0", 1, 1, 0, 1_700_000_000_000)


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


def test_desks_that_decide_at_once_lose_no_act_and_mix_none_up(two: Home) -> None:
    def decide(name: Fingerprint) -> None:
        while True:
            with suppress(MovedError):
                two.act("approve", name)
                return

    names = [Fingerprint(f"{number:064}") for number in range(12)]
    with ThreadPoolExecutor(4) as desks:
        list(desks.map(decide, names))
    acts = two.desk().acts(2, 100)
    assert sorted(act.fingerprints[0] for act in acts) == names
    for act in acts:
        verify(act, two.signers)
    assert len(list((two.directory / "acts").iterdir())) == 2 * 14


def test_a_lock_on_the_directory_keeps_nobody_from_deciding(two: Home) -> None:
    held = os.open(two.directory / "acts", os.O_RDONLY)  # which every local user can open
    fcntl.flock(held, fcntl.LOCK_EX)
    assert two.act("approve", B).generation == 3
    os.close(held)


def test_a_desk_that_died_between_its_two_files_leaves_nothing_behind_that_counts(two: Home) -> None:
    two.file(3, ".sig").write_text("a signature whose act was never written")
    os.utime(two.file(3, ".sig"), (0, 0))
    assert two.relay().head().generation == 2
    two.act("approve", B)
    assert two.relay().acts(2, 1)[0].fingerprints == (B,)


def test_an_act_keeps_its_signature_though_its_desk_was_taken_for_dead(
    two: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def late(source: str, name: str, **directories: Any) -> None:
        if name == two.file(3).name:
            two.file(3, ".sig").write_text("the signature of another desk, which has removed the first one")
        link(source, name, **directories)

    monkeypatch.setattr(os, "link", late)
    two.act("approve", B)
    verify(two.relay().acts(2, 1)[0], two.signers)


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


def test_an_act_whose_signature_was_removed_is_named_to_who_decides(two: Home) -> None:
    two.file(2, ".sig").unlink()
    with pytest.raises(ActRefusedError, match=r"00000002\.act has no signature"):
        two.act("approve", B)


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


def test_a_new_act_ends_the_wait(two: Home) -> None:
    relay = two.relay()
    relay.head()
    assert not relay.wait(0)
    two.act("approve", B)
    assert relay.wait(60)
