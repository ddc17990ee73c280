"""eximcertctl certificate."""

from __future__ import annotations

import base64
import ssl

import click

from eximcertd.cli.arguments import fingerprint_argument, prefix
from eximcertd.cli.context import Context, json_option, pass_context
from eximcertd.cli.output import print_json
from eximcertd.errors import EximcertdError
from eximcertd.fingerprint import of_der


@click.command("certificate")
@fingerprint_argument
@json_option
@pass_context
def command(context: Context, fingerprint: tuple[str, ...], as_json: bool) -> None:
    """Print a certificate in PEM form, and nothing else."""
    asked = prefix(fingerprint)
    answer = context.call("GetCertificate", fingerprint=asked)
    der = base64.b64decode(answer["der"], validate=True)
    if not of_der(der).startswith(asked):
        raise EximcertdError(
            "eximcertd sent another certificate than the one that was asked for",
            hint="restart eximcertd; if that does not help, see journalctl -u eximcertd",
        )
    pem = ssl.DER_cert_to_PEM_cert(der)
    if as_json:
        print_json({"fingerprint": of_der(der), "pem": pem})
    else:
        click.echo(pem, nl=False)
