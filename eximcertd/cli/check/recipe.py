"""Does Exim's configuration hold the recipe: the macro, the ACL, the TLS settings? Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from eximcertd.cli.check.finding import Line, bad, good, odd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from eximcertd.cli.check.printed import Printed, Statement

SETTINGS: Final = (
    "acl_smtp_rcpt",
    "acl_smtp_data",
    "tls_advertise_hosts",
    "tls_certificate",
    "tls_verify_certificates",
    "tls_try_verify_hosts",
    "tls_verify_hosts",
    "log_selector",
)
"""What is asked of Exim for this."""

_FINGERPRINT: Final = "${sha256:$tls_in_peercert}"


@dataclass(frozen=True, slots=True)
class Expected:
    """What eximcertd's own configuration says. message: the text that the ACL logs. value: of the macro, or None."""

    macro: str
    value: str | None
    file: Path
    message: str
    certificates: Path


def examine(printed: Printed, settings: dict[str, str], expected: Expected) -> Iterator[Line]:
    """Yield what there is to say about the configuration."""
    yield from _macro(printed, expected)
    yield from _acl(printed, settings, expected)
    yield from _tls(settings, expected)
    if "+pid" not in settings.get("log_selector", "") and "+all" not in settings.get("log_selector", ""):
        yield odd(
            "log_selector has no +pid: the log does not tell who a refused client was",
            "add +pid to log_selector, and eximcertctl pending shows host, sender and recipient",
        )


def _macro(printed: Printed, expected: Expected) -> Iterator[Line]:
    include = f".include {expected.file}"
    if str(expected.file) not in printed.included:
        yield bad(
            f"Exim's configuration does not include the macro file {expected.file}",
            f'put "{include}" at the top of Exim\'s configuration (on Debian: see /usr/share/doc/eximcertd)',
        )
        return
    if expected.value is None:
        yield bad(
            f"the macro {expected.macro} is not defined, so nobody is allowed",
            f"{expected.file} is included, and should define it: eximcertd writes it; see [allowlist] macro",
        )
        return
    yield good(f"Exim's configuration includes {expected.file}, which defines {expected.macro}")


def _acl(printed: Printed, settings: dict[str, str], expected: Expected) -> Iterator[Line]:
    start = settings.get("acl_smtp_rcpt", "")
    if start not in printed.acls:
        said = f"{start!r}, which is no ACL of this configuration" if start else "empty"
        yield bad(f"acl_smtp_rcpt is {said}: no client with a certificate can relay", _RECIPE)
        return
    reached = list(printed.reached(start))
    accepting = [(name, s, late) for name, s, late in reached if s.verb == "accept" and _uses(s, expected)]
    if not accepting:
        yield _nowhere(printed, settings, expected)
    else:
        name, statement, late = accepting[0]
        if not statement.verifies:
            yield bad(
                f'ACL {name} asks {expected.macro} without "verify = certificate": expired and untrusted ones pass',
                'put "verify = certificate" before its condition',
            )
        elif late:
            yield bad(f"ACL {name} asks {expected.macro} after relaying was refused: nobody gets that far", _EARLIER)
        else:
            yield good(f"ACL {name} accepts who is on the list, behind verify = certificate")
    yield from _warning(reached, expected)


_RECIPE: Final = "put the recipe's two statements into the ACL for RCPT: see eximcertd(8), SETTING UP EXIM"
_EARLIER: Final = "move the recipe's two statements before the one that refuses to relay"


def _nowhere(printed: Printed, settings: dict[str, str], expected: Expected) -> Line:
    """Say where the list is asked instead of in the ACL for RCPT."""
    start = settings.get("acl_smtp_rcpt", "")
    data = settings.get("acl_smtp_data", "")
    if any(s.verb == "accept" and _uses(s, expected) for _, s, _ in printed.reached(data)):
        return bad(
            f"{expected.macro} is asked in the ACL for DATA ({data}): that is too late to relay by",
            "move the recipe's two statements into the ACL for RCPT",
        )
    for name, statements in printed.acls.items():
        if any(_uses(statement, expected) for statement in statements):
            return bad(
                f"ACL {name} asks {expected.macro}, and Exim never comes there",
                f"set acl_smtp_rcpt = {name} (on Debian: MAIN_ACL_CHECK_RCPT), or call it from {start}",
            )
    return bad(f"no ACL accepts who is on the list {expected.macro}", _RECIPE)


