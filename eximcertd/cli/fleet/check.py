"""eximcertctl fleet check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from eximcertd.cli.context import Context, json_option
from eximcertd.cli.formatting import count
from eximcertd.cli.output import print_json, say
from eximcertd.config import FleetSettings
from eximcertd.errors import Exit
from eximcertd.fleet.remote import RemoteError

if TYPE_CHECKING:
    from pathlib import Path

    from eximcertd.fleet.remote import Desk

_PORTION: Final = 500


@click.command("check")
@json_option
@click.pass_context
def check(ctx: click.Context, as_json: bool) -> None:
    """Check the whole chain of acts.

    None may be missing or changed; if there are signers, every signature is verified.
    """
    from eximcertd.cli.fleet.connection import DeskConnection  # noqa: PLC0415 - only where it is called

    context: Context = ctx.obj
    fleet = context.fleet() or FleetSettings()
    with DeskConnection(context) as connection:
        here = connection.here.status()  # before the chain is read: what the relay has is in it
        found = checked_chain(connection.desk, fleet.signers, in_files=fleet.directory is not None)
    hashes = found.pop("hashes")
    if here and here["generation"] and not found["problem"] and hashes.get(here["generation"]) != here["hash"]:
        found["problem"] = (
            f"act {here['generation']} of this relay differs from the fleet's, or the fleet does not have it"
        )
    if as_json:
        print_json(found)
    elif found["problem"]:
        say(f"THE CHAIN IS BROKEN: {found['problem']}", alarm=True, err=True)
        say('  see "A relay refuses an act" in docs/fleet.md', err=True)
    else:
        signed = (
            ", each signed by one of the signers"
            if found["signed"]
            else "; [fleet] signers is not set: no signature was checked"
        )
        what = f"{count(found['acts'], 'act')} on {count(found['fingerprints'], 'fingerprint')}"
        say(f"{what}: the chain is whole{signed}.")
        say(f"Act {found['acts']:,} has the hash {found['hash']}" if found["acts"] else "Nothing was decided yet.")
    ctx.exit(Exit.FAILED if found["problem"] else Exit.DONE)


def checked_chain(desk: Desk, signers: Path | None, *, in_files: bool) -> dict[str, Any]:
    """Return {acts, fingerprints, hash, signed, problem, hashes}: how far the chain is right. Raises RemoteError."""
    from eximcertd.acts.act import ActError, Head, checked  # noqa: PLC0415 - only where it is called
    from eximcertd.acts.signature import verify  # noqa: PLC0415 - the same

    head, hashes, fingerprints, problem = Head(), {}, set[str](), None
    try:
        end = desk.head()
        while acts := desk.acts(head.generation, _PORTION):
            for act in acts:
                following = head.followed_by(checked(act))
                if signers:
                    verify(act, signers)
                head = following
                hashes[head.generation] = head.hash
                fingerprints.update(act.fingerprints)
        if head.generation < end.generation or hashes.get(end.generation, end.hash) != end.hash:
            problem = f"the fleet says that its last act is {end.generation}, and its acts do not end with that one"
    except ActError as error:
        problem = error.message
    except RemoteError as error:
        if not in_files:
            raise
        problem = error.message  # no network is between: a file is not what it must be
    return {
        "acts": head.generation,
        "fingerprints": len(fingerprints),
        "hash": head.hash,
        "signed": signers is not None,
        "problem": problem,
        "hashes": hashes,
    }
