"""A relay in a fleet: it takes acts over its socket, checks them itself, and goes on alone when none come."""

from __future__ import annotations

import base64
import json
import sqlite3
import subprocess
import threading
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from lab.authorities import Signer
from lab.authority import relay as relay_of_authorities
from lab.callers import as_nobody
from lab.control import CallError, Control
from lab.daemon import Eximcertd
from lab.fleet import next_act
from lab.smtp import ask, session
from lab.wait import until

from eximcertd.acts.act import Act, Head
from eximcertd.acts.signature import sign
from eximcertd.authorities.system_bundle import BUNDLES
from eximcertd.certificates.reading import certificates
from eximcertd.fingerprint import NEVER, of_der

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.certificates import Identity
    from lab.exim import EximServer

FLEET: dict[str, dict[str, Any]] = {"fleet": {"relay": "mx1", "service": "away"}}
TABLES = ("fleet", "fleet_act", "fleet_sighted", "own")
MANY = [f"{number:064X}" for number in range(1, 9002)]


@pytest.fixture
def relay(exim: EximServer) -> Iterator[Eximcertd]:
    with Eximcertd(exim, FLEET) as daemon:
        yield daemon


def call(daemon: Eximcertd, method: str, **given: Any) -> dict[str, Any]:
    with Control(daemon.socket) as control:
        return control.call(method, **given)


def head(daemon: Eximcertd) -> Head:
    told = call(daemon, "FleetNews")
    return Head(told["generation"], told["hash"])


def take(daemon: Eximcertd, *acts: Act, **more: Any) -> dict[str, Any]:
    """Hand over acts, and wait until Exim honours them."""
    answer = call(daemon, "FleetTake", acts=[act.to_json() for act in acts], **more)
    until(lambda: call(daemon, "FleetNews")["live"] == answer["generation"], "the acts are live", limit=60)
    return answer


def chain(verb: str, *names: str, after: Head) -> list[Act]:
    acts: list[Act] = []
    for name in names:
        acts.append(next_act(after, verb, name))
        after = Head(acts[-1].generation, acts[-1].hash())
    return acts


def test_the_fleet_approves_and_the_client_relays_and_revokes_and_it_does_not(
    relay: Eximcertd, alice: Identity
) -> None:
    assert ask(relay.exim.port, alice).refused
    until(lambda: call(relay, "FleetNews")["sighted"], "the client is told to the fleet", limit=60)
    told = call(relay, "FleetNews")
    [seen] = told["sighted"]
    assert (seen["fingerprint"], seen["attempts"], seen["host"] is None) == (alice.fingerprint, 1, False)
    assert seen["der"]
    assert call(relay, "FleetNews", cursor=told["cursor"], own=told["own_revision"])["sighted"] == []
    take(relay, next_act(head(relay), "approve", alice.fingerprint, note="her laptop"))
    assert ask(relay.exim.port, alice).accepted
    shown = json.loads(relay.ctl("show", "--json", alice.fingerprint).stdout)
    assert shown["history"][0] | {"at": ""} == {
        "fingerprint": alice.fingerprint, "verb": "approve", "by": "alice", "at": "", "note": "her laptop",
        "generation": 1,
    }  # fmt: skip
    take(relay, next_act(head(relay), "revoke", alice.fingerprint))
    assert ask(relay.exim.port, alice).refused


def test_of_a_long_helo_the_fleet_is_told_the_beginning(relay: Eximcertd, alice: Identity) -> None:
    with session(relay.exim.port, alice, helo="x" * 1500) as client:
        assert client.rcpt().refused
    told = "x" * 320
    until(
        lambda: [one["helo"] for one in call(relay, "FleetNews")["sighted"]] == [told],
        "its beginning is told",
        limit=60,
    )


def test_a_revocation_on_the_relay_holds_against_the_fleet_and_is_told_to_it(relay: Eximcertd, alice: Identity) -> None:
    take(relay, next_act(head(relay), "approve", alice.fingerprint))
    call(relay, "Decide", verb="revoke", fingerprints=[alice.fingerprint], note="", insist=[], request="1")
    [own] = call(relay, "FleetNews")["own"]
    assert (own["verb"], own["base"], own["lost"]) == ("revoke", 1, False)
    take(relay, next_act(head(relay), "approve", alice.fingerprint))
    assert ask(relay.exim.port, alice).refused
    assert call(relay, "FleetStatus", fingerprints=[alice.fingerprint])["own"] == [own]
    call(relay, "FleetState", state="in-step", since=0, problem="")
    said = relay.ctl("status").stdout
    assert "mx1: in step with generation 2, live 2" in said
    assert "1 decision of this relay to be settled: eximcertctl fleet settle" in said
    assert "@ decided here" in relay.ctl("list", "--standing", "revoked").stdout
    assert "approved by alice (fleet, 2)" in relay.ctl("history").stdout
    call(relay, "FleetState", state="away", since=0, problem="no route to host")
    assert "AWAY since" in (said := relay.ctl("status").stdout)
    assert "no route to host" in said
    take(relay, next_act(head(relay), "approve", alice.fingerprint, settles=[own["id"]]))
    assert ask(relay.exim.port, alice).accepted
    assert call(relay, "FleetNews")["open"] == 0


