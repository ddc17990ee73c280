"""The messages of a client that Exim has still queued."""

from __future__ import annotations

import os
import shutil
import socket
from typing import TYPE_CHECKING

import pytest
from lab.smtp import session

from eximcertd.cli.spool import messages

if TYPE_CHECKING:
    from pathlib import Path

    from lab.certificates import Identity
    from lab.exim import EximServer


def test_queued_mail_of_a_client_is_found_by_its_certificate(
    server: EximServer, alice: Identity, mallory: Identity
) -> None:
    for identity in (alice, mallory, alice):
        with session(server.port, identity) as open_session:
            assert open_session.send("hello").accepted
    assert list(messages(server.spool, {mallory.fingerprint}).values()) == [mallory.fingerprint]
    assert len(messages(server.spool, {alice.fingerprint})) == 2
    assert messages(server.spool, {"A" * 64}) == {}


def test_a_fifo_a_link_and_a_socket_in_the_spool_do_not_stop_the_search(server: EximServer, alice: Identity) -> None:
    with session(server.port, alice) as open_session:
        assert open_session.send("hello").accepted
    os.mkfifo(server.spool / "input" / "1xVAyN-00064E-0s-H")
    (server.spool / "input" / "1xVAyN-00064E-0t-H").symlink_to("/dev/zero")
    (server.spool / "input" / "q-H").mkdir()
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(server.spool / "input" / "1xVAyN-00064E-0u-H"))
        assert list(messages(server.spool, {alice.fingerprint}).values()) == [alice.fingerprint]


def test_messages_in_every_kind_of_queue_are_found(server: EximServer, alice: Identity) -> None:
    with session(server.port, alice) as open_session:
        assert open_session.send("hello").accepted
    [header] = (server.spool / "input").glob("*-H")
    for number, place in enumerate(("input/a", "slow/input", "slow/input/b")):
        (server.spool / place).mkdir(parents=True)
        shutil.copy(header, server.spool / place / header.name.replace("-H", f"{number}-H"))
    assert len(messages(server.spool, {alice.fingerprint})) == 4
    elsewhere = server.directory / "elsewhere"
    (elsewhere / "input").mkdir(parents=True)
    shutil.copy(header, elsewhere / "input" / "linked-H")
    (server.spool / "linked").symlink_to(elsewhere)
    assert len(messages(server.spool, {alice.fingerprint})) == 4, "no link is followed"


@pytest.mark.parametrize("name", ["input/1-H", "input/other", "another/1", "x"])
def test_a_queue_that_is_too_large_is_not_listed(tmp_path: Path, name: str) -> None:
    (tmp_path / "input").mkdir()
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    assert messages(tmp_path, {"A" * 64}) == {}
    with pytest.raises(OSError, match="not all of it was read within 0 s"):
        messages(tmp_path, {"A" * 64}, limit=0.0)


def test_a_spool_that_has_never_had_a_message_has_none_and_one_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    assert messages(tmp_path, {"A" * 64}) == {}
    with pytest.raises(OSError, match="none"):
        messages(tmp_path / "none", {"A" * 64})


def test_no_link_is_followed_to_the_queue_itself(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "input").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="input"):
        messages(tmp_path, {"A" * 64})
