"""``eximcertctl setup``: shows, validates, loads and tries the new configuration, or restores the old one."""

from __future__ import annotations

import os
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import click

from eximcertd.cli.changeset import Change, Changeset
from eximcertd.cli.context import json_option
from eximcertd.cli.output import print_json, say
from eximcertd.cli.steps import Step, difference
from eximcertd.errors import EximcertdError, Exit, NotPermittedError, UsageError
from eximcertd.fingerprint import grouped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eximcertd.cli.check.finding import CheckLine
    from eximcertd.cli.context import Context
    from eximcertd.cli.setup.clauses import Recipe, SiteNames
    from eximcertd.cli.setup.identity import CertificateFiles
    from eximcertd.cli.setup.site import Site
    from eximcertd.settings import Config

_SMTP: Final = 25
_PATIENCE: Final = 45.0
"""Seconds in which eximcertd tries to publish again (publication/retry.py), with some to spare."""
_PAUSE: Final = 0.2


@click.command("setup")
@click.option(
    "--recipe",
    type=click.Choice(["pinned", "published"]),
    help="pinned: the fingerprint alone decides (the default). published: Exim verifies the certificate too.",
)
@click.option("--authorities", is_flag=True, help="Add the statements for the clients of a certificate authority.")
@click.option("--yes", is_flag=True, help="Ask nothing.")
@click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing.")
@click.option("--undo", is_flag=True, help="Remove what this command has written, and nothing else.")
@click.option("--units", is_flag=True, help="Install the service and the manual pages, after an installation with pip.")
@json_option
@click.pass_context
def command(  # noqa: PLR0917 - an argument for each option
    ctx: click.Context,
    recipe: Recipe | None,
    authorities: bool,
    yes: bool,
    dry_run: bool,
    undo: bool,
    units: bool,
    as_json: bool,
) -> None:
    """Make this machine's Exim relay for the clients that are approved here.

    Writes files of its own only, shows them first, and has Exim validate its whole configuration before it is live.
    If anything fails, Exim runs as before. For a configuration that is written by hand it prints the lines and
    where each goes.
    """
    if (undo or units) and (recipe or authorities):
        raise UsageError("--undo and --units take neither --recipe nor --authorities")
    if as_json and not (yes or dry_run):
        raise UsageError("--json asks nothing: give --yes or --dry-run with it")
    if os.geteuid() != 0:
        raise NotPermittedError("setup asks Exim for its whole configuration and writes below /etc: run it as root")
    context: Context = ctx.obj
    run = _ServerSetup(context, yes=yes, dry_run=dry_run, as_json=as_json)
    if units:
        answer, fine = run.units(undo=undo)
    else:
        answer, fine = run.undo() if undo else run.run(recipe, authorities=authorities)
    if as_json:
        print_json(answer)
    ctx.exit(int(Exit.DONE if fine else Exit.FAILED))