def test_what_is_revoked_while_eximcertd_is_down_holds_against_the_fleet(relay: Eximcertd, alice: Identity) -> None:
    take(relay, next_act(head(relay), "approve", alice.fingerprint))
    relay.stop()
    done = relay.ctl("revoke", "--offline", alice.fingerprint)
    assert done.returncode == 0, done.stderr
    relay.start()
    [own] = call(relay, "FleetNews")["own"]
    assert (own["fingerprint"], own["verb"], own["base"]) == (alice.fingerprint, "revoke", 1)
    take(relay, next_act(head(relay), "approve", alice.fingerprint))
    assert ask(relay.exim.port, alice).refused


def test_what_a_hand_adds_is_told_to_the_fleet_and_what_the_fleet_revoked_is_refused_to_it(
    relay: Eximcertd, alice: Identity
) -> None:
    added, file = MANY[0], relay.exim.macro_file
    take(relay, next_act(head(relay), "approve", alice.fingerprint, MANY[1]))
    take(relay, next_act(head(relay), "revoke", alice.fingerprint))
    text = file.read_text()
    file.write_text(text.replace("RELAY_FROM_CERTS =", f"RELAY_FROM_CERTS = {added} : {alice.fingerprint} :", 1))
    until(lambda: relay.status() and call(relay, "FleetNews")["own"], "the manual edit is told", limit=60)
    [own] = call(relay, "FleetNews")["own"]
    assert (own["fingerprint"], own["verb"], own["by"]) == (added, "adopt", "by hand")
    until(lambda: alice.fingerprint not in file.read_text(), "the list is published again", limit=30)
    assert added in file.read_text()
    assert ask(relay.exim.port, alice).refused


def test_what_is_no_act_of_this_chain_is_refused_and_told_and_what_is_before_it_is_taken(
    relay: Eximcertd, alice: Identity
) -> None:
    first, second, third = chain("approve", alice.fingerprint, *MANY[:2], after=head(relay))
    forged = replace(second, note="another", fingerprints=third.fingerprints)
    with pytest.raises(CallError, match="act 3 does not follow act 2: the chain is broken"):
        take(relay, first, forged, third)
    assert head(relay).generation == 2, "a forged act is one that the fleet has, until its chain is compared"
    assert "the chain is broken" in call(relay, "FleetNews")["problem"]
    assert call(relay, "FleetHashes", generations=[1, 2, 3, 0]) == {"hashes": [first.hash(), forged.hash(), ""]}
    call(relay, "FleetState", state="in-step", since=0, problem="")
    assert call(relay, "FleetNews")["problem"] == "", "the fleet offers that act no more"
    with pytest.raises(CallError, match="malformed: by"):
        take(relay, replace(next_act(head(relay), "approve", MANY[0]), by="by hand"))
    assert ask(relay.exim.port, alice).accepted
    take(relay, next_act(head(relay), "reject", MANY[5]))
    assert call(relay, "FleetNews")["problem"] == ""


@pytest.mark.parametrize("name", sorted(NEVER)[:2])
def test_what_is_never_approved_is_not_approved_by_the_fleet_either(relay: Eximcertd, name: str) -> None:
    act = replace(next_act(head(relay), "reject", name), verb="approve")
    with pytest.raises(CallError, match="never approved"):
        take(relay, act)
    assert name not in relay.exim.macro_file.read_text()


def test_only_root_and_the_user_of_eximcertd_fleet_may_hand_over_acts(exim: EximServer) -> None:
    script = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        ' s.sendall(b\'{"method":"org.eximcertd.FleetNews","parameters":{}}\\0\'); print(s.recv(1 << 16))'
    )
    with Eximcertd(exim, {"fleet": FLEET["fleet"] | {"user": "nobody"}}) as daemon:
        assert "own_revision" in as_nobody(script, str(daemon.socket))
    with Eximcertd(exim, {"fleet": FLEET["fleet"] | {"user": "daemon"}}) as daemon:
        answer = as_nobody(script, str(daemon.socket))
    assert "NotPermitted" in answer
    assert "the user in [fleet] user" in answer


