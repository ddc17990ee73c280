"""STARTTLS as a client does it: what a real Exim shows, and what no server may do to the caller."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
from lab.certificates import make
from lab.exim import EximServer

from eximcertd.errors import EximcertdError
from eximcertd.exim.starttls import StarttlsError, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lab.certificates import Identity

    Talk = Callable[[socket.socket], None]


@contextmanager
def listening(talk: Talk) -> Iterator[int]:
    """Run a server that talks to one client as ``talk`` does; yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                talk(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(10)


def step_of(port: int, **options: float) -> str:
    """Return the step at which the session ends."""
    with pytest.raises(StarttlsError) as caught:
        connect("127.0.0.1", port, helo="client.lab.example", **options)  # type: ignore[arg-type]
    return caught.value.step


def test_it_shows_the_certificate_of_a_server_and_that_ours_was_asked_for(exim: EximServer, alice: Identity) -> None:
    with connect("127.0.0.1", exim.port, helo="laptop", identity=(alice.certificate, alice.key)) as session:
        assert session.certificate == exim.identity.der
        assert session.certificate_requested is True
        assert session.command("MAIL FROM:<a@lab.example>").code == 250
        assert session.command("RCPT TO:<b@remote.example>").code == 550
    assert any(alice.fingerprint in line for line in exim.lines())


def test_a_server_that_asks_for_no_certificate_is_told() -> None:
    with (
        EximServer(main="tls_try_verify_hosts =") as exim,
        connect("127.0.0.1", exim.port, helo="laptop") as session,
    ):
        assert session.certificate_requested is False


def test_a_server_without_starttls_is_told() -> None:
    with EximServer(main="tls_advertise_hosts =") as exim:
        assert step_of(exim.port) == "starttls"


def test_a_server_that_takes_tls_at_once_is_spoken_to_so(exim: EximServer) -> None:
    exim.configure(main=f"tls_on_connect_ports = {exim.port}")
    exim.reload()
    with connect("127.0.0.1", exim.port, helo="laptop", on_connect=True) as session:
        assert session.certificate == exim.identity.der


def test_a_port_on_which_nobody_listens_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert step_of(port) == "connect"


def test_a_port_that_answers_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, ExitStack() as waiting:
        for _ in range(4):  # as many as it lets wait; who comes then gets no answer
            one = waiting.enter_context(socket.socket())
            one.settimeout(0)
            one.connect_ex(server.getsockname())
        assert step_of(server.getsockname()[1], limit=0.3) == "connect"


def test_a_server_that_refuses_the_certificate_is_told(mallory: Identity) -> None:
    with EximServer(main="tls_verify_hosts = *") as exim, pytest.raises(StarttlsError) as caught:
        connect("127.0.0.1", exim.port, helo="laptop", identity=(mallory.certificate, mallory.key))
    assert caught.value.step == "handshake"


def test_a_name_without_address_is_told() -> None:
    with pytest.raises(StarttlsError) as caught:
        connect("no-such-host.invalid", 25, helo="laptop")
    assert caught.value.step == "resolve"


def test_a_server_that_says_nothing_is_given_up() -> None:
    done = threading.Event()

    def talk(_: socket.socket) -> None:
        done.wait(10)

    with listening(talk) as port:
        assert step_of(port, limit=0.2) == "greeting"
        done.set()


def test_a_server_that_never_ends_its_reply_is_given_up() -> None:
    def talk(connection: socket.socket) -> None:
        try:
            while True:
                connection.sendall(b"220-more\r\n" * 1000)
        except OSError:
            return

    with listening(talk) as port:
        assert step_of(port) == "greeting"


def test_what_a_server_adds_in_clear_text_to_its_answer_to_starttls_is_not_taken_for_an_answer_under_tls() -> None:
    def talk(connection: socket.socket) -> None:
        stream = connection.makefile("rb")
        for answer in (b"220 hello", b"250 STARTTLS", b"220 go ahead\r\n250 injected"):
            connection.sendall(answer + b"\r\n")
            stream.readline()

    with listening(talk) as port:
        assert step_of(port) == "starttls"


def test_escape_sequences_of_a_server_are_escaped() -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(b"554 \x1b[2J\r\n")
        connection.recv(1)

    with listening(talk) as port, pytest.raises(StarttlsError, match=r"554 \\x1b\[2J"):
        connect("127.0.0.1", port, helo="laptop")


def test_tls_is_not_closed_by_close_notify_so_that_exim_does_not_go_on_in_clear_text(tmp_path: Path) -> None:
    identity = make(tmp_path, "server.lab.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.certificate, identity.key)
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    ends: list[object] = []

    def talk(connection: socket.socket) -> None:
        stream = connection.makefile("rwb", 0)
        for answer in (b"220 hello", b"250 STARTTLS", b"220 go ahead"):
            stream.write(answer + b"\r\n")
            stream.readline() if answer != b"220 go ahead" else None
        with context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False) as tls:
            for answer in (b"250 hello", b"221 bye"):
                tls.recv(100)
                tls.sendall(answer + b"\r\n")
            try:
                ends.append(tls.recv(100))
            except OSError:
                ends.append("no close_notify")

    with listening(talk) as port:
        connect("127.0.0.1", port, helo="laptop").close()
    assert ends == ["no close_notify"]


def test_a_certificate_and_a_key_that_do_not_belong_together_are_an_error(alice: Identity, mallory: Identity) -> None:
    with pytest.raises(EximcertdError, match="cannot be used"):
        connect("127.0.0.1", 1, helo="laptop", identity=(alice.certificate, mallory.key))


def test_a_line_that_holds_another_is_not_sent(exim: EximServer) -> None:
    with (
        connect("127.0.0.1", exim.port, helo="laptop") as session,
        pytest.raises(EximcertdError, match="control character"),
    ):
        session.command("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>")
