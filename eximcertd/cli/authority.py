"""eximcertctl authority."""

from __future__ import annotations

import base64
import os
import uuid
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eximcertd.cli.arguments import fingerprint_argument, names, prefix
from eximcertd.cli.context import Context, json_option, pass_context
from eximcertd.cli.decision import (
    check_root,
    exit_status,
    here_option,
    note_option,
    override_shrink,
    say_fleet,
    say_publication,
)
from eximcertd.cli.formatting import WIDTH, count, digits, wrapped
from eximcertd.cli.output import print_json, print_json_array, say
from eximcertd.cli.times import local
from eximcertd.control.caller import name_of
from eximcertd.control.client import PUBLISH_TIMEOUT, LostError
from eximcertd.errors import UsageError
from eximcertd.text import clean, shown

if TYPE_CHECKING:
    from collections.abc import Iterator


@click.group("authority")
def command() -> None:
    """Let Exim relay for the clients of a certificate authority.

    Each certificate that an approved authority has issued for a client is approved when its client first shows it.
    """


@command.command("add")
@click.argument("given", nargs=-1, required=True, metavar="FILE|FINGERPRINT")
@click.option("--name", "names", multiple=True, metavar="PATTERN", help="Only for these names; * stands for any part.")
@click.option("--crl", default="", metavar="FILE", help="Its certificate revocation list, which eximcertd reads.")
@click.option("--ca", is_flag=True, help="Approve the certificate of a client as an authority.")
@here_option
@note_option
@json_option
@click.pass_context
def add(  # noqa: PLR0917 - an argument for each option
    ctx: click.Context,
    given: tuple[str, ...],
    names: tuple[str, ...],
    crl: str,
    ca: bool,
    here: bool,
    note: str,
    as_json: bool,
) -> None:
    """Approve an authority.

    It is the one that signs the clients' certificates directly. FILE holds its certificate, in PEM or DER; FINGERPRINT
    is that of one that is known.
    """
    if not here and ctx.obj.fleet():
        if crl:
            raise UsageError("--crl is for one relay: its file lies there", hint="add --here, on each relay")
        from eximcertd.cli.fleet import authorities  # noqa: PLC0415 - without a fleet it is not imported

        answer = authorities.add(ctx.obj, _certificate(given), names, note, client_too=ca)
    else:
        answer = _ask(
            ctx.obj,
            "AddAuthority",
            **_certificate(given),
            names=names,
            crl=str(Path(crl).absolute()) if crl else "",
            insist=["ca"] if ca else [],
            note=note,
        )
    if as_json:
        print_json(answer)
    elif "fleet" in answer:
        _say_fleet("approved", answer)
    else:
        say("\n".join(_whole(answer["authority"])))
        say(f"{count(answer['enrolled'], 'waiting certificate')} approved by it now.")
        say_publication(answer["publication"])
        say("The first try of each new client needs the statements of `eximcertctl setup --authorities`.")
    ctx.exit(int(exit_status(answer)))


@command.command("withdraw")
@fingerprint_argument
@here_option
@click.option("--allow-shrink", is_flag=True, help="As root: override [publish] max_shrink.")
@note_option
@json_option
@click.pass_context
def withdraw(  # noqa: PLR0917 - an argument for each option
    ctx: click.Context, fingerprint: tuple[str, ...], here: bool, allow_shrink: bool, note: str, as_json: bool
) -> None:
    """Withdraw an authority, and every approval that came through it.

    Certificates that a person has approved one by one stay approved.
    """
    if allow_shrink:
        check_root("--allow-shrink")
    given = prefix(fingerprint)
    withdrawn_here = partial(_ask, ctx.obj, "WithdrawAuthority", fingerprint=given, note=note)
    if here or not ctx.obj.fleet():
        answer = withdrawn_here()
    else:
        from eximcertd.cli.fleet import authorities  # noqa: PLC0415 - without a fleet it is not imported

        answer = authorities.withdraw(ctx.obj, given, note, withdrawn_here)
    if allow_shrink and answer.get("publication"):
        override_shrink(ctx.obj, answer, None)
    if as_json:
        print_json(answer)
    elif "fleet" in answer:
        _say_fleet("withdrawn", answer)
    else:
        say(f"withdrawn {digits(answer['authority']['fingerprint'])}")
        say(f"{count(answer['ended'], 'certificate')} no longer approved by it.")
        say_publication(answer["publication"])
    ctx.exit(int(exit_status(answer)))