def test_killed_in_the_middle_of_a_large_act_it_finishes_it_at_its_next_start(relay: Eximcertd) -> None:
    take(relay, next_act(head(relay), "approve", *MANY[:2]))
    act = next_act(head(relay), "approve", *MANY)
    thread = threading.Thread(target=lambda: _dropped(relay, act))
    thread.start()
    ledger = relay.state / "ledger/ledger.sqlite-wal"
    size = ledger.stat().st_size
    until(lambda: ledger.stat().st_size > size + (64 << 10), "the first portions are in the ledger", limit=60)
    relay.kill()
    thread.join()
    relay.start()
    assert head(relay).generation in {1, 2}, "an act is there or it is not"
    if head(relay).generation == 1:
        take(relay, act)
    until(lambda: call(relay, "FleetNews")["live"] == 2, "all of it is live", limit=60)
    assert relay.status()["counts"]["approved"] == len(MANY)


def _dropped(daemon: Eximcertd, act: Act) -> None:
    with suppress(OSError, CallError):
        take(daemon, act)


def test_acts_that_the_fleet_has_lost_stay_in_force_here_and_are_told(relay: Eximcertd, alice: Identity) -> None:
    first, second = chain("approve", MANY[0], alice.fingerprint, after=head(relay))
    take(relay, first, second)
    again = next_act(Head(1, first.hash()), "reject", MANY[1])
    answer = take(relay, again, back_to=1)
    assert (answer["generation"], answer["hash"]) == (2, again.hash())
    assert ask(relay.exim.port, alice).accepted
    [own] = call(relay, "FleetNews")["own"]
    assert (own["fingerprint"], own["verb"], own["lost"], own["base"]) == (alice.fingerprint, "approve", True, 1)
    relay.restart()
    assert call(relay, "FleetNews")["own"] == [own]
    with pytest.raises(CallError, match="cannot go back to 7"):
        take(relay, back_to=7)


def test_where_signers_is_set_an_act_counts_only_with_the_signature_of_who_decided(
    exim: EximServer, alice: Identity, tmp_path: Path
) -> None:
    keys = {who: key(tmp_path / who) for who in ("alice", "mallory")}
    signers = exim.directory / "signers"
    signers.write_text(f"alice {keys['alice'].with_suffix('.pub').read_text()}")
    with Eximcertd(exim, {"fleet": FLEET["fleet"] | {"signers": str(signers)}}) as daemon:
        act = next_act(Head(), "approve", alice.fingerprint)
        for wrong in (act, signed(act, keys["mallory"]), replace(signed(act, keys["alice"]), note="another")):
            with pytest.raises(CallError, match=r"is not signed|is not valid"):
                take(daemon, wrong)
            assert head(daemon).generation == 0
        assert "act 1 by alice" in call(daemon, "FleetNews")["problem"]
        take(daemon, signed(act, keys["alice"]))
        assert ask(exim.port, alice).accepted
        following = next_act(head(daemon), "reject", MANY[0])
        with pytest.raises(CallError, match="is not valid"):
            take(daemon, replace(following, signature=signed(act, keys["alice"]).signature))


