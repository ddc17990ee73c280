"""eximcertctl fleet accept."""

from __future__ import annotations

import click

from eximcertd.cli.context import Context, json_option, pass_context
from eximcertd.cli.output import print_json, say
from eximcertd.control.client import PUBLISH_TIMEOUT


@click.command("accept")
@click.argument("generation", type=click.IntRange(1, 1 << 62), metavar="NUMBER")
@json_option
@pass_context
def accept(context: Context, generation: int, as_json: bool) -> None:
    """Have this relay take an act that waits there.

    It waits because it would remove more than [publish] max_shrink percent of the list.
    """
    with context.client() as client:
        client.call("FleetAccept", {"generation": generation}, timeout=PUBLISH_TIMEOUT)
        report = client.call("FleetStatus", {"fingerprints": []})["report"]
    if as_json:
        print_json(report)
    else:
        say(f"Act {generation} is accepted: this relay takes it when it next looks at the fleet.")
