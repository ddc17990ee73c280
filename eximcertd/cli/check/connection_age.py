"""Whether the ACLs limit how long a certificate counts in a connection (SECURITY.md). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from eximcertd.cli.check.finding import CheckLine, error, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eximcertd.cli.check.printed_config import PrintedConfig

_AGE: Final = "$acl_c_eximcertd_connected"
_NARROW: Final = "eximcertctl setup writes the lines, or prints them"


def limits(printed: PrintedConfig, settings: dict[str, str]) -> Iterator[CheckLine]:
    """Say what does not limit a certificate to the TLS session at the beginning of a connection."""
    if not settings.get("acl_smtp_starttls"):
        yield warning("acl_smtp_starttls is empty: a connection can start TLS more than once", _NARROW)
    if not _limited(printed):
        yield warning("no ACL limits the age of the connection of a client on the list", _NARROW)


def beginning(printed: PrintedConfig, settings: dict[str, str]) -> Iterator[CheckLine]:
    """Say whether the beginning of a connection is kept, if its age is limited."""
    if not _limited(printed):
        return
    start = settings.get("acl_smtp_connect", "")
    kept = _AGE.removeprefix("$")
    if not any(name.startswith(f"set {kept}") for _, s, _ in printed.reached(start) for name, _ in s.parts):
        yield error(
            f"acl_smtp_connect ({start or 'empty'}) does not set {kept}, from which the age of a connection is "
            "computed: no client can relay by its certificate",
            f'put "warn set {kept} = $tod_epoch" at the beginning of the ACL for acl_smtp_connect',
        )


def _limited(printed: PrintedConfig) -> bool:
    """Tell whether an ACL uses the age of the connection."""
    statements = (statement for acl in printed.acls.values() for statement in acl)
    return any(_AGE in condition for statement in statements for condition in statement.values("condition"))
