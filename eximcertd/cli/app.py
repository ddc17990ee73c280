"""The program: its verbs, each loaded when it is called, and how errors end it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Final

import click

from eximcertd import __version__
from eximcertd.cli.context import Context
from eximcertd.cli.quick import DEFAULT_CONFIG, MISUNDERSTOOD, failed
from eximcertd.errors import EximcertdError

VERBS: Final[dict[str, str]] = {
    "pending": "Show the clients that were refused and wait for a decision.",
    "show": "Show one fingerprint with its certificate, attempts and decisions.",
    "certificate": "Print a certificate in PEM form.",
    "approve": "Let Exim relay for the holder of a certificate.",
    "reject": "Keep a certificate refused and take it off the pending list.",
    "revoke": "Withdraw the approval of a certificate.",
    "review": "Go through the clients that wait, and decide by a key.",
    "undo": "Take back your own last decision.",
    "settle": "Decide on everything that was removed or added by hand.",
    "authority": "Approve a certificate authority, and so the clients that it vouches for.",
    "list": "List the approved certificates.",
    "history": "Show the decisions: who made them, when and why.",
    "watch": "Print events as they happen.",
    "status": "Show the state of eximcertd, the log and Exim's list.",
    "setup": "Make this machine's Exim relay for approved clients.",
    "check": "Check the whole set-up and say what to do.",
    "scan": "Add the attempts in old logs.",
    "export": "Write the decisions for another machine.",
    "import": "Import decisions, or a list of fingerprints.",
    "client": "Make this machine a client of such a server.",
    "fleet": "Show the relays of a fleet, and decide for all of them.",
}
"""verb -> what it does, for --help. The verb's module has the same name."""

EXAMPLES: Final[dict[str, str]] = {
    "pending": "pending --since 2d",
    "show": "show 58CD37DA",
    "certificate": "certificate 58CD37DA",
    "approve": "approve laptop.alice.example --note 'asked by phone'",
    "reject": "reject 58CD37DA --note 'not one of ours'",
    "revoke": "revoke 58CD37DA --end-sessions",
    "review": "review",
    "undo": "undo",
    "settle": "settle --removed approve",
    "authority": "authority list",
    "list": "list --at 2026-11-01",
    "history": "history -n 10",
    "watch": "watch --once --timeout 60",
    "status": "status --json",
    "setup": "setup --dry-run",
    "check": "check --quiet",
    "scan": "scan /var/log/exim4/mainlog.1",
    "export": "export",
    "import": "import decisions.json",
    "client": "client setup mx.example.org",
    "fleet": "fleet pending",
}
"""verb -> an example of its use, for its --help."""


class Verbs(click.Group):
    """A group whose verbs are modules of this package, each with a click command named ``command``."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the verbs, in the order in which they are listed."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """Load a verb."""
        if cmd_name not in VERBS:
            return None
        name = "import_" if cmd_name == "import" else cmd_name
        command: click.Command = import_module(f"eximcertd.cli.{name}").command
        command.epilog = f"Example: eximcertctl {EXAMPLES[cmd_name]}"
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """List the verbs without loading them."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb; an error ends it with its message and its exit status."""
        try:
            return super().invoke(ctx)
        except (EximcertdError, *MISUNDERSTOOD) as error:
            status = failed(error, ctx.invoked_subcommand or "")
        return ctx.exit(status)


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    subcommand_metavar="VERB [ARGUMENT]...",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path(DEFAULT_CONFIG),
    metavar="FILE",
    help=f"Configuration file, instead of {DEFAULT_CONFIG}.",
)
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Control socket, instead of the configured one.",
)
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="SSH key that signs decisions for a fleet, instead of your first one in [fleet] signers.",
)
@click.version_option(__version__, prog_name="eximcertctl")
@click.pass_context
def program(ctx: click.Context, config: Path, socket: Path | None, key: Path | None) -> None:
    """See which client certificates Exim refused, and decide which ones it relays for.

    A FINGERPRINT is the certificate's SHA-256: 64 hex digits, or the first 8 or more of them, in any case.
    Colons and blanks are ignored. "-" reads fingerprints from standard input, one per line. Several
    fingerprints are one decision.
    """
    ctx.obj = Context(config, socket, key)
