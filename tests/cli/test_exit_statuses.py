"""The exit statuses of eximcertctl and the messages with them: 1 to 5, and never a traceback."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
from lab.callers import ctl_as_nobody, needs_root, reachable
from lab.ctl import ctl
from lab.entries import ALICE, certificate
from lab.twins import Twin

from eximcertd.control.rights import Rights
from eximcertd.fingerprint import grouped

if TYPE_CHECKING:
    from pathlib import Path

    from eximcertd.control.server import Caller


def test_no_answer_is_4_and_says_where_to_look(tmp_path: Path) -> None:
    done = ctl("--socket", tmp_path / "nothing", "status")
    assert done.status == 4
    assert "the socket does not exist" in done.err
    assert "systemctl status eximcertd" in done.err


@needs_root
@pytest.mark.parametrize(
    ("verb", "right"),
    [
        (["pending"], "read"),
        (["scan", "/etc/passwd"], "read"),
        (["revoke", ALICE], "approve"),
        (["export"], "approve"),
    ],
)
def test_not_permitted_is_5_with_the_verb_that_was_typed(tmp_path: Path, verb: list[str], right: str) -> None:
    with Twin(reachable(tmp_path) / "control", rights=Rights()) as twin:
        done = ctl_as_nobody("--socket", twin.path, *verb)
    assert done.returncode == 5
    assert f"eximcertctl {verb[0]}: nobody does not have the right to {right}" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_answer_without_what_was_asked_for_is_1_and_no_traceback(tmp_path: Path) -> None:
    async def empty(_: Caller, __: dict[str, Any]) -> dict[str, Any]:
        return {"decided": [{"fingerprint": 5}]}

    with Twin(tmp_path / "control", methods={"Decide": empty}) as twin:
        done = ctl("--socket", twin.path, "approve", ALICE)
    assert done.status == 1
    assert "eximcertctl approve: the answer of eximcertd is not understood: KeyError" in done.err


def test_an_unknown_fingerprint_is_3_with_the_candidates(twin: Twin, at: tuple[str, str]) -> None:
    twin.see(ALICE, certificate("CN=laptop"))
    done = ctl(*at, "show", "A11C9999")
    assert done.status == 3
    assert grouped(ALICE) in done.err


def test_an_ambiguous_fingerprint_is_3_with_the_candidates(twin: Twin, at: tuple[str, str]) -> None:
    other = ALICE[:20] + "F" * 44
    twin.see(ALICE)
    twin.see(other)
    done = ctl(*at, "show", ALICE[:10])
    assert done.status == 3
    assert grouped(ALICE) in done.err
    assert grouped(other) in done.err


@pytest.mark.parametrize("text", ["A11CE00", "laptop", "A11CE0000G", "A" * 65, ""])
def test_what_is_no_fingerprint_is_2(at: tuple[str, str], text: str) -> None:
    done = ctl(*at, "show", text)
    assert done.status == 2
    assert "hex digits" in done.err


def test_a_file_of_an_authority_that_does_not_exist_is_2_and_named(at: tuple[str, str], tmp_path: Path) -> None:
    done = ctl(*at, "authority", "add", tmp_path / "authority.pem")
    assert done.status == 2
    assert f"{tmp_path}/authority.pem: No such file or directory" in done.err


@pytest.mark.parametrize(
    "arguments", [[], ["forgive"], ["show"], ["show", "A11CE000", "B0B11111"], ["pending", "A"], ["--frob", "pending"]]
)
def test_wrong_usage_is_2(at: tuple[str, str], arguments: list[str]) -> None:
    assert ctl(*at, *arguments).status == 2


def test_a_configuration_that_cannot_be_used_is_1_and_says_why(tmp_path: Path) -> None:
    file = tmp_path / "eximcertd.toml"
    file.write_text("[control]\nsockt = 1\n")
    done = ctl("--config", file, "status")
    assert done.status == 1
    assert "sockt: no such key" in done.err


def test_the_configured_socket_is_used(twin: Twin, tmp_path: Path) -> None:
    file = tmp_path / "eximcertd.toml"
    file.write_text(f'[control]\nsocket = "{twin.path}"\n')
    assert ctl("--config", file, "status", "--json").json["counts"]["pending"] == 0


def test_an_answer_of_another_version_is_no_traceback(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "control"))
        listener.listen()

        def old() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b'{"error":"org.varlink.service.MethodNotFound","parameters":{"method":"x"}}\0')

        thread = threading.Thread(target=old)
        thread.start()
        done = ctl("--socket", tmp_path / "control", "status")
        thread.join()
    assert done.status == 1
    assert "of the same version" in done.err
