"""The sockets that Exim's options name, against those that real Exims open."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from lab.exim import EXIM, EximServer
from lab.wait import until

from eximcertd.exim.listeners import endpoints, listeners, named_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from eximcertd.exim.listeners import Look

LOCALHOST, SECOND, V6 = "0100007F", "0200007F", "00000000000000000000000001000000"


@pytest.mark.parametrize(
    ("option", "interfaces", "ports", "found"),
    [
        ("", "", "smtp", {("", 25)}),
        ("", "<; 0.0.0.0 ; ::0", "smtp : 587", {("", 25), ("", 587)}),
        ("", "<; 127.0.0.1 ; ::1", "smtp", {(LOCALHOST, 25), (V6, 25)}),
        ("", "127.0.0.1.2525", "smtp", {(LOCALHOST, 2525)}),
        ("", "<; [::1]:2525 ; ::1.2526 ; 127.0.0.1:2527 ; 127.0.0.2", "465",
         {(V6, 2525), (V6, 2526), (LOCALHOST, 2527), (SECOND, 465)}),
        ("2525", "127.0.0.1.26", "smtp", {(LOCALHOST, 26)}),
        ("2525", "127.0.0.1.26 : 127.0.0.2", "smtp", {(LOCALHOST, 26), (SECOND, 2525)}),
        ("127.0.0.1", "127.0.0.2.26", "587", {(LOCALHOST, 587)}),
        ("2525 : 127.0.0.2", "127.0.0.1", "587", {(SECOND, 2525)}),
        ("127.0.0.2.2526 : 2525", "127.0.0.1", "587", {(SECOND, 2526)}),
        ("<; [::1].2525 ; 127.0.0.1", "", "submission", {(V6, 2525), (LOCALHOST, 587)}),
        ("9" * 5000, "", "smtp", {("", 999999)}),
        ("", "no address", "no-such-service", {("", 25)}),
        ("<", "<", "<", {("", 25)}),
    ],
)  # fmt: skip
def test_an_option_names_endpoints(option: str, interfaces: str, ports: str, found: set[tuple[str, int]]) -> None:
    assert endpoints(option, interfaces, ports) == found


def test_a_list_without_end_is_cut() -> None:
    assert len(endpoints(":".join(map(str, range(1, 1000))), "", "smtp")) == 64


def test_the_ports_of_tls_on_connect_are_named_too() -> None:
    assert named_ports({("", 25)}, "465 : submission") == {25, 465, 587}


@pytest.fixture
def server() -> Iterator[EximServer]:
    """Files of an Exim that is not started."""
    server = EximServer()
    yield server
    server.remove()


@contextmanager
def daemon(server: EximServer, *arguments: str) -> Iterator[int]:
    """Run a daemon with arguments of its own; give its process id."""
    with subprocess.Popen([EXIM, "-C", server.configuration, "-bdf", *arguments], stdin=subprocess.DEVNULL) as process:
        try:
            yield process.pid
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("interfaces", "option"),
    [
        ("127.0.0.1", "{0}"),
        ("127.0.0.1.{0}", "{1}"),
        ("127.0.0.1.{0} : 127.0.0.2", "{1}"),
        ("127.0.0.1", "{0} : 127.0.0.3"),
        ("127.0.0.1", "127.0.0.3.{0} : {1}"),
        ("<; [127.0.0.1]:{0} ; [::1]:{1}", ""),
    ],
)
def test_exim_opens_the_sockets_that_its_options_name(server: EximServer, interfaces: str, option: str) -> None:
    ports = (server.port, server.port + 1)
    interfaces, option = interfaces.format(*ports), option.format(*ports)
    text = server.configuration.read_text()
    server.configuration.write_text(re.sub("local_interfaces = .*", f"local_interfaces = {interfaces}", text))
    named = endpoints(option, interfaces, str(server.port))
    with daemon(server, *(("-oX", option) if option else ())) as pid:

        def opened() -> set[tuple[str, int]]:
            return {(one.address, one.port) for one in listeners([pid], ports)}

        until(lambda: opened() == named, f"it listens on {named}")


def test_a_socket_is_shown_as_people_write_it_with_the_user_who_opened_it() -> None:
    with socket.socket(socket.AF_INET6) as six, socket.socket() as four:
        for held, where in ((six, "::1"), (four, "127.0.0.1")):
            held.bind((where, 0))
            held.listen()
            port = held.getsockname()[1]
            (found,) = listeners([os.getpid()], [port])
            assert str(found) == (f"[::1]:{port}" if where == "::1" else f"127.0.0.1:{port}")
            assert found.user == os.geteuid()
            assert found.inode == str(os.fstat(held.fileno()).st_ino)


def test_a_connection_is_no_listener(tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        assert not listeners([os.getpid()], [port])
        held.listen()
        with socket.create_connection(("127.0.0.1", port)):
            assert len(listeners([os.getpid()], [port])) == 1


def test_what_one_look_has_read_is_not_read_again() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        look: Look = {}
        assert not listeners([os.getpid()], [port], look)
        held.listen()
        assert not listeners([os.getpid()], [port], look)
        assert listeners([os.getpid()], [port], {})


def test_a_socket_on_all_addresses_takes_the_connections_of_each() -> None:
    with socket.socket() as held:
        held.bind(("0.0.0.0", 0))  # noqa: S104 - that is what is tested
        held.listen()
        port = held.getsockname()[1]
        (found,) = listeners([os.getpid()], [port])
        assert found.anywhere
        assert found.is_one_of({("", port)})
        assert not found.is_one_of({(LOCALHOST, port)})
        assert found.overlaps({(LOCALHOST, port)})
        assert not found.overlaps({(LOCALHOST, port + 1)})
