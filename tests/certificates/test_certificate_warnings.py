"""The warnings about the files of a certificate."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from lab.certificates import indexed

from eximcertd.certificates.certificate_warnings import of_files, of_mode

if TYPE_CHECKING:
    from pathlib import Path

    from lab.certificates import Identity

NOW = datetime.now(UTC)


def warnings(directory: Path, identity: Identity) -> list[str]:
    details = indexed(directory).details(identity.fingerprint)
    assert details is not None
    return details.warnings(NOW)


def test_a_file_that_everybody_can_write_is_warned_of(tmp_path: Path, alice: Identity) -> None:
    path = tmp_path / "alice.pem"
    path.write_text(alice.pem)
    path.chmod(0o644)
    assert warnings(tmp_path, alice) == []
    path.chmod(0o646)
    assert warnings(tmp_path, alice) == ["lies in a file that everybody can write: alice.pem"]


def test_the_file_behind_a_link_counts_and_its_name_is_escaped(tmp_path: Path, alice: Identity) -> None:
    (tmp_path / "certs").mkdir()
    target = tmp_path / "alice.crt"
    target.write_text(alice.pem)
    target.chmod(0o666)
    (tmp_path / "certs" / "a\x1b.pem").symlink_to(target)
    assert warnings(tmp_path / "certs", alice) == ["lies in a file that everybody can write: a\\x1b.pem"]


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "doubt"),
    [
        (0o644, 0, 0, ""),
        (0o664, 0, 0, ""),
        (0o664, 0, 50, "lies in a file that a group can write: f"),
        (0o644, 1000, 1000, "lies in a file that belongs to another user than the directory: f"),
        (0o444, 1000, 1000, ""),
        (0o644, 33, 33, ""),
    ],
)
def test_others_are_all_but_root_and_the_directorys_owner(mode: int, uid: int, gid: int, doubt: str) -> None:
    assert of_mode("f", mode, uid, gid, directory_uid=33) == ([doubt] if doubt else [])


@pytest.mark.parametrize(
    ("files", "targets", "public"),
    [
        (["ca-certificates.crt"], ["/etc/ssl/certs/ca-certificates.crt"], True),
        (["A.pem"], ["/usr/share/ca-certificates/mozilla/A.crt"], True),
        (["A.pem", "ca-certificates.crt"], ["/usr/share/ca-certificates/mozilla/A.crt", "/x"], True),
        (["mine.pem", "ca-certificates.crt"], ["/usr/local/share/ca-certificates/mine.crt", "/x"], False),
        (["mine.pem"], ["/etc/ssl/certs/mine.pem"], False),
        ([], [], False),
    ],
)
def test_a_member_of_the_systems_bundle_is_told_from_an_admins_own(
    files: list[str], targets: list[str], public: bool
) -> None:
    assert bool(of_files(files, targets)) == public
