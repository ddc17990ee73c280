"""Each answer of root's part, field by field, without an Exim: what stood, what stands, and why not."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from eximcertd import settings
from eximcertd.fingerprint import Fingerprint
from eximcertd.publish import limits, macrofile
from eximcertd.publish.error import PublishError
from eximcertd.publish.program import load
from eximcertd.publish.request import Answer, Found, Request
from eximcertd.publish.transaction import answer

A, B, C = (Fingerprint(pair * 32) for pair in ("AA", "BB", "CC"))
LARGE = tuple(Fingerprint(f"{number:064X}") for number in range(20))


class Root:
    """The macro file in a directory of root's; file: its path."""

    def __init__(self, directory: Path) -> None:
        directory.chmod(0o755)
        self.file = directory / "relay_from_certs"
        self.config = settings.Config(
            allowlist=settings.AllowlistSettings(file=self.file),
            state=settings.StateSettings(directory),
            publish=settings.PublishSettings(min_interval=timedelta(0)),
        )

    def configure(self, **values: Any) -> None:
        """Change values of [publish]."""
        self.config = self.config._replace(publish=self.config.publish._replace(**values))

    def ask(
        self, action: str, *fingerprints: Fingerprint, expected: str | None = None, allow_shrink: bool = False
    ) -> Answer:
        """Ask; allow_shrink: as with --allow-shrink."""
        return answer(self.config, Request(action, expected, fingerprints), allow_shrink=allow_shrink)

    def write(self, *fingerprints: Fingerprint, allow_shrink: bool = False) -> Answer:
        """Write the list form."""
        return self.ask("write list", *fingerprints, allow_shrink=allow_shrink)

    def names(self) -> list[str]:
        """Return the names in its directory."""
        return sorted(path.name for path in self.file.parent.iterdir())


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


def test_the_first_list_is_written_and_told_with_what_identifies_the_file(root: Root) -> None:
    told = root.write(A, B)
    status, raw = root.file.stat(), root.file.read_bytes()
    found = Found("list", (A, B), hashlib.sha256(raw).hexdigest(), status.st_ino, status.st_ctime_ns)
    assert told._replace(timings={}) == Answer("done", "", "", found, str(root.file), changed=True)
    assert list(told.timings) == ["lock", "read", "limits", "write"]
    assert all(0 <= seconds < 60 for seconds in told.timings.values())
    assert raw.decode().splitlines()[1:] == ["RELAY_FROM_CERTS = \\", f"{A} : \\", B]


def test_the_same_list_again_is_done_and_nothing_is_written(root: Root) -> None:
    first = root.write(A)
    again = root.write(A)
    assert (again.outcome, again.changed, again.found) == ("done", False, first.found)
    assert list(again.timings) == ["lock", "read", "limits"]


def test_reading_changes_nothing_and_makes_nothing_but_the_lock(root: Root) -> None:
    told = root.ask("read")
    assert told._replace(timings={}) == Answer("done", found=Found("absent"), file=str(root.file))
    assert list(told.timings) == ["lock", "read"]
    assert root.names() == ["relay_from_certs.lock"]
    assert stat.S_IMODE(root.file.with_name("relay_from_certs.lock").stat().st_mode) == 0o600


def test_the_files_are_readable_for_exim_whatever_the_umask_and_nothing_else_is_left(root: Root) -> None:
    before = os.umask(0o077)
    try:
        root.write(A)
        root.write(A, B)
    finally:
        os.umask(before)
    assert root.names() == [f"relay_from_certs{suffix}" for suffix in ("", ".lock", ".previous")]
    for name in ("relay_from_certs", "relay_from_certs.previous"):
        assert stat.S_IMODE(root.file.with_name(name).stat().st_mode) == 0o644


def test_what_a_first_write_replaces_is_nothing_and_is_restored_as_such(root: Root) -> None:
    told = root.write(A)
    assert told.found is not None
    restored = root.ask("restore", expected=told.found.digest)
    assert (restored.outcome, restored.changed, root.file.read_bytes()) == ("done", True, b"")
    assert restored.found is not None
    assert (restored.found.form, restored.found.inode) == ("absent", root.file.stat().st_ino)
    assert list(restored.timings) == ["lock", "read", "restore"]


