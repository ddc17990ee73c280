"""The program: its verbs, none of which is loaded before it is called, and how errors end it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Final

import click

from eximcertd import __version__
from eximcertd.cli.context import Context
from eximcertd.cli.tables import complaint
from eximcertd.errors import EximcertdError, Exit

DEFAULT_CONFIG: Final = "/etc/eximcertd/eximcertd.toml"

VERBS: Final[dict[str, str]] = {
    "pending": "What tried to relay and waits for a decision.",
    "show": "All that is known of one fingerprint.",
    "approve": "Let Exim relay for the holder of a certificate.",
    "reject": "Keep a certificate refused, and off the pending list.",
    "revoke": "Throw out a certificate that was approved.",
    "list": "Every fingerprint, with its standing.",
    "history": "The decisions: who made them, and when.",
    "watch": "What happens, as it happens.",
    "status": "How eximcertd, the log and Exim's list stand.",
    "check": "One screen on the whole set-up, and what to do.",
    "scan": "Read old logs for what they hold.",
    "export": "Write the decisions for another machine.",
    "import": "Take decisions from another machine, or a list of fingerprints.",
}
"""verb -> what it does, as the list of verbs says it. The verb's module is of the same name."""


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
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """List the verbs without loading them."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb; an error that a person has to know ends it with its sentence and its status."""
        try:
            return super().invoke(ctx)
        except EximcertdError as error:
            click.echo(complaint(error), err=True)
            status = Exit.FAILED if error.exit_status is Exit.CONFIGURATION else error.exit_status
            ctx.exit(int(status))


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
    help=f"The configuration, instead of {DEFAULT_CONFIG}.",
)
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The control socket, instead of the configured one.",
)
@click.version_option(__version__, prog_name="eximcertctl")
@click.pass_context
def program(ctx: click.Context, config: Path, socket: Path | None) -> None:
    """See which certificates Exim refused to relay for, and decide which it shall relay for.

    A FINGERPRINT is 64 hex digits, or the first 8 or more of them, in any case; colons and blanks do no
    harm. "-" reads fingerprints from standard input, one a line. Several are one decision.
    """
    ctx.obj = Context(config, socket)
