"""Whatever one caller asks for at the limits of its method, the others are answered within a second."""

from __future__ import annotations

import base64
import json
import threading
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from lab.authorities import Signer
from lab.control import Control
from lab.daemon import Eximcertd
from lab.deciding import decide
from lab.exim import EximServer
from lab.fleet import next_act
from lab.shown import ISSUER, series

from eximcertd.acts.act import Head
from eximcertd.control.interface import shipped
from eximcertd.control.protocol import LARGEST_CALL
from eximcertd.fingerprint import Fingerprint, of_der
from eximcertd.ledger import Ledger
from eximcertd.log.cursor import FileCursor
from eximcertd.status import Verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.certificates import Identity

MOST = 10_000
KNOWN = [Fingerprint(f"{number * 0x9E3779B97F4A7C15 % 2**64:016X}{number:048X}") for number in range(50_000)]
FRESH = [Fingerprint(f"{number * 0x9E3779B97F4A7C15 % 2**64:016X}{number:048X}") for number in range(60_000, 80_000)]
PREFIXES = [fingerprint[:12] for fingerprint in (*KNOWN[: MOST // 2], *FRESH[: MOST // 2])]
with TemporaryDirectory() as temporary:
    CERTIFICATES = series(Path(temporary), names=[f"{'x' * 60}{number}.example" for number in range(66)])
STANDINGS = ["pending", "unmatched", "approved", "rejected", "revoked"]


@pytest.fixture(scope="module")
def daemon(alice: Identity) -> Iterator[Eximcertd]:
    """Run an eximcertd with many rejected entries."""
    with EximServer(trusted=[alice]) as exim:
        yield from running(Eximcertd(exim), KNOWN)


@pytest.fixture(scope="module")
def member(alice: Identity) -> Iterator[Eximcertd]:
    """Run an eximcertd that is in a fleet."""
    with EximServer(trusted=[alice]) as exim:
        yield from running(Eximcertd(exim, {"fleet": {"relay": "mx1", "service": "away"}}), KNOWN[:MOST])


def running(daemon: Eximcertd, rejected: list[Fingerprint]) -> Iterator[Eximcertd]:
    (daemon.state / "ledger").mkdir(mode=0o700)
    ledger = Ledger(daemon.state / "ledger")
    for start in range(0, len(rejected), MOST):
        decide(ledger, Verb.REJECT, *rejected[start : start + MOST])
    ledger.close()
    with daemon:
        yield daemon


@contextmanager
def another_caller(daemon: Eximcertd) -> Iterator[list[float]]:
    """Ask for the status again and again, and keep how many seconds the daemon's loop worked before each answer.

    The processor time of its main thread, and not what a clock says: other programs may keep it from the processor.
    """
    schedule = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/schedstat")

    def worked() -> float:
        return int(schedule.read_text().split()[0]) / 1e9

    took: list[float] = []
    done = threading.Event()

    def ask() -> None:
        with Control(daemon.socket) as control:
            while True:
                began = worked()
                control.call("Status")
                took.append(worked() - began)
                if done.wait(0.01):
                    break

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield took
    finally:
        done.set()
        thread.join()


def records(verb: str) -> list[dict[str, str]]:
    return [{"fingerprint": one, "verb": verb} for one in FRESH[-9_000:]]


def sighting(der: bytes) -> dict[str, Any]:
    shown = {"der": base64.b64encode(der).decode(), "issuer_hash": ISSUER}
    return {"fingerprint": of_der(der), "attempts": 1, "shown": shown}


AUTHORITY = Signer("Site CA")
ACTS = [next_act(Head(), "reject", *FRESH[:MOST], note="x" * 1000)]
for name in FRESH[:1000]:
    ACTS.append(next_act(Head(ACTS[-1].generation, ACTS[-1].hash()), "reject", name))
CALLS: dict[str, list[dict[str, Any]]] = {
    "Status": [{}],
    "List": [
        {"standings": STANDINGS * 500, "prefixes": PREFIXES},
        {"standings": STANDINGS * 2500, "prefixes": PREFIXES[:25]},
        {"standings": [], "prefixes": []},
        {"standings": [], "prefixes": [], "at": "2100-01-01T00:00:00Z"},
        {"standings": STANDINGS, "prefixes": [], "newest": 100_000, "from": "x" * 60_000},
    ],
    "Count": [{"standings": STANDINGS, "from": "x" * 60_000}],
    "Show": [{"fingerprint": KNOWN[0]}, {"fingerprint": KNOWN[0][:8]}],
    "Find": [{"name": "x" * 60_000, "verb": verb} for verb in ("approve", "reject", "revoke")],
    "Complete": [
        {"beginning": beginning, "standings": STANDINGS * 2500} for beginning in ("", KNOWN[0][:1], "x" * 60_000)
    ],
    "History": [{"fingerprint": None, "limit": 10_000_000}, {"fingerprint": KNOWN[0][:8], "limit": None}],
    "Check": [{}],
    "Decide": [
        {
            "verb": "approve",
            "fingerprints": [one[:12] for one in FRESH[:MOST]],
            "note": "",
            "insist": [],
            "request": "1",
        },
        {"verb": "reject", "fingerprints": FRESH[:MOST], "note": "x" * 1000, "insist": [], "request": "2"},
        {"verb": "reject", "fingerprints": KNOWN[:MOST], "note": "", "insist": [], "request": "3"},
    ],
    "GetCertificate": [{"fingerprint": KNOWN[0][:8]}],
    "Last": [{"by": None}],
    "Edits": [{}],
    "Segments": [{}],
    "Record": [
        {
            "segment": FileCursor(scanned=True).to_json(),
            "before": None,
            "sightings": [{"fingerprint": one, "attempts": 1} for one in FRESH[:9000]],
        },
        {
            "segment": FileCursor(scanned=True, head_length=1).to_json(),
            "before": None,
            "sightings": [sighting(CERTIFICATES(number)) for number in range(120)],
        },
    ],
    "Export": [{}],
    "Import": [{"records": records("reject"), "request": "4"}, {"records": records("revoke"), "request": "5"}],
    "Retry": [{}],
    "Issuers": [{}],
    "AddAuthority": [
        {
            "certificate": base64.b64encode(AUTHORITY.der).decode(),
            "names": [f"{number}{'*' * 250}" for number in range(100)],
            "crl": "",
            "note": "x" * 1000,
            "insist": [],
            "request": "6",
        }
    ],
    "Authorities": [{"fingerprint": None}],
    "WithdrawAuthority": [{"fingerprint": KNOWN[0], "note": "x" * 1000, "request": "7"}],
    "FleetTake": [{"acts": [act.to_json()]} for act in ACTS[:1]] + [{"acts": [act.to_json() for act in ACTS[1:]]}],
    "FleetNews": [{"own": None, "cursor": None}],
    "FleetStatus": [{"fingerprints": None}, {"fingerprints": KNOWN[:MOST]}],
    "FleetHashes": [{"generations": list(range(1, 1001))}],
    "FleetState": [{"state": "x" * 60_000, "since": 1, "problem": "x" * 60_000}],
    "FleetAccept": [{"generation": 1}],
}


def test_a_listing_over_many_portions_has_each_entry_once(daemon: Eximcertd) -> None:
    parameters = {"standings": ["rejected"], "prefixes": []}
    message = {"method": "org.eximcertd.List", "parameters": parameters, "more": True}
    listed: list[str] = []
    with Control(daemon.socket) as control:
        control.socket.sendall(json.dumps(message).encode() + b"\0")
        while (reply := control.reply()).get("continues"):
            listed += [entry["fingerprint"] for entry in reply["parameters"]["entries"]]
    assert sorted(listed) == sorted(KNOWN)


def test_every_method_but_the_endless_one_is_tried() -> None:
    assert {*CALLS, "Watch"} == set(shipped().methods)


@pytest.mark.parametrize(
    ("method", "parameters"),
    [(method, parameters) for method, calls in CALLS.items() for parameters in calls],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_call_at_its_limits_leaves_others_answered_within_a_second(
    request: pytest.FixtureRequest, method: str, parameters: dict[str, Any]
) -> None:
    daemon: Eximcertd = request.getfixturevalue("member" if method.startswith("Fleet") else "daemon")
    message = {"method": f"org.eximcertd.{method}", "parameters": parameters, "more": True}
    raw = json.dumps(message).encode() + b"\0"
    assert len(raw) <= LARGEST_CALL
    with another_caller(daemon) as took, Control(daemon.socket, limit=240) as control:
        control.socket.sendall(raw)
        while True:
            reply = control.reply()
            if not reply.get("continues"):
                break
    refused = parameters.get("verb") == "approve" or method in {
        "Find",
        "GetCertificate",
        "WithdrawAuthority",
        "FleetAccept",
    }
    assert ("error" in reply) is refused, reply
    assert max(took) < 1
