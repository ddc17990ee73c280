"""Three relays of a fleet (see lab/mx.py), over files or on PostgreSQL.

    with OverFiles(tmp_path, [alice]) as relays:           # mx1, mx2, mx3; the acts lie on mx1
        mx1, mx2, mx3 = relays
        relays.ctl(mx1, "approve", alice.fingerprint)
        until(lambda: mx3.relays(alice), "it relays there")

OnPostgres has a database on a fourth host.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, Self

from eximcertd.fleet.postgres import PostgresDesk
from lab.fleet import next_act
from lab.home import Home
from lab.network import Network
from lab.postgres import Cluster

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from eximcertd.acts.act import Act
    from eximcertd.fleet.remote import Desk
    from lab.certificates import Identity
from lab.mx import Mx
from lab.rsync import Place, serve, settings

NAMES: Final = ("mx1", "mx2", "mx3")


class Relays:
    """Three relays. hosts: more hosts than theirs. environments: more variables for the programs of a relay."""

    hosts: tuple[str, ...] = ()

    def __init__(
        self,
        base: Path,
        trusted: Sequence[Identity],
        *,
        form: str = "list",
        environments: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.base: Final = base
        self._trusted = trusted
        self._form = form
        self._environments = environments or {}
        self._stack = ExitStack()
        self.all: Final[dict[str, Mx]] = {}
        self.clients: Final = iter(trusted)

    def __enter__(self) -> Self:
        try:
            self.network = self._stack.enter_context(Network(*NAMES, *self.hosts))
            self.prepare()
            for name in NAMES:
                mx = Mx(
                    self.network[name],
                    self.settings(name),
                    self._trusted,
                    form=self._form,
                    environment=self._environments.get(name),
                )
                self.all[name] = self._stack.enter_context(mx)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all of it."""
        self._stack.close()

    def __iter__(self) -> Iterator[Mx]:
        return iter(self.all.values())

    def prepare(self) -> None:
        """Set up what the relays share."""
        raise NotImplementedError

    def settings(self, name: str) -> Mapping[str, Any]:
        """Return what a relay's [fleet] says of the transport."""
        raise NotImplementedError

    def desk(self) -> Desk:
        """Return alice's desk, in this process."""
        raise NotImplementedError

    def lose(self, generation: int) -> None:
        """Restore an older copy, which ends with this act."""
        raise NotImplementedError

    def signed(self, act: Act) -> Act:
        """Return an act as alice hands it over."""
        raise NotImplementedError

    def ctl(self, mx: Mx, *arguments: str, limit: float = 180.0) -> subprocess.CompletedProcess[str]:
        """Run eximcertctl on a relay's host, as alice."""
        raise NotImplementedError

    def act(self, verb: str, *fingerprints: str) -> None:
        """Have alice decide, without eximcertctl."""
        desk = self.desk()
        desk.decide(self.signed(next_act(desk.head(), verb, *fingerprints)))

    def json(self, mx: Mx, *arguments: str) -> Any:
        """Return what eximcertctl prints with --json."""
        done = self.ctl(mx, *arguments, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def in_step(self) -> bool:
        """Tell whether every relay has, and honours, the newest act, and has reported so."""
        return all(one["lag"] == 0 and not one["problem"] for one in self.json(self.all[NAMES[0]], "fleet")["relays"])


class OnPostgres(Relays):
    """Relays on a database, which is on a host of its own."""

    hosts = ("db",)

    def prepare(self) -> None:
        """Start the database."""
        self.cluster = self._stack.enter_context(Cluster(host=self.network["db"]))
        for name in NAMES:
            self.cluster.add_relay(name)
        self.cluster.add_approver("alice")
        self._desk: PostgresDesk | None = None

    def settings(self, name: str) -> Mapping[str, Any]:
        """See Relays."""
        return {"service": self.cluster.service(name, **self.way(name))}

    def way(self, name: str) -> Mapping[str, Any]:  # noqa: ARG002 - for all the same
        """Return what the service of a role has other than the cluster's."""
        return {}

    def desk(self) -> Desk:
        """See Relays."""
        if self._desk is None:
            settings = self.cluster.settings("alice", **self.way("alice"))
            self._desk = self.network["db"].inside(lambda: PostgresDesk(settings))
            self._stack.callback(self._desk.close)
        return self._desk

    def signed(self, act: Act) -> Act:
        """See Relays."""
        return act

    def lose(self, generation: int) -> None:
        """See Relays."""
        self.cluster.back_to(generation)

    def ctl(self, mx: Mx, *arguments: str, limit: float = 180.0) -> subprocess.CompletedProcess[str]:
        """See Relays."""
        person = mx.daemon.config.with_name("person.toml")
        own, theirs = (self.cluster.service(name, **self.way(name)) for name in ("alice", mx.name))
        person.write_text(mx.daemon.config.read_text().replace(theirs, own))
        return mx.ctl(*arguments, config=person, limit=limit)


class OverFiles(Relays):
    """Relays that share a directory of mx1. people: who has an SSH key and may decide."""

    def prepare(self) -> None:
        """Let each host serve by ssh what the others may read."""
        self.home = Home(self.base, ("alice", "bob"))
        self.places = {name: Place(name, self.network[name], self.directory(name), self.base / name) for name in NAMES}
        serve(self._stack, self.places)

    def settings(self, name: str) -> Mapping[str, Any]:
        """See Relays."""
        return {**settings(self.places[name], home=name == NAMES[0]), "signers": str(self.home.signers)}

    def directory(self, name: str) -> Path:
        """Return a relay's directory of the fleet; mx1's is the source."""
        return self.home.directory if name == NAMES[0] else self.base / name / "fleet"

    def desk(self) -> Desk:
        """See Relays."""
        return self.home.desk()

    def signed(self, act: Act) -> Act:
        """See Relays."""
        return self.home.signed(act)

    def lose(self, generation: int) -> None:
        """See Relays."""
        for file in (self.home.directory / "acts").iterdir():
            if int(file.name.partition(".")[0]) > generation:
                file.unlink()

    def ctl(self, mx: Mx, *arguments: str, limit: float = 180.0) -> subprocess.CompletedProcess[str]:
        """See Relays."""
        return mx.ctl("--key", str(self.home.key("alice")), *arguments, limit=limit)


def where(relays: Relays, who: Identity) -> list[str]:
    """Return the names of the relays at which a client may relay."""
    return [mx.name for mx in relays if mx.relays(who)]


def approve(relays: Relays, who: Identity, *options: str) -> None:
    """Approve a client on mx1, and wait for the Exims of all relays, or for those that options name."""
    done = relays.ctl(relays.all["mx1"], "approve", who.fingerprint, "--without-certificate", "--wait", "all", *options)
    assert done.returncode == 0, done.stdout + done.stderr


def open_ones(relays: Relays, who: Identity) -> list[tuple[str, str]]:
    """Return the own decisions on a client that are open: relay and verb."""
    sets = relays.json(relays.all["mx1"], "fleet", "settle")
    found = [
        own
        for entries in sets.values()
        for one in entries
        if one["fingerprint"] == who.fingerprint
        for own in one["own"]
    ]
    return sorted((own["relay"], own["verb"]) for own in found)
