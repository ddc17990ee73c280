"""A real Exim with the recipe's statements for clients of an authority, and eximcertd beside it."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from eximcertd.cli.setup import clauses
from lab.daemon import Eximcertd
from lab.exim import EximServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eximcertd.cli.setup.clauses import Recipe
    from lab.authorities import Signer
    from lab.certificates import Identity

both: Final = pytest.mark.parametrize("recipe", ["pinned", "published"])
"""For a test of both recipes."""
_DENY = "\n  deny    message       = relay not permitted\n\n"


@contextmanager
def relay(
    recipe: Recipe, *trusted: Identity, form: str = "auto", settings: dict[str, Any] | None = None
) -> Iterator[tuple[EximServer, Eximcertd]]:
    """Give an Exim, running, and an eximcertd for it, which is not started. trusted: lie in Exim's directory."""
    with EximServer(trusted=trusted) as exim:
        daemon = Eximcertd(exim, {"allowlist": {"form": form}, **(settings or {})})
        names = daemon.state / "authorities"
        names.mkdir()
        names.chmod(0o755)
        site = clauses.SiteNames(recipe, "RELAY_FROM_CERTS", Path("/unused"), Path("/unused"), authorities=names)
        _, main, statements, acls = clauses.by_hand(site)
        exim.configure(acl=statements + _DENY + acls, main=_options(main))
        exim.reload()
        try:
            yield exim, daemon
        finally:
            if daemon.alive():
                daemon.stop()


def add(daemon: Eximcertd, directory: Path, signer: Signer, *options: str) -> dict[str, Any]:
    """Approve an authority whose certificate is in a file, and return what ``authority add`` says."""
    file = directory / "authority.pem"
    file.write_bytes(signer.pem)
    added: dict[str, Any] = daemon.json("authority", "add", str(file), *options)
    return added


def _options(main: str) -> str:
    return "\n".join(line for line in main.splitlines() if line.startswith("acl_"))
