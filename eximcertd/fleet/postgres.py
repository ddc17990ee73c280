"""The fleet on PostgreSQL: a relay's side and a person's, on its functions and views (schema.sql, functions.sql).

psycopg's generator of notifications is not used: it holds the connection's lock, and loses notifications in some
versions.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

from eximcertd.fingerprint import LENGTH, Fingerprint
from eximcertd.fleet.database import CALL_LIMIT, PostgresConnection, acts_of, as_json
from eximcertd.fleet.remote import ActRefusedError, OwnDecision, RelayState, RemoteError, Report, Sighted
from eximcertd.status import ALLOWS
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from eximcertd.acts.act import Act
    from eximcertd.config import FleetSettings

_MOST_TOLD: Final = 10_000


class PostgresRelaySide:
    """A relay's side, with the relay's own role. See RelaySide.

    Raises RemoteError if the role of the service file is not the relay's name.
    """

    complete = True

    def __init__(self, settings: FleetSettings, limit: float = CALL_LIMIT) -> None:
        self._database = PostgresConnection(settings.service or "", limit)
        self._name = settings.relay or ""
        self._told = False
        self.head, self.acts, self.close = self._database.head, self._database.acts, self._database.close
        ((role,),) = self._database.ask("SELECT session_user")
        if role != self._name:
            self.close()
            raise RemoteError(
                f"the fleet's database was reached as {clean(role)}, and this relay is {self._name}",
                hint="give the relay's own role and certificate in the service file",
            )
        if settings.hint:
            # A notification that comes with an answer is read with it: the socket shows nothing of it afterwards.
            self._database.raw.add_notify_handler(lambda _: setattr(self, "_told", True))
            self._database.ask("LISTEN fleet")

    def tell(self, own: Sequence[OwnDecision]) -> None:
        """Replace what the fleet knows of this relay's open decisions. The database keeps 10,000 of them."""
        first = sorted(own, key=lambda one: (one.verb in ALLOWS, one.at))[:_MOST_TOLD]
        rows = [
            {
                "id": one.id,
                "fingerprint": one.fingerprint,
                "verb": one.verb,
                "by": clean(one.by),
                "at": one.at,
                "note": clean(one.note),
                "base": one.base,
                "lost": one.lost,
            }
            for one in first
        ]
        self._database.ask("SELECT fleet.tell(%s)", as_json(rows))

    def sight(self, sighted: Sequence[Sighted]) -> None:
        """Report at most 500 waiting clients with their totals."""
        rows = [
            {
                "fingerprint": one.fingerprint,
                "attempts": one.attempts,
                "first_seen": one.first_seen,
                "last_seen": one.last_seen,
                **{name: _clean(getattr(one, name)) for name in ("host", "helo", "sender", "recipient")},
                "der": base64.b64encode(one.der).decode() if one.der is not None else None,
            }
            for one in sighted
        ]
        self._database.ask("SELECT fleet.sight(%s)", as_json(rows))

    def report(self, report: Report) -> None:
        """Report the relay's state."""
        told = {
            "version": report.version,
            "received": report.received,
            "live": report.live,
            "own": report.own,
            "clock": report.clock,
            "problem": clean(report.problem),
            "dropped": report.dropped,
        }
        self._database.ask("SELECT fleet.report(%s)", as_json(told))

    def wait(self, seconds: float) -> bool:
        """Wait until there may be a new act, or so long; return whether there may be one.

        Also true where the connection has ended: the next call says so.
        """
        hint = self._told or self._database.wait(seconds)
        self._told = False
        return hint


