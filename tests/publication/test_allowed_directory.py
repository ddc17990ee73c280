"""The directory of allowed fingerprints holds regular files, and what else lies there neither counts nor harms."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

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
