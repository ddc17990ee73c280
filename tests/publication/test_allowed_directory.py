"""The directory of allowed fingerprints holds regular files, and what else lies there neither counts nor harms."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from lab.strace import run_traced

from eximcertd.fingerprint import Fingerprint
from eximcertd.publication.allowed_directory import AllowedDirectory, DirectoryError

if TYPE_CHECKING:
    from pathlib import Path

ONE, TWO, THREE = (Fingerprint(f"{n:064X}") for n in (1, 2, 3))


@pytest.fixture
def directory(tmp_path: Path) -> AllowedDirectory:
    directory = AllowedDirectory(tmp_path / "allowed")
    directory.prepare()
    return directory


def test_it_is_readable_for_exim_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        AllowedDirectory(tmp_path / "x").prepare()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o755


def test_files_are_made_and_removed_and_doing_it_twice_is_doing_it_once(directory: AllowedDirectory) -> None:
    for _ in range(2):
        directory.change([ONE, TWO], [THREE])
    assert directory.contents().fingerprints == {ONE, TWO}
    directory.change([], [ONE, TWO])
    assert directory.contents().fingerprints == frozenset()


def test_what_is_no_regular_file_never_counts_and_is_told(directory: AllowedDirectory) -> None:
    (directory.path / ONE).mkdir()
    (directory.path / TWO).symlink_to("/etc/hostname")
    os.mkfifo(directory.path / THREE)
    (directory.path / "readme").touch()
    contents = directory.contents()
    assert contents.fingerprints == frozenset()
    assert set(contents.foreign) == {ONE, TWO, THREE, "readme"}


def test_an_approved_fingerprint_takes_the_place_of_what_is_in_its_way(directory: AllowedDirectory) -> None:
    (directory.path / ONE).mkdir()
    (directory.path / TWO).symlink_to("/nowhere")
    directory.change([ONE, TWO], [])
    assert directory.contents().fingerprints == {ONE, TWO}


def test_a_directory_that_cannot_be_read_is_an_error_and_never_empty(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path / "link"):
        if path.name == "link":
            path.symlink_to("/tmp")
        with pytest.raises(DirectoryError, match="cannot be read"):
            AllowedDirectory(path).contents()


def test_a_change_is_on_the_disk_before_it_is_done_and_its_number_before_the_change(
    directory: AllowedDirectory,
) -> None:
    directory.change([ONE], [])

    def work() -> None:
        directory.set_revision(7)
        directory.change([TWO], [ONE])

    calls, status = run_traced(work)
    assert (status, directory.revision()) == (0, 7)
    seen = [call.name.removesuffix("2") for call in calls if call.changes()]
    written, changed = seen[:5], seen[5:]
    assert written[1:] == ["write", "fsync", "rename", "fsync"], "the number has its name, and the name is synced"
    assert changed == ["unlinkat", "openat", "fsync"], "who is out is out first"


def test_a_number_that_cannot_be_read_is_none(directory: AllowedDirectory, tmp_path: Path) -> None:
    assert directory.revision() == 0
    directory.set_revision(12)
    assert directory.revision() == 12
    (tmp_path / "published" / "revision").write_text("twelve\n")
    assert directory.revision() == 0


def test_a_directory_in_the_way_of_a_removal_is_left_and_the_rest_is_done(directory: AllowedDirectory) -> None:
    (directory.path / ONE).mkdir()
    directory.change([THREE], [ONE, TWO])
    assert directory.contents().fingerprints == {THREE}


def test_of_other_names_only_some_are_told(directory: AllowedDirectory) -> None:
    for number in range(30):
        (directory.path / f"readme{number}").touch()
    assert len(directory.contents().foreign) == 20


def test_files_are_readable_for_exim_and_a_mode_that_was_changed_is_put_right(directory: AllowedDirectory) -> None:
    directory.path.chmod(0o700)
    directory.prepare()
    directory.change([ONE], [])
    assert [stat.S_IMODE(path.stat().st_mode) for path in (directory.path, directory.path / ONE)] == [0o755, 0o644]