def _warning(reached: list[tuple[str, Statement, bool]], expected: Expected) -> Iterator[Line]:
    logging = [
        (name, statement, late)
        for name, statement, late in reached
        if any(_FINGERPRINT in text for text in statement.values("logwrite"))
    ]
    right = [(name, s, late) for name, s, late in logging if _logs(s, expected.message)]
    if not logging:
        yield bad("no ACL logs the fingerprint of who is refused: eximcertd never learns of anybody", _RECIPE)
    elif not right:
        text = logging[0][1].values("logwrite")[0]
        yield bad(
            f'what the ACL logs is "{text}", and eximcertd looks for "{expected.message} {_FINGERPRINT}"',
            "make [log] message and the ACL's logwrite the same",
        )
    elif all(late for _, _, late in right):
        yield bad(f"ACL {right[0][0]} logs after relaying was refused: nobody gets that far", _EARLIER)
    elif not any(s.verifies for _, s, _ in right):
        yield bad(
            'the ACL logs without "verify = certificate": whoever connects fills the log, and the pending list',
            'put "verify = certificate" before its condition',
        )
    else:
        yield good(f"ACL {right[0][0]} logs who has a certificate and is not on the list")


def _logs(statement: Statement, message: str) -> bool:
    return any(text.strip() == f"{message} {_FINGERPRINT}" for text in statement.values("logwrite"))


def _uses(statement: Statement, expected: Expected) -> bool:
    """Tell whether a statement asks whether the client's fingerprint is on the list."""
    wanted = {_squeezed(expected.macro), _squeezed(expected.value or "")}
    for condition in statement.values("condition"):
        asked = re.search(r"(!?)inlist\{\$\{sha256:\$tls_in_peercert\}\}\{(.*)\}\}$", _squeezed(condition))
        if asked is not None and not asked[1] and asked[2] in wanted:
            return True
    return False


def _squeezed(text: str) -> str:
    return re.sub(r"\s", "", text)


def _tls(settings: dict[str, str], expected: Expected) -> Iterator[Line]:
    if not settings.get("tls_advertise_hosts", "*").strip():
        yield bad("tls_advertise_hosts is empty: no client can use TLS", "set tls_advertise_hosts = *")
    if "tls_certificate" in settings and not settings["tls_certificate"]:
        yield odd("tls_certificate is empty: Exim makes a certificate of its own at each start", "set tls_certificate")
    asks = [settings.get(name, "").strip() for name in ("tls_try_verify_hosts", "tls_verify_hosts")]
    if not any(asks):
        yield bad(
            "tls_try_verify_hosts is empty: Exim asks no client for its certificate",
            "set tls_try_verify_hosts = * (on Debian: MAIN_TLS_TRY_VERIFY_HOSTS)",
        )
    elif "*" not in asks:
        yield odd(f"only some clients are asked for a certificate: {' and '.join(filter(None, asks))}")
    else:
        yield good("every client is asked for a certificate")
    yield from _trust(settings.get("tls_verify_certificates", ""), expected)


def _trust(trusted: str, expected: Expected) -> Iterator[Line]:
    wanted = f"{expected.certificates}/"
    remedy = f"set tls_verify_certificates = {wanted} (on Debian: MAIN_TLS_VERIFY_CERTIFICATES)"
    if not trusted or trusted == "system":
        what = "the system's own bundle" if trusted else "nothing"
        yield bad(f"tls_verify_certificates is {what}: a certificate in {wanted} is not trusted", remedy)
    elif trusted.rstrip("/") != str(expected.certificates):
        yield bad(
            f"Exim trusts what is in {trusted}, and eximcertd looks in {expected.certificates}",
            f"{remedy}, or [certificates] directory to what Exim has",
        )
    elif not trusted.endswith("/"):
        yield bad(
            f"tls_verify_certificates = {trusted} has no slash at its end: a new certificate does not count, and a "
            "removed one does, until Exim is reloaded",
            remedy,
        )
    else:
        yield good(f"Exim trusts what is in {trusted}")
