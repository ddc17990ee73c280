"""``eximcertctl client snippet``: the lines that make another mail system such a client, pinned both ways."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import click

from eximcertd.cli.client import files, lines
from eximcertd.cli.client.certificate import fingerprint_of
from eximcertd.cli.context import json_option
from eximcertd.cli.output import print_json, say
from eximcertd.errors import EximcertdError

if TYPE_CHECKING:
    from eximcertd.cli.client.files import Smarthost
    from eximcertd.cli.client.mail_system import MailSystem
    from eximcertd.fingerprint import Fingerprint


def _postfix(server: Smarthost, pinned: Fingerprint) -> str:
    host = f"[{server.host}]:{server.port}"
    return f"""\
# /etc/postfix/main.cf. Postfix reads the key as root, before it gives its rights up.
relayhost = {host}
smtp_tls_cert_file = {files.CERTIFICATE}
smtp_tls_key_file = {files.KEY}
smtp_tls_security_level = fingerprint
smtp_tls_fingerprint_digest = sha256
smtp_tls_fingerprint_cert_match = {_colons(pinned)}
"""


def _msmtp(server: Smarthost, pinned: Fingerprint) -> str:
    return f"""\
# ~/.msmtprc or /etc/msmtprc. msmtp runs as the user: the user needs the key. Give it to that user alone, as root:
#   install -m 600 -o USER {files.KEY} ~USER/.msmtp-key.pem
# and name that file as tls_key_file.
account eximcertd
host {server.host}
port {server.port}
tls on
tls_starttls on
tls_fingerprint {_colons(pinned)}
tls_cert_file {files.CERTIFICATE}
tls_key_file {files.KEY}
auth off
from %U@%H
account default : eximcertd
"""


def _opensmtpd(server: Smarthost, _pinned: Fingerprint) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"""\
# smtpd.conf(5). OpenSMTPD 7 or newer: Debian 12 has 6.8, which cannot use a key with OpenSSL 3. smtpd reads the key as
# root. From 7 on it compares the name in the server's certificate with the one below.
pki eximcertd cert "{files.CERTIFICATE}"
pki eximcertd key "{files.KEY}"
ca eximcertd cert "{files.SERVER_CERTIFICATE}"
action "eximcertd" relay host smtp+tls://{host}:{server.port} tls pki eximcertd ca eximcertd
match from local for any action "eximcertd"
"""


def _swaks(server: Smarthost, _pinned: Fingerprint) -> str:
    return f"""\
# A test message, as root (the key is root's and Exim's):
swaks --server {server.host} --port {server.port} --tls --tls-verify --tls-ca-path {files.SERVER_CERTIFICATE} \\
  --tls-cert {files.CERTIFICATE} --tls-key {files.KEY} --from root@$(hostname -f) --to SOMEBODY@EXAMPLE.ORG
"""


def _exim(server: Smarthost, _pinned: Fingerprint | None = None) -> str:
    return f"""\
# After "begin routers", before the router that sends mail to other hosts:
{lines.router(server, head="")}
# After "begin transports":
{lines.transport(head="")}"""


SNIPPETS: Final = {
    "postfix": _postfix,
    "msmtp": _msmtp,
    "opensmtpd": _opensmtpd,
    "exim": _exim,
    "swaks": _swaks,
}


@click.command("snippet")
@click.argument("mta", type=click.Choice(list(SNIPPETS)))
@json_option
def snippet(mta: str, as_json: bool) -> None:
    """Print what another mail system needs to be such a client.

    It shows this machine's certificate, and sends nothing to a server that does not show the certificate that client
    setup kept.
    """
    server = files.Smarthost.kept()
    if server is None:
        raise EximcertdError(
            "this machine has no key and knows no server yet", hint="as root: eximcertctl client setup HOST"
        )
    text = SNIPPETS[mta](server, fingerprint_of(files.SERVER_CERTIFICATE))
    if as_json:
        print_json({"mta": mta, "server": str(server), "text": text})
    else:
        say(text.removesuffix("\n"))


def for_exim(system: MailSystem, server: Smarthost) -> str:
    """Return the lines for a hand-written configuration, and where in it they go."""
    places = []
    config = system.config
    if config is not None and config.is_file():
        for number, line in enumerate(config.read_text("utf-8", "replace").splitlines(), 1):
            if re.match(r"\s*begin\s+(router|transport)s?\b", line):
                places.append(f'"{line.strip()}" is line {number}')
    where = f" ({', '.join(places)})" if places else ""
    text = "".join(f"    {line}\n" if line else "\n" for line in _exim(server).splitlines())
    return (
        f"Exim reads {config}, which is not Debian's own configuration: it was not touched. Put these lines into "
        f"it{where}:\n\n{text}\nThen let Exim check it (exim -bV) and restart Exim."
    )


def _colons(fingerprint: Fingerprint) -> str:
    return ":".join(fingerprint[i : i + 2] for i in range(0, len(fingerprint), 2))