class PostgresDesk:
    """A person's desk, with the role of the person's service file. See Desk."""

    def __init__(self, settings: FleetSettings, limit: float = CALL_LIMIT) -> None:
        self._database = PostgresConnection(settings.service or "", limit)
        self.head, self.acts, self.close = self._database.head, self._database.acts, self._database.close

    def who(self) -> str:
        """Return the person's role. Raises ActRefusedError if it may not decide."""
        ((role, may),) = self._database.ask("SELECT session_user, pg_has_role('fleet_approver', 'member')")
        if not may:
            raise ActRefusedError(
                f"{clean(role)} may read the fleet, not decide",
                hint="the database's administrator runs the output of: eximcertctl fleet sql add-approver",
            )
        return str(role)

    def now(self) -> int:
        """Return the database's time, microseconds since the epoch."""
        ((now,),) = self._database.ask("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
        return int(now)

    def newest(self, fingerprints: Collection[Fingerprint]) -> dict[Fingerprint, Act]:
        """Return the newest act on each of these fingerprints that has one: approve, reject or revoke."""
        rows = self._database.ask(
            "SELECT fingerprint, generation FROM fleet.standing WHERE NOT authority AND fingerprint = ANY(%s)",
            _octets(fingerprints),
        )
        wanted = sorted({generation for _, generation in rows})
        acts = acts_of(
            self._database.ask("SELECT text, signature FROM fleet.act WHERE generation = ANY(%s::bigint[])", wanted)
        )
        of = {act.generation: (act, frozenset(act.fingerprints)) for act in acts}
        found = ((_fingerprint(octets), *of[generation]) for octets, generation in rows)
        return {name: act for name, act, names in found if name in names}  # a row alone is no decision

    def of_request(self, request: str) -> Act | None:
        """Return the act with this request, if there is one."""
        return next(
            iter(
                acts_of(self._database.ask("SELECT text, signature FROM fleet.act WHERE request = %s::uuid", request))
            ),
            None,
        )

    def own(self, fingerprints: Collection[Fingerprint] | None = None) -> Sequence[OwnDecision]:
        """Return the open own decisions of all relays, on these fingerprints or on all; at most 10,000."""
        wanted = None if fingerprints is None else _octets(fingerprints)
        rows = self._database.ask(
            "SELECT relay, id::text, fingerprint, verb, by, at, note, base, lost FROM fleet.open"
            " WHERE %s::bytea[] IS NULL OR fingerprint = ANY(%s::bytea[]) ORDER BY relay, at, id LIMIT 10000",
            wanted, wanted,
        )  # fmt: skip
        return [OwnDecision(relay, name, _fingerprint(octets), *rest) for relay, name, octets, *rest in rows]

    def decide(self, act: Act) -> None:
        """Append an act. Raises MovedError if it does not follow the head, ActRefusedError if a rule forbids it.

        RemoteError: whether it was appended is not known; the same act again is no second one.
        """
        self._database.ask("SELECT fleet.decide(%s)", as_json(act.to_json()))
        try:
            # After the decision, and not in it: a notification in a transaction can hold up or fail its commit.
            self._database.ask("NOTIFY fleet")
        except RemoteError:
            return  # it is decided; relays that hear no notification look by themselves

    def relays(self) -> Sequence[RelayState]:
        """Return the relays, by name."""
        rows = self._database.ask(
            # A relay can report nothing but nulls.
            "SELECT name, (extract(epoch FROM seen_at) * 1000)::bigint, coalesce(skew, 0), dropped,"
            " coalesce(version, ''), coalesce(received, 0), coalesce(live, 0), coalesce(own, 0), coalesce(problem, ''),"
            " coalesce(left_out, 0) FROM fleet.relay ORDER BY name"
        )
        return [
            RelayState(
                name,
                None if seen is None else Report(version, received, live, own, seen + skew, problem, left_out),
                seen,
                skew,
                dropped,
            )
            for name, seen, skew, dropped, version, received, live, own, problem, left_out in rows
        ]

    def pending(self, most: int) -> Sequence[Sighted]:
        """Return what waits: those with a certificate first, then the newest; no more than ``most`` fingerprints."""
        return _sighted(
            self._database.ask(
                "SELECT s.relay, s.fingerprint, s.attempts, s.first_seen, s.last_seen, s.host, s.helo, s.sender,"
                " s.recipient, CASE WHEN row_number() OVER (PARTITION BY s.fingerprint ORDER BY NOT s.matched, s.relay)"
                " = 1 THEN s.der END FROM fleet.pending(%s) p JOIN fleet.sighting s ON s.fingerprint = p.fingerprint"
                " ORDER BY p.place, s.relay",
                most,
            )
        )

    def sighted(self, fingerprints: Collection[Fingerprint]) -> Sequence[Sighted]:
        """Return what the relays have seen of these fingerprints, whether they wait or are decided."""
        return _sighted(
            self._database.ask(
                "SELECT relay, fingerprint, attempts, first_seen, last_seen, host, helo, sender, recipient,"
                " CASE WHEN row_number() OVER (PARTITION BY fingerprint ORDER BY NOT matched, relay) = 1 THEN der END"
                " FROM fleet.sighting WHERE fingerprint = ANY(%s) ORDER BY fingerprint, relay",
                _octets(fingerprints),
            )
        )

    def matching(self, prefix: str, most: int = 10) -> Sequence[Fingerprint]:
        """Return known fingerprints that begin with these digits."""
        bounds = [bytes.fromhex(prefix.ljust(LENGTH, fill)) for fill in "0F"]
        rows = self._database.ask(
            "SELECT fingerprint FROM fleet.standing WHERE fingerprint BETWEEN %s AND %s AND NOT authority UNION"
            " SELECT fingerprint FROM fleet.sighting WHERE fingerprint BETWEEN %s AND %s UNION"
            " SELECT fingerprint FROM fleet.open WHERE fingerprint BETWEEN %s AND %s ORDER BY fingerprint LIMIT %s",
            *bounds, *bounds, *bounds, most,
        )  # fmt: skip
        return [_fingerprint(octets) for (octets,) in rows]


def _clean(text: str | None) -> str | None:
    return None if text is None else clean(text)


def _octets(fingerprints: Collection[Fingerprint]) -> list[bytes]:
    return [bytes.fromhex(name) for name in fingerprints]


def _fingerprint(octets: bytes) -> Fingerprint:
    return Fingerprint(octets.hex().upper())


def _sighted(rows: Iterable[tuple[Any, ...]]) -> Sequence[Sighted]:
    return [Sighted(relay, _fingerprint(octets), *rest) for relay, octets, *rest in rows]
