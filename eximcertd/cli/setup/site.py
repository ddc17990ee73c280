"""This machine's Exim: how it is configured, and what has to be written so that it relays by certificate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from eximcertd.cli.changeset import Change
from eximcertd.cli.check.configured import configured_statements
from eximcertd.cli.check.recipe import recipe_in
from eximcertd.cli.setup import clauses
from eximcertd.errors import EximcertdError
from eximcertd.exim import debian
from eximcertd.exim.settings import Exim

if TYPE_CHECKING:
    from eximcertd.cli.changeset import Changeset
    from eximcertd.cli.setup.clauses import Recipe, SiteNames
    from eximcertd.settings import Config

RECORD: Final = Path("/etc/eximcertd/setup.json")
"""What ``setup`` wrote, for ``--undo``; see cli/changeset.py."""
SPLIT_MAIN: Final = debian.SPLIT_MAIN / "00_local_eximcertd"
SPLIT_ACL: Final = debian.ETC / "conf.d/acl/50_local_eximcertd"
UNSPLIT_ACL: Final = debian.ETC / "acl_certs"


class Site(NamedTuple):
    """kind: Debian's, or None for a configuration that is written by hand. user, group: Exim's. host: its name."""

    exim: Exim
    configuration: Path
    kind: debian.Kind | None
    user: str
    group: str
    host: str


def find(config: Config) -> Site:
    """Return how this machine's Exim is configured. Raises EximError if there is none, or it cannot read its files."""
    exim = Exim(config.exim.binary, config.exim.config)
    configuration = exim.build().config
    options = exim.settings("exim_user", "exim_group", "primary_hostname")
    kind = None if config.exim.config else debian.kind(configuration)
    return Site(
        exim, configuration or Path(), kind, options["exim_user"], options["exim_group"], options["primary_hostname"]
    )


def names(config: Config, recipe: Recipe, changeset: Changeset, *, authorities: bool = False) -> SiteNames:
    """Return the names that the clauses need. authorities: whether the statements for clients of one are wanted.

    They are in any case if an authority is approved, or if an earlier run has put them in. Raises EximcertdError if
    the directory into which they look does not exist.
    """
    directory = config.state.directory / "authorities"
    there = directory.is_dir()
    put_in = any(str(directory) in one.text for one in changeset.standing(SPLIT_ACL, UNSPLIT_ACL))
    wanted = authorities or put_in or (there and any(directory.iterdir()))
    if wanted and not there:
        raise EximcertdError(f"{directory} does not exist", hint="start eximcertd, which makes it, and run this again")
    return clauses.SiteNames(
        recipe,
        config.allowlist.macro,
        config.macro_file,
        config.certificates.directory,
        config.log.message,
        directory if wanted else None,
    )


def standing_recipe(site: Site, config: Config, changeset: Changeset) -> Recipe:
    """Return the recipe that an earlier run, or a person, has put in; "pinned" if there is none."""
    there = changeset.standing(SPLIT_ACL, UNSPLIT_ACL)
    if there:
        return clauses.recipe_of(there[0].text)
    return recipe_in(configured_statements(site.exim, config)) or "pinned"


def changes(site: Site, names: SiteNames, changeset: Changeset) -> list[Change]:
    """Return what has to stand in Exim's configuration. Raises EximcertdError if the site's own settings forbid it."""
    without = _defined(site, names, changeset)
    made = [*_new(changeset, names.file, f"{names.macro} =\n")]
    if site.kind == "split":
        main = clauses.text("split/conf.d/main/00_local_eximcertd", names, without=without)
        acl = clauses.text("split/conf.d/acl/50_local_eximcertd", names)
        return [*made, *_ours(changeset, SPLIT_ACL, acl), *_ours(changeset, SPLIT_MAIN, main)]
    main = clauses.text("unsplit/exim4.conf.localmacros", names, without=without)
    there = changeset.without_us(debian.LOCAL_MACROS) or ""
    gap = "" if not there else "\n" if there.endswith("\n") else "\n\n"
    if main not in there:
        made.append(Change(debian.LOCAL_MACROS, gap + main, ""))
    return [*made, *_ours(changeset, UNSPLIT_ACL, clauses.text("unsplit/acl_certs", names))]


def _ours(changeset: Changeset, path: Path, text: str) -> list[Change]:
    """Return the change for a file of ours; none if an admin has put the same file there."""
    return [] if changeset.without_us(path) == text else [Change(path, text)]


def _new(changeset: Changeset, path: Path, text: str) -> list[Change]:
    """Return the change for a file that is only to be there: what it holds by now is left alone."""
    if changeset.without_us(path) is not None:
        return []
    return changeset.standing(path) or [Change(path, text)]


def _defined(site: Site, names: SiteNames, changeset: Changeset) -> list[str]:
    """Return the macros of ours that the site defines itself, to a value that will do."""
    found = []
    trusted = f"{names.certificates}/" if names.recipe == "published" else clauses.NO_AUTHORITIES
    wanted = clauses.MACROS | {clauses.TRUST: trusted}
    for path in debian.sources(site.kind or "unsplit"):
        for macro, value in debian.definitions(changeset.without_us(path) or ""):
            if macro not in wanted or path == debian.TEMPLATE:
                continue
            will_do = clauses.trusts(value, names) if macro == clauses.TRUST else wanted[macro] in {None, value}
            if not will_do:
                raise EximcertdError(
                    f"{path} sets {macro} = {value}, and it has to be {wanted[macro]}",
                    hint="change it there, or remove the line, and run this again; eximcertd(8), SETTING UP EXIM, "
                    "tells what each line is for",
                )
            found.append(macro)
    return found