def test_without_a_previous_file_there_is_nothing_to_restore(root: Root) -> None:
    told = root.ask("restore")
    assert (told.outcome, told.step, told.changed) == ("refused", "restore", False)
    assert told.message == f"there is no {root.file}.previous to restore"


def test_a_previous_file_that_is_no_macro_file_is_not_restored(root: Root) -> None:
    root.write(A)
    root.write(A, B)
    previous = root.file.with_name("relay_from_certs.previous")
    previous.write_text("perl_startup = 1\n")
    told = root.ask("restore")
    assert (told.outcome, told.step, told.changed) == ("refused", "restore", False)
    assert told.message.startswith(f"{previous}: line 1: neither a comment nor")
    assert B in root.file.read_text()


@pytest.mark.parametrize("expected", ["-", "0" * 64])
def test_a_file_that_is_not_the_expected_one_is_told_and_left(root: Root, expected: str) -> None:
    root.write(A)
    told = root.ask("write list", B, expected=expected)
    assert (told.outcome, told.step, told.changed) == ("changed", "", False)
    assert told.message == f"{root.file} was changed by somebody else: nothing was done"
    assert told.found is not None
    assert told.found.fingerprints == (A,)
    assert root.ask("write list", A, B, expected=told.found.digest).changed


def test_a_file_that_is_changed_while_another_is_written_is_left(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    root.write(A)
    by_hand, fsync = f"RELAY_FROM_CERTS = {C}\n", os.fsync

    def edited(descriptor: int) -> None:
        root.file.write_text(by_hand)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", edited)
    told = root.write(A, B)
    assert (told.outcome, told.step, told.changed) == ("changed", "write", False)
    assert told.message == f"{root.file} was changed by somebody else: nothing was done"
    assert root.file.read_text() == by_hand


def test_that_there_is_no_file_can_be_expected(root: Root) -> None:
    assert root.ask("write list", A, expected="-").outcome == "done"


def test_the_directory_form_is_written_with_its_path(root: Root) -> None:
    told = root.ask("write directory")
    assert told.found is not None
    assert (told.outcome, told.found.form) == ("done", "directory")
    assert f"{{{root.file.parent}/allowed}}" in root.file.read_text()


def test_the_lock_is_free_after_each_answer(root: Root) -> None:
    root.write(A)
    root.ask("restore")
    root.ask("restore")
    descriptors = set(Path("/proc/self/fd").iterdir())
    root.ask("read")
    assert set(Path("/proc/self/fd").iterdir()) == descriptors
    with root.file.with_name("relay_from_certs.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    root = Root(tmp_path / "etc")
    (tmp_path / "etc").rmdir()
    told = root.ask("read")
    assert (told.outcome, told.step, told.found) == ("failed", "lock", None)
    assert told.message == f"{tmp_path}/etc: No such file or directory (step lock)"


def test_a_file_that_is_too_large_is_not_read(root: Root) -> None:
    root.file.touch(0o644)
    os.truncate(root.file, (128 << 20) + 1)
    told = root.ask("read")
    assert (told.outcome, told.step) == ("refused", "read")
    assert told.message == f"{root.file} is larger than {128 << 20} bytes: it is not the file that it should be"


# the limits


@pytest.mark.parametrize(
    ("before", "after", "fine"),
    [
        (3, 0, True),
        (4, 0, False),
        (4, 1, True),
        (20, 10, True),
        (20, 9, False),
        (6, 3, True),
        (8, 4, True),
        (9, 4, False),
    ],
)
def test_few_may_always_go_and_more_up_to_max_shrink_while_some_remain(
    root: Root, before: int, after: int, fine: bool
) -> None:
    root.write(*LARGE[:before])
    told = root.write(*LARGE[:after])
    assert (told.outcome, told.step) == (("done", "") if fine else ("refused", "limits"))
    if not fine:
        why = "[publish] max_shrink = 50 percent" if after else "none would remain"
        assert told.message.startswith(f"{before - after} of {before} fingerprints would go ({why}): ")
        assert root.write(*LARGE[:after], allow_shrink=True).changed


def test_max_shrink_is_kept_to_the_last_fingerprint(root: Root) -> None:
    many = [Fingerprint(f"{number:064X}") for number in range(201)]
    root.write(*many)
    assert root.write(*many[:100]).message.startswith("101 of 201 fingerprints would go")
    assert root.write(*many[:101]).changed


def test_where_there_is_no_list_yet_nobody_goes_whatever_lies_in_the_directory(root: Root) -> None:
    allowed = root.file.with_name("allowed")
    allowed.mkdir()
    for name in LARGE:
        (allowed / name).touch()
    assert root.write(A).changed


def test_no_shrink_is_allowed_beyond_few_where_root_says_so(root: Root) -> None:
    root.configure(max_shrink=0)
    root.write(*LARGE)
    assert root.write(*LARGE[4:]).outcome == "refused"
    assert root.write(*LARGE[3:]).outcome == "done"


def test_who_is_in_the_directory_stays_when_the_list_is_replaced_by_it_and_who_is_not_goes(root: Root) -> None:
    root.write(*LARGE)
    allowed = root.file.with_name("allowed")
    assert root.ask("write directory").message.startswith("20 of 20 fingerprints would go (none would remain)")
    allowed.mkdir()
    for name in (*LARGE[:9], "README"):
        (allowed / name).touch()
    assert root.ask("write directory").message.startswith("11 of 20 fingerprints would go ([publish] max_shrink")
    (allowed / LARGE[9]).touch()
    assert root.ask("write directory").outcome == "done"
    assert root.write(*LARGE[:4], *LARGE[11:]).message.startswith("6 of 10 fingerprints would go")
    assert root.write(*LARGE[:5]).outcome == "done"


def test_a_change_that_is_too_early_says_when_it_is_not(root: Root) -> None:
    root.write(A)
    root.configure(min_interval=timedelta(hours=1))
    told = root.write(A, B)
    assert (told.outcome, told.step, told.changed) == ("refused", "write", False)
    assert told.message.endswith(" s ago, and [publish] min_interval is longer")
    assert told.retry_after is not None
    assert 3500 < told.retry_after <= 3600


@pytest.mark.parametrize(("ago", "fine"), [(-3600, True), (1, False), (59, False), (61, True)])
def test_only_a_change_of_the_last_interval_counts_and_none_of_the_future(root: Root, ago: int, fine: bool) -> None:
    root.configure(min_interval=timedelta(minutes=1))
    found = Found("list", ctime_ns=time.time_ns() - ago * 10**9)
    if fine:
        limits.check_interval(root.config, found)
        return
    with pytest.raises(PublishError) as told:
        limits.check_interval(root.config, found)
    assert told.value.retry_after == pytest.approx(60 - ago, abs=30)


@pytest.mark.parametrize(("comments", "fine"), [(1000, True), (1001, False)])
def test_a_thousand_comment_lines_are_kept(comments: int, fine: bool) -> None:
    raw = b"# ours\n" * comments
    if fine:
        assert len(macrofile.parse("M", raw).comments) == comments
    else:
        with pytest.raises(PublishError, match="line 1001 cannot be kept"):
            macrofile.parse("M", raw)


@pytest.mark.parametrize(("length", "fine"), [(1001, True), (1002, False)])
def test_a_comment_line_of_a_thousand_characters_is_kept_and_a_longer_one_shown_in_part(
    length: int, fine: bool
) -> None:
    raw = b"#".ljust(length, b"x") + b"\n"
    if fine:
        assert len(macrofile.parse("M", raw).comments[0]) == length
    else:
        with pytest.raises(PublishError, match=r'line 1 cannot be kept: "#x{199}"; only'):
            macrofile.parse("M", raw)


# the configuration


def test_without_a_configuration_file_the_defaults_hold_and_only_the_default_file_may_be_missing(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = root.file.with_name("eximcertd.toml")
    with pytest.raises(PublishError, match=f"{missing}: there is no such file"):
        load(missing)
    monkeypatch.setattr(settings, "DEFAULT_FILE", missing)
    assert load(missing) == settings.Config()
    missing.symlink_to("nowhere")
    with pytest.raises(PublishError, match="symbolic link"):
        load(missing)


def test_a_configuration_larger_than_a_mebibyte_is_not_read(root: Root) -> None:
    file = root.file.with_name("eximcertd.toml")
    for size, sentence in (((1 << 20) + 1, "is larger than 1048576 bytes"), (1 << 20, None)):
        file.write_text("#" * size)
        file.chmod(0o644)
        if sentence:
            with pytest.raises(PublishError, match=sentence):
                load(file)
        else:
            assert load(file) == settings.Config(file)
