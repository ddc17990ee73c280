"""``eximcertctl client``: this machine as a client of an Exim that relays by certificate. No daemon is needed."""

from __future__ import annotations

import click

from eximcertd.cli.client.probe import probe
from eximcertd.cli.client.setup import setup
from eximcertd.cli.client.snippet import snippet

command = click.Group(
    "client",
    help="Make this machine a client of a server that relays by certificate, and see whether it relays.",
    commands=[setup, probe, snippet],
)
