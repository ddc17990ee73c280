"""The real server on a real Unix socket, asked by the real client."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import threading
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lab.entries import ALICE, certificate
from lab.twins import PORTION, Twin

from eximcertd.control.client import Client, LostError
from eximcertd.control.protocol import LARGEST_REPLY, Call, encode_call
from eximcertd.errors import (
    EximcertdError,
    NoAnswerError,
    NoSuchFingerprintError,
    NotPermittedError,
    RefusedError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from eximcertd.control.server import Caller
from lab.callers import INFO, ask, connected, once, replies


def test_a_method_is_called_and_answers(twin: Twin) -> None:
    twin.see(ALICE, certificate("CN=laptop"))
    with Client(twin.path) as client:
        assert client.call("Status")["status"]["counts"]["pending"] == 1
        assert client.call("Show", {"fingerprint": "a11ce000"})["entry"]["fingerprint"] == ALICE


def test_the_handler_is_told_who_calls(twin: Twin) -> None:
    once(twin.path, "Status")
    [caller] = twin.callers
    assert (caller.uid, caller.gid, caller.pid) == (os.getuid(), os.getgid(), os.getpid())
    assert set(os.getgroups()) | {os.getgid()} == caller.groups
    assert caller.name


def test_the_socket_is_open_to_connect_for_everybody(twin: Twin) -> None:
    assert twin.path.stat().st_mode & 0o777 == 0o666


def test_a_parameter_that_is_left_out_reaches_the_handler_as_none(twin: Twin) -> None:
    once(twin.path, "History")
    assert twin.called("History") == [{"fingerprint": None, "limit": None}]


def test_errors_arrive_as_what_they_were_raised(twin: Twin) -> None:
    twin.see(ALICE)
    twin.see("A11CE" + "1" * 59)
    decision = {"note": "", "insist": [], "request": "1"}
    with Client(twin.path) as client:
        with pytest.raises(NoSuchFingerprintError, match="no fingerprint begins with A11C9999") as caught:
            client.call("Show", {"fingerprint": "A11C9999"})
        assert caught.value.candidates == (ALICE, "A11CE" + "1" * 59)
        with pytest.raises(RefusedError, match="no certificate is found") as refused:
            client.call("Decide", {"verb": "approve", "fingerprints": [ALICE], **decision})
        assert refused.value.hint == "insist: --without-certificate"
        with pytest.raises(RefusedError, match="nothing to revoke"):
            client.call("Decide", {"verb": "revoke", "fingerprints": [ALICE], **decision})
        assert client.call("Status")["status"]["counts"]["unmatched"] == 2


def test_a_listing_comes_in_portions_and_is_all_there(twin: Twin) -> None:
    for number in range(2 * PORTION + 1):
        twin.see(f"{number:064X}")
    with Client(twin.path) as client:
        portions = [portion["entries"] for portion in client.stream("List", {"standings": [], "prefixes": []})]
        assert [len(portion) for portion in portions] == [PORTION, PORTION, 1, 0]
        assert client.call("List", {"standings": [], "prefixes": []})["entries"] == list(chain.from_iterable(portions))


def test_an_empty_listing_has_its_empty_list(twin: Twin) -> None:
    with Client(twin.path) as client:
        assert client.call("List", {"standings": [], "prefixes": []}) == {"entries": []}
        assert list(client.stream("Export")) == [{"records": []}]


def test_the_end_of_a_listing_has_no_entry_and_every_other_output(twin: Twin) -> None:
    twin.see(ALICE)
    twin.edits["added"] = [twin.entries[ALICE]]
    totals = {"removed_total": 0, "added_total": 1}
    with Client(twin.path) as client:
        *_, end = client.stream("Edits")
        whole = client.call("Edits")
    assert end == {"removed": [], "added": [], **totals}
    assert [entry["fingerprint"] for entry in whole.pop("added")] == [ALICE]
    assert whole == {"removed": [], **totals}


def test_pipelined_calls_are_answered_in_their_order(twin: Twin) -> None:
    for number in range(20):
        twin.see(f"{number:064X}")
    calls = [Call("org.eximcertd.Show", {"fingerprint": f"{number:064X}"}) for number in range(20)]
    answers = ask(twin.path, b"".join(encode_call(call) for call in calls))
    assert [answer["parameters"]["entry"]["fingerprint"] for answer in answers] == [f"{n:064X}" for n in range(20)]


def test_a_call_in_single_bytes_is_a_call(twin: Twin) -> None:
    with connected(twin.path) as peer:
        for byte in INFO:
            peer.sendall(bytes([byte]))
        [reply] = replies(peer, 1)
    assert reply["parameters"]["product"] == "eximcertd"


def test_a_oneway_call_is_obeyed_and_not_answered(twin: Twin) -> None:
    [reply] = ask(twin.path, encode_call(Call("org.eximcertd.Status", oneway=True)) + INFO)
    assert reply["parameters"]["product"] == "eximcertd"
    assert len(twin.called("Status")) == 1


def test_the_service_describes_itself_as_varlink_wants_it(twin: Twin) -> None:
    [reply] = ask(twin.path, INFO)
    assert reply["parameters"]["interfaces"] == ["org.varlink.service", "org.eximcertd"]
    for name in reply["parameters"]["interfaces"]:
        [reply] = ask(twin.path, encode_call(Call("org.varlink.service.GetInterfaceDescription", {"interface": name})))
        assert f"interface {name}" in reply["parameters"]["description"]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (Call("org.example.Ask"), "org.varlink.service.InterfaceNotFound"),
        (Call("Ask"), "org.varlink.service.InterfaceNotFound"),
        (Call("org.eximcertd.Ask"), "org.varlink.service.MethodNotFound"),
        (Call("org.varlink.service.Ask"), "org.varlink.service.MethodNotFound"),
        (Call("org.varlink.service.GetInterfaceDescription"), "org.varlink.service.InvalidParameter"),
        (
            Call("org.varlink.service.GetInterfaceDescription", {"interface": "x"}),
            "org.varlink.service.InterfaceNotFound",
        ),
        (Call("org.eximcertd.Show"), "org.varlink.service.InvalidParameter"),
        (Call("org.eximcertd.Status", {"please": True}), "org.varlink.service.InvalidParameter"),
        (Call("org.eximcertd.Watch"), "org.varlink.service.ExpectedMore"),
    ],
    ids=str,
)
def test_a_call_that_cannot_be_has_varlinks_own_error(twin: Twin, call: Call, error: str) -> None:
    first, second = ask(twin.path, encode_call(call) + INFO)
    assert first["error"] == error
    assert second["parameters"]["product"] == "eximcertd", "the connection lives on"


def test_a_method_that_fails_inside_says_so_and_the_server_lives_on(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_: Caller, __: dict[str, Any]) -> dict[str, Any]:
        raise TimeoutError("a secret of ours")

    with Twin(path, methods={"Status": broken}), Client(path) as client:
        with pytest.raises(EximcertdError, match="failed internally") as caught:
            client.call("Status")
        assert "secret" not in str(caught.value)
        assert client.call("Check") == {"lines": []}
    assert "a secret of ours" in caplog.text


def test_an_answer_too_large_for_one_reply_is_refused_with_the_way_to_have_it(path: Path) -> None:
    async def much(_: Caller, __: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        for _number in range(10):
            yield {"records": [{"fingerprint": ALICE, "note": "x" * (1 << 20)}]}

    with Twin(path, methods={"Export": much}), Client(path) as client:
        with pytest.raises(EximcertdError, match="too large"):
            client.call("Export")
        assert len(list(client.stream("Export"))) == 11


def test_a_single_answer_too_large_is_refused_and_the_connection_lives_on(path: Path) -> None:
    async def much(_: Caller, __: dict[str, Any]) -> dict[str, Any]:
        return {"lines": [{"verdict": "ok", "sentence": "x" * LARGEST_REPLY, "remedy": ""}]}

    with Twin(path, methods={"Check": much}), Client(path) as client:
        with pytest.raises(EximcertdError, match="the reply is too large"):
            client.call("Check")
        assert client.call("Status")


def test_ten_thousand_records_fit_into_one_call(twin: Twin) -> None:
    records = [{"fingerprint": f"{number:064X}"} for number in range(10_000)]
    with Client(twin.path) as client:
        assert client.call("Import", {"records": records, "request": "1"})["added"] == 10_000


def test_a_decision_is_carried_out_though_its_caller_is_gone(path: Path) -> None:
    begun, done, go = threading.Event(), threading.Event(), threading.Event()

    async def slow(_: Caller, __: dict[str, Any]) -> dict[str, Any]:
        begun.set()
        await asyncio.to_thread(go.wait)
        done.set()
        return {"publication": {}}

    with Twin(path, methods={"Retry": slow}):
        with connected(path) as peer:
            peer.sendall(encode_call(Call("org.eximcertd.Retry")))
            assert begun.wait(10)
        go.set()
        assert done.wait(10)


def test_an_answer_that_is_lost_is_told_from_one_that_was_never_asked_for(path: Path) -> None:
    with pytest.raises(NoAnswerError, match="does not exist") as never:
        once(path, "Status")
    assert not isinstance(never.value, LostError)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        with pytest.raises(NoAnswerError, match="no process listens there"):
            once(path, "Status")
        listener.listen()

        def hang_up() -> None:
            listener.accept()[0].close()

        hanging_up = threading.Thread(target=hang_up)
        hanging_up.start()
        with pytest.raises(LostError):
            once(path, "Status")
        hanging_up.join()
        with pytest.raises(LostError, match=r"timed out after 0\.2 s"):
            once(path, "Status", timeout=0.2)


@pytest.mark.parametrize("answer", [b"hello\0", b"{}\0" * 2, b"[]\0", b'{"error":5}\0', b'{"continues":'])
def test_what_answers_and_is_no_eximcertd_is_told(path: Path, answer: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def impostor() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(answer)

        thread = threading.Thread(target=impostor)
        thread.start()
        if answer.startswith(b"{}"):
            assert once(path, "Status") == {}
        else:
            with pytest.raises(LostError):
                once(path, "Status")
        thread.join()


def test_closing_lets_who_is_being_answered_have_his_answer(path: Path) -> None:
    begun, go = threading.Event(), threading.Event()

    async def slow(_: Caller, __: dict[str, Any]) -> dict[str, Any]:
        begun.set()
        await asyncio.to_thread(go.wait)
        return {"lines": []}

    with connected_twin(path, slow) as peer:
        peer.sendall(encode_call(Call("org.eximcertd.Check")))
        assert begun.wait(10)
        threading.Timer(0.05, go.set).start()
    assert replies(peer) == [{"parameters": {"lines": []}}]
    peer.close()


@contextmanager
def connected_twin(path: Path, check: Any) -> Iterator[socket.socket]:
    """Run a twin and a connection that outlives it."""
    with Twin(path, methods={"Check": check}):
        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(10)
        peer.connect(str(path))
        yield peer


def test_a_handler_for_a_method_that_is_not_there_is_a_mistake(path: Path) -> None:
    async def nothing(_: Caller, __: dict[str, Any]) -> dict[str, Any]:
        return {}

    with pytest.raises(ValueError, match="has no method Forgive"):
        Twin(path, methods={"Forgive": nothing})


def test_the_clients_errors_name_what_is_unknown(twin: Twin) -> None:
    with Client(twin.path) as client, pytest.raises(EximcertdError, match="of the same version") as caught:
        client.call("Forgive")
    assert not isinstance(caught.value, UsageError | NotPermittedError)


@pytest.mark.skipif(not Path("/usr/bin/varlinkctl").exists(), reason="varlinkctl comes with systemd 255 and newer")
def test_varlinkctl_understands_the_service_and_its_interface(twin: Twin) -> None:
    def varlinkctl(*arguments: str) -> str:
        done = subprocess.run(
            ["/usr/bin/varlinkctl", *arguments], capture_output=True, text=True, timeout=30, check=True
        )
        return done.stdout

    twin.see(ALICE, certificate("CN=laptop"))
    assert "org.eximcertd" in varlinkctl("info", str(twin.path))
    assert "method Decide" in varlinkctl("introspect", str(twin.path), "org.eximcertd")
    listed = varlinkctl("call", "--more", str(twin.path), "org.eximcertd.List", '{"standings":[],"prefixes":[]}')
    assert ALICE in listed
