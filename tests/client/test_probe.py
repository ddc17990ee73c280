"""``client probe``: what it says at each step at which a server and a client can differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from lab.laptop import SERVER, Laptop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.exim import EximServer


@pytest.fixture
def client(server: EximServer) -> Iterator[Laptop]:
    """Make a laptop that was set up for the server."""
    with Laptop(split=True) as laptop:
        told = server.identity.fingerprint
        laptop.ctl("client", "setup", f"{SERVER}:{server.port}", "--yes", "--server-fingerprint", told)
        yield laptop


def probe(laptop: Laptop, *arguments: str) -> tuple[int, str, Any]:
    """Return the exit status, the lines, and what --json says."""
    done = laptop.ctl("client", "probe", *arguments, good=False)
    return done.returncode, done.stdout, laptop.json("client", "probe", *arguments, good=False)


def own_fingerprint(laptop: Laptop) -> str:
    printed = laptop.sh("openssl x509 -in /etc/eximcertd/client/certificate.pem -noout -fingerprint -sha256")
    return printed.strip().partition("=")[2].replace(":", "")


def test_one_that_waits_gives_the_digits_to_tell_then_is_approved_and_no_message_is_sent(
    server: EximServer, client: Laptop
) -> None:
    fingerprint = own_fingerprint(client)
    status, said, found = probe(client)
    assert status == 5
    assert f"eximcertctl approve {fingerprint[:16]}, there" in said
    assert "550 relay not permitted to RCPT" in said
    assert found["approved"] is False
    assert [step["verdict"] for step in found["steps"]] == ["ok", "ok", "ok", "error"]
    assert any(fingerprint in line for line in server.lines())

    server.allow([fingerprint])
    server.reload()
    status, said, found = probe(client)
    assert status == 0
    assert "the server relays for this machine" in said
    assert found["approved"] is True
    assert server.delivered() == ""
    assert not any(" <= " in line or "connection lost" in line or "TLS error" in line for line in server.lines()), (
        server.lines()
    )


def test_nobody_who_listens_is_told_with_the_servers_status(server: EximServer, client: Laptop) -> None:
    server.stop()
    status, said, _ = probe(client)
    assert status == 4
    assert "Connection refused" in said


def test_a_name_without_an_address_is_told(client: Laptop) -> None:
    status, said, _ = probe(client, "no-such-host.invalid")
    assert status == 4
    assert "has no address" in said


def test_a_server_without_tls_is_told(server: EximServer, client: Laptop) -> None:
    server.configure(main="local_interfaces = 127.0.0.1 : 127.0.0.2\ntls_advertise_hosts =")
    server.reload()
    status, said, _ = probe(client)
    assert status == 1
    assert "does not offer STARTTLS" in said


def test_a_server_that_cannot_start_tls_is_told(server: EximServer, client: Laptop) -> None:
    server.identity.key.chmod(0o600)
    server.restart()
    status, said, _ = probe(client)
    assert status == 1
    assert "454" in said


def test_an_impostor_is_told_and_gets_no_recipient(server: EximServer, impostor: EximServer, client: Laptop) -> None:
    server.stop()
    impostor.start()
    status, said, found = probe(client)
    assert status == 7
    assert "another certificate than the one that was kept" in said
    assert len(found["steps"]) == 2
    assert not any("RCPT" in line for line in impostor.lines())


def test_a_server_that_does_not_ask_for_a_certificate_is_told(server: EximServer, client: Laptop) -> None:
    server.configure(main="local_interfaces = 127.0.0.1 : 127.0.0.2\ntls_try_verify_hosts =")
    server.reload()
    status, said, _ = probe(client)
    assert status == 1
    assert "did not ask for a certificate" in said


def test_a_server_that_cannot_decide_is_told(server: EximServer, client: Laptop) -> None:
    server.configure(acl="  defer message = try again\n")
    server.reload()
    status, said, _ = probe(client)
    assert status == 1
    assert "451 try again to RCPT" in said


def test_who_may_not_read_the_key_is_told_so(client: Laptop) -> None:
    done = client.ctl("client", "probe", user="nobody", good=False)
    assert done.returncode == 5
    assert "run it as root" in done.stderr


def test_a_machine_that_was_not_set_up_is_told_how(laptop: Laptop) -> None:
    done = laptop.ctl("client", "probe", good=False)
    assert done.returncode == 1
    assert "eximcertctl client setup HOST" in done.stderr