@command.command("list")
@json_option
@pass_context
def list_(context: Context, as_json: bool) -> None:
    """List the authorities."""
    found = _authorities(context, None)
    if as_json:
        print_json_array(found)
        return
    for one in found:
        say(shown(f"{clean(one['fingerprint'][:16])}  {clean(one['standing'])}  {one['subject']}", WIDTH))
        say(f"  {count(one['enrolled'], 'certificate')} approved by it")
        if one["problem"]:
            say("\n".join(wrapped("  ! ", one["problem"])), alarm=True)
    if not found:
        say("No authority was ever approved.")


@command.command("show")
@fingerprint_argument
@json_option
@pass_context
def show(context: Context, fingerprint: tuple[str, ...], as_json: bool) -> None:
    """Show one authority, and what stays refused under it."""
    [found] = _authorities(context, prefix(fingerprint))
    (print_json if as_json else lambda one: say("\n".join(_whole(one))))(found)


def _say_fleet(what: str, answer: dict[str, Any]) -> None:
    say(f"{what} {digits(answer['authority']['fingerprint'])}")
    if answer["authority"]["subject"]:
        say(shown(f"  {answer['authority']['subject']}", WIDTH))
    if "ended" in answer:
        say(f"{count(answer['ended'], 'certificate')} no longer approved by it on this relay.")
    say_fleet(answer["fleet"])
    say_publication(answer["publication"])


def _authorities(context: Context, fingerprint: str | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = context.call("Authorities", fingerprint=fingerprint)["authorities"]
    return found


def _ask(context: Context, method: str, **parameters: Any) -> dict[str, Any]:
    parameters |= {"request": str(uuid.uuid4()), "by": name_of(os.getuid(), os.getpid())}
    with context.client() as client:
        try:
            answer: dict[str, Any] = client.call(method, parameters, timeout=PUBLISH_TIMEOUT)
        except LostError as error:
            hint = "to see whether it was decided: eximcertctl authority list"
            raise LostError(f"outcome unknown: {error.message}", hint=hint) from error
    return answer


def _certificate(given: tuple[str, ...]) -> dict[str, str]:
    """Return the parameters for a file or a fingerprint: hex digits are one, whatever file has such a name.

    Raises UsageError.
    """
    file, (digits, _) = Path(given[0]), names(given)
    if digits or len(given) > 1:
        return {"fingerprint": prefix(given)}
    from eximcertd.authorities.pem import LARGEST_FILE, one_certificate  # noqa: PLC0415 - the other verbs need none

    try:
        with file.open("rb") as stream:
            der = one_certificate(stream.read(LARGEST_FILE))
    except OSError as error:
        raise UsageError(
            f"{file}: {error.strerror}", hint="give the file of its certificate, or a fingerprint"
        ) from error
    except UsageError as error:
        raise UsageError(f"{file}: {error.message}", hint=error.hint) from error
    return {"certificate": base64.b64encode(der).decode()}


def _whole(one: dict[str, Any]) -> Iterator[str]:
    yield digits(one["fingerprint"])
    past = "approved" if one["standing"] == "approved" else "withdrawn"
    fields = {
        "subject": one["subject"],
        past: f"{local(one['at'])} by {one['by']}" + (f": {one['note']}" if one["note"] else ""),
        "valid": f"{local(one['not_before'])} to {local(one['not_after'])}",
        "names": " ".join(one["names"]) or "any",
        "CRL": one["crl"] or "none",
        "enrolled": f"{one['enrolled']:,}",
    }
    for name, value in fields.items():
        yield from wrapped(f"  {name:<12}", value)
    if one["problem"]:
        yield from wrapped("  ! ", one["problem"])
    for denied in one["denied"]:
        yield from wrapped("  refused     ", denied)