def key(file: Path) -> Path:
    subprocess.run(["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file], check=True)
    return file


def signed(act: Act, key: Path) -> Act:
    return replace(act, signature=sign(act.text(), key))


def test_the_fleet_approves_an_authority_and_withdraws_it_and_a_public_ca_is_refused_here(
    exim: EximServer,
) -> None:
    site = Signer("Site CA")
    public = next(der for _, der in certificates(bytes(BUNDLES[0])))
    with Eximcertd(exim, FLEET) as daemon:
        take(daemon, next_act(head(daemon), "authorize", site.fingerprint, detail=detail(site.der)))
        [shown] = daemon.json("authority", "list")
        assert (shown["standing"], shown["by"], shown["names"]) == ("approved", "alice", ["*.example"])
        take(daemon, next_act(head(daemon), "withdraw", site.fingerprint))
        assert [one["standing"] for one in daemon.json("authority", "list")] == ["withdrawn"]
        take(daemon, next_act(head(daemon), "authorize", site.fingerprint, detail=detail(site.der)))
        assert call(daemon, "FleetNews")["problem"] == ""
        withdrawn = {"fingerprint": site.fingerprint, "note": "", "request": "1"}
        call(daemon, "WithdrawAuthority", **withdrawn)
        take(daemon, next_act(head(daemon), "authorize", site.fingerprint, detail=detail(site.der)))
        assert [one["standing"] for one in daemon.json("authority", "list")] == ["withdrawn"]
        assert "withdrawn on this relay by" in call(daemon, "FleetNews")["problem"]
        take(daemon, next_act(head(daemon), "authorize", of_der(public), detail=detail(public)))
        assert len(daemon.json("authority", "list")) == 1
        assert "belongs to the public CA" in call(daemon, "FleetNews")["problem"]
        malformed = site.without_a_value()
        take(daemon, next_act(head(daemon), "authorize", of_der(malformed), detail=detail(malformed)))
        assert "cannot be an authority" in call(daemon, "FleetNews")["problem"]


def detail(der: bytes) -> str:
    return f"{base64.b64encode(der).decode()} *.example"


def test_an_act_that_empties_the_list_waits_until_a_person_accepts_it(relay: Eximcertd) -> None:
    relay.configure({"allowlist": {"form": "directory"}, "publish": {"max_shrink": 20}})
    relay.restart()
    take(relay, next_act(head(relay), "approve", *MANY[:10]))
    act = next_act(head(relay), "revoke", *MANY[:8])
    assert take(relay, act)["held"] == 2
    report = call(relay, "FleetStatus")["report"]
    assert (report["generation"], report["held"]) == (1, 2)
    assert "act 2 is held" in report["problem"]
    with pytest.raises(CallError, match="does not hold act 3: it holds act 2"):
        call(relay, "FleetAccept", generation=3)
    call(relay, "FleetAccept", generation=2)
    other = replace(act, fingerprints=tuple(sorted(MANY[:9])))  # type: ignore[arg-type]
    assert take(relay, other)["held"] == 2, "what was accepted is that act and no other"
    call(relay, "FleetAccept", generation=2)
    assert take(relay, other)["held"] is None
    assert relay.status()["counts"]["approved"] == 1


def test_an_act_that_is_held_ends_nothing_that_an_authority_has_approved(tmp_path: Path) -> None:
    site = Signer("Site CA")
    settings = {**FLEET, "publish": {"max_shrink": 20}}
    with relay_of_authorities("pinned", form="directory", settings=settings) as (exim, daemon):
        daemon.start()
        take(daemon, next_act(head(daemon), "authorize", site.fingerprint, detail=detail(site.der)))
        leaves = [site.issue(f"client{number}.example") for number in range(5)]
        assert all(ask(exim.port, leaf.identity(tmp_path)).accepted for leaf in leaves)
        until(lambda: daemon.status()["allowlist"]["live"], "they are on the list", limit=60)
        act = next_act(head(daemon), "revoke", *(leaf.fingerprint for leaf in leaves))
        assert take(daemon, act)["held"] == 2
        assert {entry["standing"] for entry in daemon.entries().values()} == {"approved"}
        assert all(ask(exim.port, leaf.identity(tmp_path)).accepted for leaf in leaves)
        call(daemon, "FleetAccept", generation=2)
        take(daemon, act)
        assert not ask(exim.port, leaves[0].identity(tmp_path)).accepted


def test_a_relay_without_the_section_has_no_fleet_imports_none_and_stores_nothing(
    exim: EximServer, alice: Identity
) -> None:
    with Eximcertd(exim, environment={"PYTHONPROFILEIMPORTTIME": "1"}) as daemon:
        assert ask(exim.port, alice).refused
        until(lambda: alice.fingerprint in daemon.entries("pending"), "it is seen", limit=60)
        assert daemon.ctl("approve", alice.fingerprint).returncode == 0
        with pytest.raises(CallError, match="MethodNotImplemented"):
            call(daemon, "FleetNews")
        assert daemon.status()["fleet"] is None
        daemon.stop()
        imported = {line.rpartition("|")[2].strip() for line in daemon.output.read_text().splitlines()}
    assert "eximcertd.control.methods.changes" in imported
    assert not [name for name in imported if name.startswith(("eximcertd.acts", "eximcertd.fleet")) or "fleet" in name]
    with sqlite3.connect(daemon.state / "ledger/ledger.sqlite") as db:
        stored = [db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in TABLES]  # noqa: S608 - constants
    db.close()
    assert stored == [0] * len(TABLES)
