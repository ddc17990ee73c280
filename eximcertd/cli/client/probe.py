"""``eximcertctl client probe``: what the server does with this machine's certificate, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import click

from eximcertd.cli.client import files
from eximcertd.cli.client.certificate import fingerprint_of, machine_name
from eximcertd.cli.context import json_option
from eximcertd.cli.output import print_json, say
from eximcertd.errors import EximcertdError, Exit, NotPermittedError
from eximcertd.exim import starttls
from eximcertd.fingerprint import grouped, of_der

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eximcertd.cli.client.files import Smarthost
    from eximcertd.exim.starttls import SmtpReply, StarttlsError, TlsSession
    from eximcertd.fingerprint import Fingerprint

RECIPIENT: Final = "eximcertd-probe@example.invalid"
"""An address that is local nowhere (RFC 2606): a server accepts it only from clients that it relays for."""
_TOLD_DIGITS: Final = 16
_REMEDIES: Final[dict[str, str]] = {
    "resolve": "check the name, and this machine's DNS",
    "connect": "check that the server runs and that nothing on the way blocks the port (many providers block port 25; "
    "a server may listen on 587 as well: eximcertctl client setup HOST:587)",
    "greeting": "ask the server's administrator, or try again later",
    "starttls": "no mail is sent without TLS; the server's administrator has to set up TLS (eximcertctl check, there)",
    "handshake": "ask the server's administrator; the server's log says more",
    "session": "try again; the server's log says more",
}
"""step -> what to do where the session ends there."""


class ProbeStep(NamedTuple):
    """One step. verdict: "ok" or "error". remedy: what to do, or "". status: the exit status for it."""

    verdict: str
    sentence: str
    remedy: str = ""
    status: Exit = Exit.DONE


@click.command("probe")
@click.argument("host", required=False, metavar="[HOST[:PORT]]")
@click.option(
    "--recipient", default=RECIPIENT, metavar="ADDRESS", help="Ask for this address, which must not be local there."
)
@json_option
@click.pass_context
def probe(ctx: click.Context, host: str | None, recipient: str, as_json: bool) -> None:
    """See what the server does with this machine's certificate.

    Connects as this machine's mail system would, names a sender and a recipient, and sends no message. HOST is the
    server that client setup was given.
    """
    server = files.Smarthost.kept() if host is None else files.Smarthost.parse(host)
    if server is None or not files.KEY.exists():
        raise EximcertdError("this machine is no client yet", hint="as root: eximcertctl client setup HOST")
    findings = []
    for finding in look(server, recipient):
        findings.append(finding)
        if not as_json:
            say(f"{finding.verdict:<6} {finding.sentence}")
            if finding.remedy:
                say(f"       {finding.remedy}")
    if as_json:
        print_json(
            {
                "server": str(server),
                "approved": findings[-1].verdict == "ok",
                "steps": [{"verdict": f.verdict, "sentence": f.sentence, "remedy": f.remedy} for f in findings],
            }
        )
    ctx.exit(int(findings[-1].status))


def look(server: Smarthost, recipient: str) -> Iterator[ProbeStep]:
    """Yield the result of each step; the last one says whether the server relays. Raises EximcertdError."""
    own = fingerprint_of(files.CERTIFICATE)
    pinned = fingerprint_of(files.SERVER_CERTIFICATE)
    name = machine_name()
    try:
        files.KEY.open("rb").close()
    except PermissionError:
        raise NotPermittedError(f"the key {files.KEY} cannot be read", hint="run it as root") from None
    try:
        with starttls.connect(server.host, server.port, helo=name, identity=(files.CERTIFICATE, files.KEY)) as session:
            yield ProbeStep("ok", f"{server} answers, and starts {session.protocol}")
            yield from _asked(session, own, pinned, f"eximcertd-probe@{name}", recipient)
    except starttls.StarttlsError as error:
        yield _ended(error)


def _asked(
    session: TlsSession, own: Fingerprint, pinned: Fingerprint, sender: str, recipient: str
) -> Iterator[ProbeStep]:
    shows = of_der(session.certificate)
    if shows != pinned:
        yield ProbeStep(
            "error",
            f"the server shows another certificate than the one that was kept: {grouped(shows)}",
            "no mail is sent to it. Ask the server's administrator: if the certificate was replaced, run "
            "eximcertctl client setup again; if not, another machine answers in the server's place",
            Exit.REFUSED,
        )
        return
    yield ProbeStep("ok", "the server shows the certificate that was kept")
    if session.certificate_requested is False:
        yield ProbeStep(
            "error",
            "the server did not ask for a certificate",
            "the server's administrator has to set tls_try_verify_hosts = * (eximcertctl check, there)",
            Exit.FAILED,
        )
        return
    if session.certificate_requested:
        yield ProbeStep("ok", f"the server asked for a certificate and got ours: {grouped(own[:_TOLD_DIGITS])}")
    mail = session.command(f"MAIL FROM:<{sender}>")
    answer = session.command(f"RCPT TO:<{recipient}>") if mail.code < 400 else mail  # noqa: PLR2004 - SMTP's failures
    session.command("RSET")
    yield _decided(answer, own, "MAIL" if answer is mail else "RCPT")


def _decided(answer: SmtpReply, own: Fingerprint, to: str) -> ProbeStep:
    """Return what an answer to MAIL or RCPT means (RFC 5321, section 4.2.1)."""
    if answer.code < 400:  # noqa: PLR2004 - the same
        return ProbeStep("ok", "the server relays for this machine: it is approved")
    if answer.code < 500:  # noqa: PLR2004 - the same
        return ProbeStep(
            "error",
            f"the server cannot decide now: it answers {answer} to {to}",
            "mail waits in the queue. Tell the server's administrator; its main log says why",
            Exit.FAILED,
        )
    return ProbeStep(
        "error",
        f"the server does not relay for this machine: it answers {answer} to {to}",
        f"it waits for approval. Tell the server's administrator these digits: {grouped(own[:_TOLD_DIGITS])} "
        f"(eximcertctl approve {own[:_TOLD_DIGITS]}, there)",
        Exit.NOT_PERMITTED,
    )


def _ended(error: StarttlsError) -> ProbeStep:
    status = Exit.NO_ANSWER if error.step in {"resolve", "connect"} else Exit.FAILED
    return ProbeStep("error", error.message, error.hint or _REMEDIES[error.step], status)
