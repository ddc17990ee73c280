"""A directory that is rewritten: nothing vanishes that is there again a moment later."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lab.certificates import Identity, make

from eximcertd.certificates.scan import Scanner
from eximcertd.certificates.snapshot import GRACE, Draft, Snapshot, names_of
from eximcertd.certificates.state import HEAD, digests

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def rewritten(tmp_path: Path, alice: Identity) -> Path:
    """Make a directory with 300 links, as update-ca-certificates does."""
    certs = tmp_path / "certs"
    certs.mkdir()
    (tmp_path / "alice.crt").write_text(alice.pem)
    link_all(certs, tmp_path / "alice.crt")
    return certs


def link_all(certs: Path, target: Path) -> None:
    for number in range(300):
        (certs / f"{number:03}.pem").symlink_to(target)


def test_a_look_between_removal_and_remaking_loses_nothing(rewritten: Path, alice: Identity, tmp_path: Path) -> None:
    scanner = Scanner(os.fsencode(rewritten))
    full, _ = scanner.whole(Snapshot(), 100.0)
    for link in rewritten.iterdir():
        link.unlink()
    empty, difference = scanner.whole(full, 100.1)
    assert not difference.vanished
    assert bytes.fromhex(alice.fingerprint) in empty.files
    link_all(rewritten, tmp_path / "alice.crt")
    again, difference = scanner.whole(empty, 100.9)
    assert not difference.vanished
    assert not difference.appeared
    assert not again.lingering
    assert again.states.keys() == full.states.keys()


def test_what_is_missing_at_a_second_look_after_the_grace_has_vanished(rewritten: Path, alice: Identity) -> None:
    scanner = Scanner(os.fsencode(rewritten))
    full, _ = scanner.whole(Snapshot(), 100.0)
    for link in rewritten.iterdir():
        link.unlink()
    empty, _ = scanner.whole(full, 101.0)
    still, difference = scanner.whole(empty, 101.0 + GRACE / 2)
    assert not difference.vanished
    gone, difference = scanner.some(still, list(still.lingering), 101.0 + GRACE)
    assert difference.vanished == {bytes.fromhex(alice.fingerprint)}
    assert gone.files == {}
    assert gone.lingering == {}


def test_a_file_that_is_truncated_and_written_again_loses_nothing(tmp_path: Path, alice: Identity) -> None:
    path = tmp_path / "alice.pem"
    path.write_text(alice.pem)
    scanner = Scanner(os.fsencode(tmp_path))
    first, _ = scanner.whole(Snapshot(), 100.0)
    path.write_text("")
    second, difference = scanner.some(first, [b"alice.pem"], 100.1)
    assert not difference.vanished
    path.write_text(alice.pem)
    third, difference = scanner.some(second, [b"alice.pem"], 100.2)
    assert not difference.vanished
    assert not difference.appeared
    assert third.lingering == {}


def test_a_certificate_that_moves_to_another_file_never_vanishes(tmp_path: Path, alice: Identity) -> None:
    certs = tmp_path / "certs"
    certs.mkdir()
    (certs / "old.pem").write_text(alice.pem)
    scanner = Scanner(os.fsencode(certs))
    base, _ = scanner.whole(Snapshot(), 100.0)
    (certs / "old.pem").rename(certs / "new.pem")
    base, first = scanner.whole(base, 101.0)
    base, second = scanner.whole(base, 101.0 + GRACE)
    assert not first.vanished
    assert not second.vanished
    assert list(names_of(base.files[bytes.fromhex(alice.fingerprint)])) == [b"new.pem"]


def test_one_that_is_replaced_in_its_file_vanishes_and_the_other_stays(tmp_path: Path) -> None:
    old, new = (make(tmp_path / "identities", name) for name in ("old.example", "new.example"))
    certs = tmp_path / "certs"
    certs.mkdir()
    (certs / "client.pem").write_text(old.pem)
    scanner = Scanner(os.fsencode(certs))
    base, _ = scanner.whole(Snapshot(), 100.0)
    (certs / "client.pem").write_text(new.pem)
    base, first = scanner.some(base, [b"client.pem"], 101.0)
    assert first.appeared == {bytes.fromhex(new.fingerprint)}
    base, second = scanner.some(base, [b"client.pem"], 101.0 + GRACE)
    assert second.vanished == {bytes.fromhex(old.fingerprint)}
    assert base.files == {bytes.fromhex(new.fingerprint): b"client.pem"}


_NAMES = st.sampled_from([b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h", b"i", b"j"])
_DIGESTS = st.frozensets(st.sampled_from([bytes([n]) * 32 for n in range(4)]))
_LOOKS = st.lists(st.tuples(st.floats(0, 3), st.dictionaries(_NAMES, st.none() | _DIGESTS)), max_size=12)


@given(_LOOKS)
@settings(max_examples=300)
def test_the_tables_agree_after_any_row_of_looks(
    looks: list[tuple[float, dict[bytes, frozenset[bytes] | None]]],
) -> None:
    """Both tables, what lingers and what is told to have changed always tell the same story."""
    snapshot, now = Snapshot(), 0.0
    there: set[bytes] = set()
    missed: dict[tuple[bytes, bytes], float] = {}
    for pause, found in looks:
        now += pause
        draft = Draft(snapshot, now)
        before = {name: set(digests(state)) for name, state in snapshot.states.items()}
        for name, held in found.items():
            draft.put(name, None if held is None else bytes(HEAD) + b"".join(sorted(held)))
            holds = held or frozenset()
            for digest in before.get(name, set()) - holds:
                missed.setdefault((name, digest), now)
            for digest in holds:
                missed.pop((name, digest), None)
            for key in [key for key, since in missed.items() if key[0] == name and now - since >= GRACE]:
                del missed[key]
        snapshot, difference = draft.finish()
        there = (there | difference.appeared) - difference.vanished
        expected = {(name, digest) for name, state in snapshot.states.items() for digest in digests(state)}
        assert {(n, d) for n, lost in snapshot.lingering.items() for d in lost} == missed.keys()
        assert {(n, d) for d, names in snapshot.files.items() for n in names_of(names)} == expected | missed.keys()
        assert there == snapshot.files.keys()
