"""approve, reject and revoke where this machine belongs to a fleet: the act, and what the relays make of it.

approve: the fleet decides, then this relay's Exim is waited for, or those that --wait names. reject, revoke: this relay
decides at once, then the fleet.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from eximcertd.cli.fleet.connection import DeskConnection, ThisRelay
from eximcertd.cli.fleet.entries import certificates, decision, entry
from eximcertd.cli.fleet.resolving import resolved
from eximcertd.cli.fleet.waiting import Wait, honoured, needed
from eximcertd.errors import (
    EximcertdError,
    NoAnswerError,
    NoSuchFingerprintError,
    NotPermittedError,
    RefusedError,
)
from eximcertd.fingerprint import Fingerprint, of_der
from eximcertd.fleet.deciding import Proposal, keeping_out, portions, status_of
from eximcertd.fleet.remote import OwnDecision, RemoteError
from eximcertd.status import Verb

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from eximcertd.acts.act import Act
    from eximcertd.certificates.certificate import Certificate
    from eximcertd.cli.context import Context

_HERE = "--here decides for this relay alone"
_OPEN = "It stays open as this relay's own decision: see eximcertctl fleet settle"
_MOST_ENTRIES = 500


class FleetRequest(NamedTuple):
    """What was typed. digits: whole fingerprints or prefixes. seen: ids of own decisions that the person has seen."""

    verb: Verb
    digits: Sequence[str]
    note: str = ""
    insist: Collection[str] = ()
    seen: Collection[str] = ()


def ask_fleet(
    context: Context, asked: FleetRequest, wait: Wait, here_at_once: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Have the fleet decide, and return an answer as Decide gives it, with a key ``fleet``. Raises EximcertdError.

    here_at_once: asks the eximcertd of this machine alone.
    """
    with DeskConnection(context) as connection:
        if asked.verb is Verb.APPROVE:
            try:
                return _approve(connection, connection.here, asked, wait)
            except RemoteError as error:
                raise RemoteError(error.message, hint=f"{error.hint}\n{_HERE}".lstrip()) from error
        return _keep_out(connection, connection.here, asked, here_at_once)


def settled(context: Context, asked: FleetRequest) -> dict[str, Any]:
    """Have the fleet decide on what relays have decided on their own, and return an answer as ``ask_fleet``."""
    with DeskConnection(context) as connection:
        here = connection.here
        if asked.verb is Verb.APPROVE:
            return _approve(connection, here, asked, Wait())
        names = [Fingerprint(one) for one in asked.digits]
        return _by_the_fleet(connection, here, names, _acts_keeping_out(connection, here, asked, names))


def _approve(connection: DeskConnection, here: ThisRelay, asked: FleetRequest, wait: Wait) -> dict[str, Any]:
    if wait.relays:
        needed(wait.relays, len(connection.desk.relays()))
    names = resolved(connection.desk, here, asked.verb, asked.digits)
    shown = known(connection, here, names)
    proposal = Proposal(
        asked.verb,
        names,
        asked.note,
        asked.seen,
        frozenset(asked.insist),
        shown,
        here=here.own(names),
    )
    act = connection.decide(proposal)
    newest = connection.desk.newest(names)
    last = act or max(newest.values(), key=lambda one: one.generation)
    publication = honoured(connection, here, last, wait)
    entries = here.entries(names[:_MOST_ENTRIES]) if publication["live"] and not wait.relays else {}
    decided = [entries.get(name) or _entry(name, newest[name], shown.get(name)) for name in names]
    return {"decided": decided, "publication": publication, "fleet": _fleet([act] if act else [], newest.values())}


def _keep_out(
    connection: DeskConnection, here: ThisRelay, asked: FleetRequest, here_at_once: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    answer: dict[str, Any] | None = None
    problem: EximcertdError | None = None
    try:
        answer = here_at_once()
    except (RefusedError, NoSuchFingerprintError, NotPermittedError, NoAnswerError) as error:
        # The fleet may know it, and this relay follows the fleet. What is unknown here is looked up again, in both.
        problem = None if isinstance(error, NoSuchFingerprintError) else error
    acts: list[Act] = []
    names: list[Fingerprint] = []
    try:
        desk = connection.desk
        names = (
            [one["fingerprint"] for one in answer["decided"]]
            if answer
            else resolved(desk, here, asked.verb, asked.digits)
        )
        acts = _acts_keeping_out(connection, here, asked, names)
    except EximcertdError as error:
        if answer is None:
            raise (problem or error) from error
        return {**answer, "fleet": {**_fleet([], ()), "problem": f"{error}\n{_OPEN}"}}
    if answer is None:
        return _by_the_fleet(connection, here, names, acts)
    return {**answer, "fleet": _fleet(acts, connection.desk.newest(names).values())}


def _by_the_fleet(
    connection: DeskConnection, here: ThisRelay, names: Sequence[Fingerprint], acts: Sequence[Act]
) -> dict[str, Any]:
    """Return the answer for what the fleet keeps refused, once this relay does so too."""
    newest = connection.desk.newest(names)
    last = max([*acts, *newest.values()], key=lambda one: one.generation)
    shown = certificates(connection.desk.sighted(names))
    return {
        "decided": [_entry(name, newest[name], shown.get(name)) for name in names],
        "publication": honoured(connection, here, last, Wait()),
        "fleet": _fleet(acts, newest.values()),
    }


def _acts_keeping_out(
    connection: DeskConnection, here: ThisRelay, asked: FleetRequest, names: Sequence[Fingerprint]
) -> list[Act]:
    own = here.own(names)
    acts = []
    for verb, some in keeping_out(connection.desk, names, own).items():
        every = {name: list[OwnDecision]() for name in some}
        for one in {one.id: one for one in (*connection.desk.own(some), *own)}.values():
            every.get(one.fingerprint, []).append(one)
        for portion in portions(every):
            proposal = Proposal(verb, portion, asked.note, here=own)
            acts.append(connection.decide(proposal))
    return [act for act in acts if act is not None]


def known(
    connection: DeskConnection, here: ThisRelay, names: Collection[Fingerprint]
) -> dict[Fingerprint, Certificate]:
    """Return the certificates, as far as a relay has sent them or this one knows them."""
    from eximcertd.authorities.system_bundle import public_ca  # noqa: PLC0415 - only to approve
    from eximcertd.certificates.parsing import parse  # noqa: PLC0415 - the same

    ders = {one.fingerprint: one.der for one in connection.desk.sighted(names) if one.der}
    found = {}
    for name in names:
        der = ders.get(name)
        if der is None or of_der(der) != name:
            der = here.certificate(name)
        if der is not None:
            certificate = parse(der)
            found[name] = replace(certificate, public=bool(public_ca(der))) if certificate.ca else certificate
    return found


def _entry(name: Fingerprint, act: Act, certificate: Certificate | None) -> dict[str, Any]:
    return entry(name, certificate, status_of(act).value, decision=decision(act))


def _fleet(acts: Sequence[Act], newest: Iterable[Act]) -> dict[str, Any]:
    """Return the key ``fleet`` of an answer: the acts, or else the generation that has decided so before."""
    before = max((one.generation for one in newest), default=None)
    return {
        "acts": [{"generation": act.generation, "verb": act.verb, "settles": list(act.settles)} for act in acts],
        "generation": max((act.generation for act in acts), default=before),
        "problem": None,
    }
