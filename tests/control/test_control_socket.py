"""The real server on a real Unix socket, asked by the real client, and by programs that mean it no good."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import socket
import struct
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lab.twins import PORTION, Twin, certificate
from lab.wait import until

from eximcertd.control.client import Client, LostError
from eximcertd.control.connection_limiter import BOUNDS, Rank
from eximcertd.control.protocol import LARGEST_CALL, LARGEST_REPLY, Call, encode_call
from eximcertd.control.rights import Rights
from eximcertd.control.server import Caller, Limits
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

ALICE = "A11CE" + "0" * 59
INFO = b'{"method":"org.varlink.service.GetInfo"}\0'
OTHERS = 0 if os.getuid() else 65534
"""Somebody else's user id: nobody's, as seen by root."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a place for the socket."""
    return tmp_path / "control"


@pytest.fixture
def twin(path: Path) -> Iterator[Twin]:
    """Run a twin that lets whoever runs the tests do everything."""
    with Twin(path) as twin:
        yield twin


@contextmanager
def connected(path: Path) -> Iterator[socket.socket]:
    """Connect as a program that we did not write would."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
        peer.settimeout(10)
        yield peer


def replies(peer: socket.socket, count: int | None = None) -> list[dict[str, Any]]:
    """Read so many replies, or all until the server hangs up."""
    raw = b""
    while count is None or raw.count(b"\0") < count:
        try:
            portion = peer.recv(1 << 16)
        except ConnectionResetError:
            break  # it hung up before it had read all that we sent
        if not portion:
            break
        raw += portion
    return [json.loads(message) for message in raw.split(b"\0")[:-1]]


def ask(path: Path, raw: bytes) -> list[dict[str, Any]]:
    """Send this, and nothing more; return every reply."""
    with connected(path) as peer:
        try:
            peer.sendall(raw)
            peer.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        return replies(peer)


def once(path: Path, method: str, *, timeout: float = 10.0) -> Any:
    """Ask once, as eximcertctl does, and hang up."""
    with Client(path, timeout=timeout) as client:
        return client.call(method)


def as_nobody(script: str, *arguments: str) -> str:
    """Run a Python text as another user, in no group of ours, and return what it printed."""
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=30, check=True, user=OTHERS, group=OTHERS, extra_groups=[]
    )
    return done.stdout


needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")


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


# Those who mean no good


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0",
        b"GET / HTTP/1.1\r\n\r\n\0",
        pytest.param(os.urandom(5000) + b"\0", id="5000 random bytes"),
        b"[" * 100_000 + b"\0",
        b'{"method":"org.eximcertd.Status","parameters":{"a":"\\udfff"}}\0',
        b'{"method":',
    ],
    ids=lambda raw: repr(raw[:30]),
)
def test_garbage_loses_its_own_connection_and_no_other(twin: Twin, garbage: bytes) -> None:
    with Client(twin.path) as other:
        other.call("Status")
        assert [reply["error"] for reply in ask(twin.path, garbage + INFO)] == ["org.eximcertd.Usage"]
        other.call("Status")


def test_an_endless_message_is_cut_off(twin: Twin) -> None:
    with connected(twin.path) as peer, Client(twin.path) as other:
        sent = 0
        try:
            while sent < 4 * LARGEST_CALL:
                sent += peer.send(b"[" * (1 << 16))
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert sent < 4 * LARGEST_CALL
        assert [reply["error"] for reply in replies(peer)] == ["org.eximcertd.Usage"]
        other.call("Status")


def test_silence_is_hung_up_on(path: Path) -> None:
    with Twin(path, limits=Limits(idle=0.2, other_idle=0.2)), connected(path) as silent, connected(path) as slow:
        slow.sendall(INFO[:10])
        assert replies(silent) == []
        assert replies(slow) == []


def test_who_takes_no_answer_is_hung_up_on_and_others_are_served(path: Path) -> None:
    with Twin(path, limits=Limits(write=0.3)) as twin, connected(path) as deaf, Client(path) as other:
        for number in range(2 * PORTION):
            twin.see(f"{number:064X}")
        call = encode_call(Call("org.eximcertd.List", {"standings": [], "prefixes": []}, more=True))
        deaf.sendall(call * 20)
        other.call("Status")
        until(lambda: _hung_up(deaf), "the deaf one is hung up on")
        other.call("Status")


def _hung_up(peer: socket.socket) -> bool:
    try:
        return peer.send(b" ", socket.MSG_DONTWAIT) == 0
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_a_watcher_who_goes_away_is_noticed(path: Path) -> None:
    left = threading.Event()

    async def watch(_: Caller, __: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        try:
            yield {"events": []}
            await asyncio.Event().wait()
        finally:
            left.set()

    with Twin(path, limits=Limits(gone=0.05), methods={"Watch": watch}):
        with connected(path) as peer:
            peer.sendall(encode_call(Call("org.eximcertd.Watch", more=True)))
            assert replies(peer, 1) == [{"parameters": {"events": []}, "continues": True}]
            assert not left.wait(0.2), "it is still there"
        assert left.wait(10)


def test_a_thousand_connections_of_one_user_leave_room_for_others(path: Path) -> None:
    rank = Rank.ROOT if os.getuid() == 0 else Rank.APPROVER
    with Twin(path), ExitStack() as stack:
        peers = [stack.enter_context(connected(path)) for _ in range(1000)]
        for peer in peers[BOUNDS[rank].each :]:
            assert b"too many connections" in peer.recv(4096)
        with pytest.raises(EximcertdError, match="too many connections"):
            once(path, "Status")
        assert ask_first(peers[0])["product"] == "eximcertd", "the first ones are served"
    with Twin(path):
        once(path, "Status")


def ask_first(peer: socket.socket) -> Any:
    """Ask over a connection that is there already."""
    peer.sendall(INFO)
    return replies(peer, 1)[0]["parameters"]


@needs_root
def test_another_user_may_ask_who_is_there_and_nothing_else(tmp_path: Path) -> None:
    tmp_path = _reachable(tmp_path)
    script = """
