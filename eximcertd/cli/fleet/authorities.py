"""authority add and withdraw where this machine belongs to a fleet: an act, then this relay's Exim."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from eximcertd.cli.fleet.connection import DeskConnection, ThisRelay
from eximcertd.cli.fleet.resolving import resolved
from eximcertd.cli.fleet.waiting import Wait, honoured
from eximcertd.errors import (
    EximcertdError,
    NoAnswerError,
    NoSuchFingerprintError,
    NotPermittedError,
    RefusedError,
    UsageError,
)
from eximcertd.fingerprint import Fingerprint, grouped
from eximcertd.fleet.deciding import Proposal
from eximcertd.status import Verb
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from eximcertd.authorities.authority import Authority
    from eximcertd.cli.context import Context

_MOST_PATTERNS: Final = 100
_OPEN: Final = "On the other relays it is not withdrawn: repeat the command."


def add(
    context: Context, given: dict[str, str], patterns: Sequence[str], note: str, *, client_too: bool
) -> dict[str, Any]:
    """Approve an authority for the whole fleet; return {authority, publication, fleet}. Raises EximcertdError.

    given: {certificate: DER in base64} or {fingerprint: digits}. client_too: --ca.
    """
    from eximcertd.authorities.authority import Authority  # noqa: PLC0415 - only where it is called

    if len(patterns) > _MOST_PATTERNS or any(
        not one.isascii() or not one.isprintable() or " " in one for one in patterns
    ):
        raise UsageError(f"a fleet takes at most {_MOST_PATTERNS} patterns, of ASCII characters without blanks")
    with DeskConnection(context) as connection:
        here = connection.here
        der = _der(connection, here, given)
        authority = Authority.of(der, tuple(dict.fromkeys(patterns)))
        _check(connection, authority, client_too=client_too)
        detail = " ".join((base64.b64encode(der).decode(), *authority.patterns))
        proposal = Proposal(Verb.AUTHORIZE, [authority.fingerprint], note, detail=detail)
        return _decided(connection, here, proposal, authority)


def withdraw(context: Context, digits: str, note: str, here_at_once: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Withdraw an authority here, then for the whole fleet; return an answer as ``add``. Raises EximcertdError.

    here_at_once: asks the eximcertd of this machine alone.
    """
    answer: dict[str, Any] | None = None
    problem: EximcertdError | None = None
    try:
        answer = here_at_once()
    except NoSuchFingerprintError as error:
        if error.candidates:
            raise
    except (RefusedError, NotPermittedError, NoAnswerError) as error:
        problem = error  # the fleet may know it, and this relay follows the fleet
    with DeskConnection(context) as connection:
        here = connection.here
        try:
            name = Fingerprint(answer["authority"]["fingerprint"]) if answer else _known(connection, digits)
            found = _decided(connection, here, Proposal(Verb.WITHDRAW, [name], note), None)
        except EximcertdError as error:
            if answer is None:
                raise (problem or error) from error
            return {**answer, "fleet": {"acts": [], "generation": None, "problem": f"{error}\n{_OPEN}"}}
    return {**answer, "fleet": found["fleet"]} if answer else found


def _decided(
    connection: DeskConnection, here: ThisRelay, proposal: Proposal, authority: Authority | None
) -> dict[str, Any]:
    act = connection.decide(proposal)
    if act is None:  # an act on an authority is always made
        raise RefusedError("nothing is decided: the fleet had decided so before")
    publication = honoured(connection, here, act, Wait())
    return {
        "authority": {
            "fingerprint": act.fingerprints[0],
            "subject": clean(authority.name) if authority else "",
            "standing": "approved" if authority else "withdrawn",
            "names": [clean(one) for one in authority.patterns] if authority else [],
        },
        "publication": publication,
        "fleet": {
            "acts": [{"generation": act.generation, "verb": act.verb, "settles": []}],
            "generation": act.generation,
            "problem": None,
        },
    }


def _der(connection: DeskConnection, here: ThisRelay, given: dict[str, str]) -> bytes:
    if "certificate" in given:
        return base64.b64decode(given["certificate"])
    [name] = resolved(connection.desk, here, Verb.APPROVE, [given["fingerprint"]])
    from eximcertd.fingerprint import of_der  # noqa: PLC0415 - it loads OpenSSL

    ders = [one.der for one in connection.desk.sighted([name]) if one.der and of_der(one.der) == name]
    der = ders[0] if ders else here.certificate(name)
    if der is None:
        raise RefusedError(f"no certificate is known for {grouped(name)}", hint="give a file that holds it instead")
    return der


def _check(connection: DeskConnection, authority: Authority, *, client_too: bool) -> None:
    """Refuse what nobody should approve. Raises RefusedError."""
    from eximcertd.authorities.system_bundle import public_ca  # noqa: PLC0415 - only where it is called

    named = f"{grouped(authority.fingerprint)} ({clean(authority.name)})"
    if problem := authority.problem(datetime.now(UTC)):
        raise RefusedError(f"{named}: {problem}")
    if public := public_ca(authority.der):
        raise RefusedError(
            f"{named} belongs to the public CA {clean(public)}: all of its customers could relay",
            hint="approve the clients' certificates one by one",
        )
    name = [authority.fingerprint]
    if not client_too and (connection.desk.newest(name) or connection.desk.sighted(name)):
        raise RefusedError(
            f"{named} is the certificate of a client, which says CA:TRUE: as an authority, its key would let any number"
            " of others relay; --ca overrides this"
        )


def _known(connection: DeskConnection, digits: str) -> Fingerprint:
    """Return the authority of the acts that the digits name. Raises NoSuchFingerprintError, RemoteError."""
    found: set[Fingerprint] = set()
    after = 0
    while acts := connection.desk.acts(after, 500):
        after = acts[-1].generation
        found |= {act.fingerprints[0] for act in acts if act.verb == Verb.AUTHORIZE}
    matching = sorted(one for one in found if one.startswith(digits))
    if len(matching) != 1:
        none = "is the beginning of no authority's fingerprint, neither here nor in the fleet"
        what = "is ambiguous" if matching else none
        raise NoSuchFingerprintError(f"{grouped(digits)} {what}", candidates=matching)
    return matching[0]
