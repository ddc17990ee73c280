"""How a server is named, and how it is written into Exim's configuration."""

from __future__ import annotations

import pytest

from eximcertd.cli.client.files import Smarthost
from eximcertd.cli.client.lines import host_item
from eximcertd.errors import UsageError


@pytest.mark.parametrize(
    ("text", "host", "port", "item"),
    [
        ("mx.example.org", "mx.example.org", 25, "mx.example.org::25"),
        ("MX.Example.Org:587", "mx.example.org", 587, "mx.example.org::587"),
        ("192.0.2.1:2525", "192.0.2.1", 2525, "192.0.2.1::2525"),
        ("2001:db8::1", "2001:db8::1", 25, "[2001::db8::::1]::25"),
        ("[2001:db8::1]:587", "2001:db8::1", 587, "[2001::db8::::1]::587"),
        ("mx_1.example.org", "mx_1.example.org", 25, "mx_1.example.org::25"),
    ],
)
def test_a_server_is_a_name_or_an_address_with_a_port_or_without(text: str, host: str, port: int, item: str) -> None:
    server = Smarthost.parse(text)
    assert server == Smarthost(host, port)
    assert Smarthost.parse(str(server)) == server
    assert host_item(server) == item


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":25",
        "a b",
        "host:0",
        "host:99999",
        "-x",
        "x-.y",
        "1.2.3",
        "x:y:z:25",
        "${run{id}}",
        "a\nb",
        "a" * 254,
        "[mx]",
    ],
)
def test_what_is_no_server_never_reaches_a_configuration(text: str) -> None:
    with pytest.raises(UsageError):
        Smarthost.parse(text)