import socket, sys
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
for method in sys.argv[2:]:
    peer.sendall(b'{"method":"%s"}\\0' % method.encode())
    print(peer.recv(65536).decode())
"""
    with Twin(tmp_path / "control", rights=Rights()) as twin:
        said = as_nobody(script, str(twin.path), "org.varlink.service.GetInfo", "org.eximcertd.Status")
        assert "eximcertd" in said.splitlines()[0]
        assert "org.eximcertd.NotPermitted" in said.splitlines()[1]
        assert "nobody does not have the right to read" in said.splitlines()[1]
        assert twin.called("Status") == []


@needs_root
def test_groups_of_the_peer_count_the_primary_and_the_others(tmp_path: Path) -> None:
    tmp_path = _reachable(tmp_path)
    script = "import sys; from eximcertd.control.client import Client; from pathlib import Path\n"
    script += "Client(Path(sys.argv[1])).call(sys.argv[2])"
    rights = Rights(readers=frozenset({40001}), approvers=frozenset({40002}))

    def runs(method: str, group: int, extra: list[int]) -> bool:
        command = [sys.executable, "-c", script, str(tmp_path / "control"), method]
        done = subprocess.run(
            command, capture_output=True, timeout=30, check=False, user=40000, group=group, extra_groups=extra
        )
        return done.returncode == 0

    with Twin(tmp_path / "control", rights=rights) as twin:
        assert runs("Status", 40001, [])
        assert runs("Status", 40000, [1, 2, 40001])
        assert not runs("Retry", 40000, [40001])
        assert runs("Retry", 40000, [40002])
        assert runs("Retry", 40002, [])
        assert not runs("Status", 40000, [40000, 1, 2])
        assert twin.callers[0].name == "uid 40000"


@needs_root
def test_more_groups_than_can_be_read_give_no_right(tmp_path: Path) -> None:
    tmp_path = _reachable(tmp_path)
    script = "import sys; from eximcertd.control.client import Client; from pathlib import Path\n"
    script += "Client(Path(sys.argv[1])).call('Status')"
    with Twin(tmp_path / "control", rights=Rights(readers=frozenset({40001}))) as twin:
        command = [sys.executable, "-c", script, str(twin.path)]
        groups = [40001, *range(50_000, 50_300)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            user=40000,
            group=40000,
            extra_groups=groups,
        )
        assert "NotPermittedError" in done.stderr


@needs_root
def test_callers_without_a_right_take_no_connection_of_those_who_have_one(tmp_path: Path) -> None:
    tmp_path = _reachable(tmp_path)
    script = """