class _ServerSetup:
    """One run of the verb."""

    def __init__(self, context: Context, *, yes: bool, dry_run: bool, as_json: bool) -> None:
        from eximcertd.cli.setup import site  # noqa: PLC0415 - loads what only this verb needs

        self._context: Final = context
        self._config: Final[Config] = context.config()
        self._yes: Final = yes
        self._dry_run: Final = dry_run
        self._as_json: Final = as_json
        self._changeset: Final = Changeset(site.RECORD)

    @cached_property
    def _site(self) -> Site:
        from eximcertd.cli.setup import site  # noqa: PLC0415 - loads what only this verb needs

        return site.find(self._config)

    def run(self, recipe: Recipe | None, *, authorities: bool) -> tuple[dict[str, Any], bool]:
        """Set Exim up; return what --json prints, and whether all is well. Raises EximcertdError."""
        from eximcertd.cli.setup import identity, site  # noqa: PLC0415 - the same
        from eximcertd.cli.setup.activation import Activation  # noqa: PLC0415 - the same
        from eximcertd.exim import debian  # noqa: PLC0415 - the same

        standing = recipe or site.standing_recipe(self._site, self._config, self._changeset)
        names = site.names(self._config, standing, self._changeset, authorities=authorities)
        if self._site.kind is None:
            return self._by_hand(names)
        if not self._changeset:
            debian.verify_current()
        files = identity.of_debian(self._changeset, self._site.kind)
        pair = identity.changes(files, self._site, self._changeset)
        changes = site.changes(self._site, names, self._changeset)
        steps = self._changeset.plan([*pair, *changes])
        self._say(
            f"Exim {self._site.exim.version()} on {self._site.host} has Debian's {self._site.kind} configuration. "
            f"Recipe: {names.recipe}."
        )
        if not steps and not Activation(self._site, names).unfinished():
            self._say("Nothing to do: Exim is set up.")
        elif not self._confirmed(steps, "This is written:" if steps else "An earlier run was interrupted: it goes on."):
            return {**self._told(names, steps), "written": False}, True
        else:
            self._apply(pair, names, files)
        return self._report(names, files, steps)

    def units(self, *, undo: bool) -> tuple[dict[str, Any], bool]:
        """Install the units, or remove what an earlier run has installed. Raises EximcertdError."""
        from eximcertd.cli.setup import units  # noqa: PLC0415 - loads what only this option needs

        changeset = Changeset(units.RECORD)
        changes = [] if undo else units.changes(self._site, self._config, changeset)
        steps = changeset.plan(changes)
        agreed = bool(steps) and self._confirmed(steps, "This is removed:" if undo else "This is written:")
        if not steps:
            self._say("Nothing to do.")
        elif agreed:
            self._say(units.remove(changeset) if undo else units.install(changeset, changes))
        return {"changed": [str(step.path) for step in steps], "written": agreed}, True

    def undo(self) -> tuple[dict[str, Any], bool]:
        """Remove what ``run`` has written. Raises EximcertdError."""
        from eximcertd.cli.setup.activation import Activation  # noqa: PLC0415 - loads what only this verb needs

        changeset = self._changeset
        steps = changeset.plan([])
        answer = {"changed": [str(step.path) for step in steps], "written": False}
        if not changeset:
            self._say("Nothing to do: setup has written nothing.")
            return answer, True
        if any(step.secret for step in steps):
            self._say("Exim's key is removed too. A later setup makes another one, which each client has to pin again.")
        if not self._confirmed(steps, "This is removed:"):
            return answer, True
        # Exim must not use a file any more before it is removed.
        needed = changeset.standing(*(step.path for step in steps if self._needed(step)))
        activation = Activation(self._site, None)
        try:
            changeset.apply(needed, lambda: activation.make_live(None))
        except BaseException:
            activation.revive()
            raise
        changeset.apply([], lambda: None)
        self._say("Done. Exim runs without what setup had written.")
        return {**answer, "written": True}, True

    def _needed(self, step: Step) -> bool:
        """Tell whether the configuration that is live while it is replaced needs a file."""
        from eximcertd.cli.setup import identity, site  # noqa: PLC0415 - loads cryptography

        kind = self._site.kind
        files = identity.of_debian(self._changeset, kind) if kind else ()
        return step.path in {self._config.macro_file, site.UNSPLIT_ACL, *files}

    def _apply(self, pair: list[Change], names: SiteNames, files: CertificateFiles) -> None:
        """Write, validate, load and try. Raises EximcertdError once all of it is put back."""
        from eximcertd.cli.setup import identity, site  # noqa: PLC0415 - loads cryptography
        from eximcertd.cli.setup.activation import Activation  # noqa: PLC0415 - the same

        changeset = self._changeset
        changes = site.changes(self._site, names, changeset)  # again: eximcertd may have published since
        before = changeset.standing(*(change.path for change in (*pair, *changes)))
        first = [*pair, *(change for change in changes if change.path == names.file)]
        kept = [change for change in before if change.path not in {one.path for one in first}]
        activation = Activation(self._site, names)
        # What the configuration names has to be there before it is live, and as long as it is.
        changeset.apply([*first, *kept], lambda: identity.works(files, self._site))
        try:
            changeset.apply([*pair, *changes], lambda: activation.make_live(files.certificate))
        except BaseException:
            activation.revive()  # the sources are what they were, and the files that they name are still there
            changeset.apply(before, lambda: None)
            raise
        if activation.running:
            self._say("Exim has loaded it and answers STARTTLS.")
        else:
            self._say("Exim is not running. It uses this when it starts.")

    def _by_hand(self, names: SiteNames) -> tuple[dict[str, Any], bool]:
        from eximcertd.cli.check.printed_config import read  # noqa: PLC0415 - loads what only this verb needs
        from eximcertd.cli.setup import by_hand, units  # noqa: PLC0415 - the same

        exim, configuration = self._site.exim, self._site.configuration
        options = exim.settings(*by_hand.OPTIONS)
        found = list(by_hand.additions(read(exim.printed()), options, names, exim.macro(names.macro), configuration))
        if not names.file.exists():
            found.insert(0, by_hand.Addition(f"Make the file {names.file}, with one line:", f"{names.macro} =\n"))
        self._say(f"{configuration} is written by hand: setup changes nothing in it. Recipe: {names.recipe}.")
        if units.missing_drop_ins(self._site, self._config):
            found.append(by_hand.Addition("The units expect another Exim. Run:", "eximcertctl setup --units"))
        for where, lines in found:
            self._say(f"\n{where}\n\n{lines.rstrip()}")
        if found:
            self._say(f'\nThen run "{exim.binary} -bV", reload Exim, and run "eximcertctl check".')
        else:
            self._say("Nothing is missing in it.")
        told = self._told(names, [])
        return {**told, "written": False, "additions": [addition._asdict() for addition in found]}, True

    def _report(self, names: SiteNames, files: CertificateFiles, steps: Sequence[Step]) -> tuple[dict[str, Any], bool]:
        """Check the set-up, and say what to do on a client."""
        from eximcertd.cli.check.finding import Verdict  # noqa: PLC0415 - loads what only this verb needs
        from eximcertd.cli.setup import identity  # noqa: PLC0415 - loads cryptography

        if steps:
            self._wait()
        lines = self._check()
        wrong = [line for line in lines if line.verdict in {Verdict.WARNING, Verdict.ERROR}]
        for line in wrong:
            self._say(f"{line.verdict}: {line.sentence}" + (f"\n  -> {line.remedy}" if line.remedy else ""))
        if not wrong:
            self._say(f"eximcertctl check: all {len(lines)} lines are ok.")
        shown = identity.fingerprint(files.certificate)
        told = f"eximcertctl client setup {self._site.host}{self._port()} --server-fingerprint {shown}"
        self._say(f"\nThis server's fingerprint:\n  {grouped(shown)}\nOn each client, as root:\n  {told}")
        answer = {
            **self._told(names, steps),
            "written": bool(steps),
            "server_fingerprint": shown,
            "client_command": told,
            "check": [line.as_json() for line in lines],
        }
        return answer, not any(line.verdict is Verdict.ERROR for line in lines)

    def _wait(self) -> None:
        """Wait until eximcertd has published through the new configuration; it looks every few seconds."""
        end = time.monotonic() + _PATIENCE
        try:
            with self._context.client() as client:
                while not client.call("Status")["status"]["allowlist"]["live"] and time.monotonic() < end:
                    time.sleep(_PAUSE)
        except EximcertdError:
            return  # check says what is wrong with it

    def _check(self) -> list[CheckLine]:
        from eximcertd.cli.check.verb import diagnose, fold  # noqa: PLC0415 - loads what only this verb needs

        return fold(diagnose(self._context))

    def _port(self) -> str:
        """Return what follows the host's name in the line for the client; say if no client can reach Exim."""
        from eximcertd.cli.setup.activation import Activation  # noqa: PLC0415 - the same

        activation = Activation(self._site, None)
        try:
            _, port = activation.endpoint()
        except EximcertdError:
            return ""
        if not activation.reachable():
            self._say("warning: Exim listens on the loopback addresses alone, where no client reaches it")
            self._say("  -> dpkg-reconfigure exim4-config")
        return "" if port == _SMTP else f":{port}"

    def _told(self, names: SiteNames, steps: Sequence[Step]) -> dict[str, Any]:
        return {
            "configuration": self._site.kind or "handwritten",
            "recipe": names.recipe,
            "changed": [str(step.path) for step in steps],
        }

    def _confirmed(self, steps: Sequence[Step], what: str) -> bool:
        """Show what is to be done; ask, unless that is not wanted. Raises EximcertdError if the answer is no."""
        self._say("\n".join([what, *difference(steps)]))
        if self._dry_run:
            self._say("Nothing was written (--dry-run).")
            return False
        if self._yes:
            return True
        try:
            agreed = click.confirm("Remove this?" if "removed" in what else "Go on?")
        except click.Abort:
            raise EximcertdError("nothing was changed: no answer was given", hint="--yes asks nothing") from None
        if not agreed:
            raise EximcertdError("nothing was changed")
        return True

    def _say(self, text: str) -> None:
        if not self._as_json:
            say(text)
