"""Files and directories that somebody else than root could have written stop everything, each with its sentence."""

from __future__ import annotations

import os
import pwd
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab.exim import EximServer
from lab.publishing import Publisher

if TYPE_CHECKING:
    from collections.abc import Callable

A, B = "AA" * 32, "0B" * 32
NOBODY = pwd.getpwnam("nobody").pw_uid


@pytest.fixture
def publisher(exim: EximServer) -> Publisher:
    return Publisher(exim)


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


HOSTILE: list[tuple[Callable[[Path], object], str]] = [
    (link, "symbolic link"),
    (fifo, "not a regular file"),
    (directory, "not a regular file"),
    (lambda path: path.chmod(0o666), "can be written by others"),
    (lambda path: path.chmod(0o664), "can be written by others"),
    (lambda path: os.chown(path, NOBODY, 0), "can be written by others"),
    (lambda path: os.link(path, path.with_name("second")), "2 hard links"),
]


@pytest.mark.parametrize(("spoil", "sentence"), HOSTILE)
def test_a_macro_file_that_others_could_have_written_is_not_read(
    exim: EximServer, publisher: Publisher, spoil: Callable[[Path], object], sentence: str
) -> None:
    spoil(exim.macro_file)
    for answer in (publisher.list(A), publisher.read()):
        assert (answer.outcome, answer.step, answer.found) == ("refused", "read", None)
        assert sentence in answer.message
        assert str(exim.macro_file) in answer.message


@pytest.mark.parametrize(("spoil", "sentence"), HOSTILE)
def test_a_previous_file_that_others_could_have_written_is_not_restored(
    publisher: Publisher, spoil: Callable[[Path], object], sentence: str
) -> None:
    publisher.list(A)
    written = publisher.list(A, B)
    assert written.found is not None
    spoil(publisher.beside("previous"))
    answer = publisher.restore(written.found.digest)
    assert (answer.outcome, answer.step) == ("refused", "restore")
    assert sentence in answer.message
    assert answer.found == written.found


@pytest.mark.parametrize(("spoil", "sentence"), HOSTILE)
def test_a_configuration_that_others_could_have_written_is_not_obeyed(
    exim: EximServer, publisher: Publisher, spoil: Callable[[Path], object], sentence: str
) -> None:
    spoil(publisher.config)
    answer = publisher.list(A)
    assert (answer.outcome, answer.step) == ("refused", "settings")
    assert sentence in answer.message


@pytest.mark.parametrize(("spoil", "sentence"), HOSTILE)
def test_the_lock_is_held_to_the_same(publisher: Publisher, spoil: Callable[[Path], object], sentence: str) -> None:
    publisher.list(A)
    spoil(publisher.beside("lock"))
    answer = publisher.list(A, B)
    assert answer.outcome in {"refused", "failed"}
    assert sentence in answer.message or "directory" in answer.message


@pytest.mark.parametrize("suffix", ["candidate", "previous"])
def test_what_lies_under_the_names_that_are_written_is_replaced_and_never_followed(
    publisher: Publisher, suffix: str, tmp_path: Path
) -> None:
    publisher.list(A)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    publisher.beside(suffix).unlink(missing_ok=True)
    publisher.beside(suffix).symlink_to(victim)
    assert publisher.list(A, B).outcome == "done"
    assert victim.read_text() == "precious"


@pytest.mark.parametrize(
    ("mode", "owner", "fine"),
    [
        (0o777, 0, False),
        (0o775, 0, False),
        (0o755, NOBODY, False),
        (0o1777, 0, True),
        (0o1777, NOBODY, False),
        (0o755, 0, True),
        (0o700, 0, True),
    ],
)
def test_every_parent_is_looked_at_and_a_sticky_one_of_roots_is_safe(mode: int, owner: int, fine: bool) -> None:
    above = Path(tempfile.mkdtemp(prefix="above-"))
    above.chmod(0o755)
    with EximServer(directory=above / "home") as exim:
        publisher = Publisher(exim)
        os.chown(above, owner, 0)
        above.chmod(mode)
        answer = publisher.list(A)
        above.chmod(0o755)
    above.rmdir()
    assert (answer.outcome == "done") == fine, answer
    if not fine:
        assert (answer.outcome, answer.step) == ("refused", "settings")
        assert f"{above} can be written by others than root" in answer.message


def test_a_parent_that_is_a_link_is_not_followed(exim: EximServer, publisher: Publisher) -> None:
    (exim.directory / "link").symlink_to(exim.etc)
    publisher.configure({"allowlist": {"file": str(exim.directory / "link" / "relay_from_certs")}})
    answer = publisher.list(A)
    assert (answer.outcome, answer.step) == ("refused", "lock")
    assert "link is a symbolic link" in answer.message


def test_a_directory_whose_parent_is_not_roots_is_no_directory_form(publisher: Publisher) -> None:
    publisher.configure({"state": {"directory": str(publisher.directory / "state")}})
    state = publisher.directory / "state"
    state.mkdir()
    (state / "allowed").mkdir()
    os.chown(state, NOBODY, 0)
    answer = publisher.switch_to_directory()
    assert answer.outcome == "refused"
    assert "state can be written by others" in answer.message
    assert answer.found is not None
    assert answer.found.form == "list"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[publish]\nmax_shrink = 101\n", "max_shrink = '101': expected a whole number from 0 to 100"),
        ("[publish]\nmax_shrink = true\n", "max_shrink = 'True'"),
        ('[publish]\nmin_interval = "soon"\n', "expected a time such as"),
        ("[publish]\nmin_interval = 2\n", "expected a time"),
        ('[publish]\non_dead = "report"\n', "removed: let systemd restart Exim"),
        ('[allowlist]\nmacro = "ABC"\n', "not all of them hex digits"),
        ('[allowlist]\nmacro = "X Y"\n', "expected the name of an Exim macro"),
        ('[allowlist]\nfile = "relay"\n', "expected an absolute path"),
        ('[allowlist]\nfile = "/etc/../tmp/x"\n', "expected an absolute path"),
        ('[state]\ndirectory = "/var/}{lib"\n', "expected an absolute path"),
        ('[exim]\nreload = "often"\n', 'expected "signal" or "none"'),
        ("publish = 3\n", "expected a section [publish], not a value"),
        ("[publish\n", "not TOML"),
        ("\xff", "not UTF-8"),
    ],
)
def test_a_mistake_in_roots_configuration_is_named(publisher: Publisher, text: str, sentence: str) -> None:
    publisher.config.write_bytes(text.encode("latin-1"))
    answer = publisher.list(A)
    assert (answer.outcome, answer.step) == ("refused", "settings")
    assert sentence in answer.message
    assert str(publisher.config) in answer.message


def test_a_missing_configuration_is_named(publisher: Publisher) -> None:
    publisher.config.unlink()
    assert "there is no such file" in publisher.list(A).message