import socket, sys
peers = [socket.socket(socket.AF_UNIX) for _ in range(200)]
for peer in peers:
    peer.connect(sys.argv[1])
print("connected", flush=True)
sys.stdin.read()
"""
    with Twin(tmp_path / "control", rights=Rights()) as twin:
        crowd = subprocess.Popen(
            [sys.executable, "-c", script, str(twin.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            user=OTHERS,
            group=OTHERS,
            extra_groups=[],
        )
        with crowd:
            assert crowd.stdout is not None
            assert crowd.stdout.readline() == b"connected\n"
            once(twin.path, "Status")
            crowd.communicate()


@needs_root
def test_a_caller_without_a_right_cannot_send_a_large_call(tmp_path: Path) -> None:
    tmp_path = _reachable(tmp_path)
    script = """
import socket, sys
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
try:
    peer.sendall(b" " * 100_000 + b"\\0")
except OSError:
    pass
print(peer.recv(65536).decode())
"""
    with Twin(tmp_path / "control", rights=Rights()) as twin:
        assert "it is longer than 65536 bytes" in as_nobody(script, str(twin.path))


def _reachable(directory: Path) -> Path:
    """Let other users through to a directory of pytest's, and return it."""
    for parent in (directory, *directory.parents):
        if parent.stat().st_uid == os.getuid() and parent.name != "tmp" and len(parent.parts) > 2:
            parent.chmod(parent.stat().st_mode | 0o011)
    return directory


# The socket's place


def test_a_socket_that_a_running_eximcertd_holds_is_not_taken_from_it(twin: Twin) -> None:
    with pytest.raises(EximcertdError, match=rf"in use by a running eximcertd \(process {os.getpid()}\)"):
        Twin(twin.path).__enter__()
    once(twin.path, "Status")


def test_a_socket_that_another_program_holds_is_not_taken_from_it(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(EximcertdError, match="in use by another program"):
            Twin(path).__enter__()
        assert path.exists()


def test_a_socket_that_a_dead_daemon_left_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    with Twin(path):
        once(path, "Status")
    assert not path.exists()


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_what_is_no_socket_is_left_alone(path: Path, kind: str) -> None:
    if kind == "link":
        path.symlink_to("/etc/passwd")
    else:
        (path.touch if kind == "file" else path.mkdir)()
    with pytest.raises(EximcertdError, match="is not a socket"):
        Twin(path).__enter__()
    assert path.exists()


@pytest.mark.parametrize("where", ["missing/control", "x" * 120])
def test_a_place_that_cannot_be_had_is_told(tmp_path: Path, where: str) -> None:
    with pytest.raises(EximcertdError, match=r"cannot be created|too long") as caught:
        Twin(tmp_path / where).__enter__()
    assert "[control] socket" in str(caught.value)


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


def test_the_credentials_are_the_kernels(twin: Twin) -> None:
    with connected(twin.path) as peer:
        raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        assert struct.unpack("3i", raw)[1] == os.getuid()


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


@needs_root
def test_the_login_user_behind_sudo_is_named_where_the_kernel_tells(twin: Twin) -> None:
    login = pwd.getpwnam("daemon")
    script = f"""
import os, sys
try:
    open("/proc/self/loginuid", "w").write("{login.pw_uid}")
except OSError:
    sys.exit(77)
from pathlib import Path
from eximcertd.control.client import Client
Client(Path(sys.argv[1])).call("Status")
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script, str(twin.path)], timeout=30, check=False)
    if done.returncode == 77:
        pytest.skip("this kernel keeps no login user, or does not let it be set here")
    assert done.returncode == 0
    assert twin.callers[-1].name == "daemon (via root)"
