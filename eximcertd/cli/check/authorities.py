"""Whether a client of an approved authority relays at its first try: what the ACL must log, and its second look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from eximcertd.cli.check.finding import CheckLine, error, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from eximcertd.cli.check.printed_config import PrintedConfig

_REMEDY: Final = "eximcertctl setup --authorities adds the statements, or prints them"


def second_look(printed: PrintedConfig, start: str, directory: Path, form: str) -> Iterator[CheckLine]:
    """Say what there is to say, nothing where no authority is approved and the ACL has no such statements.

    start: the ACL for RCPT. directory: STATE/authorities. form: of the allowlist, as configured.
    """
    statements = [statement for _, statement, late in printed.reached(start) if not late]
    looking = [one for one in statements if any(str(directory) in text for text in one.values("condition"))]
    if looking and not directory.is_dir():
        yield error(
            f"{directory} does not exist: clients with a certificate get 451", "eximcertd makes it at its start"
        )
    if not (directory.is_dir() and any(directory.iterdir())):
        return
    waits = any(one.verb == "warn" and one.values("delay") for one in looking)
    if not any(one.logs_certificate for one in statements):
        yield error(
            "an authority is approved, but no ACL logs the certificate of a refused client: none is enrolled", _REMEDY
        )
    elif not waits or not any(one.verb == "defer" for one in looking):
        yield warning(
            "an authority is approved, but the ACL does not look twice: the first try of each of its clients gets 550",
            _REMEDY,
        )
    elif form == "list":
        yield warning(
            "an authority is approved, and in the list form the first try of each of its clients gets 451",
            'set [allowlist] form = "auto"',
        )
    else:
        yield ok("the ACL looks twice at the certificate of a client whose authority is approved")
