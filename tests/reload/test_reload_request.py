"""What eximcertd-reload makes of requests that do not follow the protocol, and of its own limits."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from lab.exim import EximServer
from lab.reloading import Reloader

from eximcertd.reload import program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

A, B = "AA" * 32, "BB" * 32
DIGEST = "0" * 64


@pytest.fixture
def reloader() -> Iterator[Reloader]:
    """Ask about an Exim that is not started."""
    server = EximServer()
    yield Reloader(server)
    server.remove()


def answer(reloader: Reloader, request: bytes) -> dict[str, Any]:
    done = reloader.raw(request)
    assert (done.returncode, done.stderr) == (0, b"")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"\n" * 1000,
        b"eximcertd-reload 2\nvalidate list\ncount 0\nend\n",
        b"eximcertd-publish 2\nread\ncount 0\nend\n",
        b"eximcertd-reload 1\nreload\ncount 0\nend\n",
        b"eximcertd-reload 1\nload\ncount 0\nend\n",
        f"eximcertd-reload 1\nload {DIGEST.replace('0', 'G')}\ncount 0\nend\n".encode(),
        f"eximcertd-reload 1\nload {DIGEST}\ncount 1\n{A}\nend\n".encode(),
        f"eximcertd-reload 1\nload {DIGEST}\ncount 0\nend\nmore\n".encode(),
        b"eximcertd-reload 1\nvalidate list\ncount 0\n",
        f"eximcertd-reload 1\nvalidate list\ncount 2\n{B}\n{A}\nend\n".encode(),
        f"eximcertd-reload 1\nvalidate list\ncount 1\n{A.lower()}\nend\n".encode(),
        f"eximcertd-reload 1\nvalidate list\ncount 1\n{'${run{}}' * 8}\nend\n".encode(),
    ],
)
def test_a_request_that_does_not_follow_the_protocol_is_refused(reloader: Reloader, request_: bytes) -> None:
    told = answer(reloader, request_)
    assert (told["outcome"], told["step"]) == ("refused", "request")
    assert told["message"].startswith("the request is refused: ")


def test_a_list_that_is_longer_than_the_limit_is_refused(reloader: Reloader) -> None:
    reloader.configure({"publish": {"max_fingerprints": 1}})
    assert answer(reloader, f"eximcertd-reload 1\nvalidate list\ncount 1\n{A}\nend\n".encode())["outcome"] == "valid"
    told = answer(reloader, f"eximcertd-reload 1\nvalidate list\ncount 2\n{A}\n{B}\nend\n".encode())
    assert told["outcome"] == "refused"
    assert "max_fingerprints" in told["message"]


VALIDATE = b"eximcertd-reload 1\nvalidate list\ncount 0\nend\n"
OF_NONE = hashlib.sha256(b"").hexdigest()


def test_the_answer_tells_what_each_step_took(reloader: Reloader) -> None:
    began = time.monotonic()
    told = answer(reloader, VALIDATE)
    assert set(told["timings"]) == {"request", "validate"}
    assert all(seconds >= 0 for seconds in told["timings"].values())
    assert sum(told["timings"].values()) < time.monotonic() - began
    assert told["step"] == ""


@pytest.mark.parametrize(
    ("verb", "outcome", "step"), [("load", "not-running", "reload"), ("check", "valid", "daemons")]
)
def test_the_last_step_is_called_what_it_is(reloader: Reloader, verb: str, outcome: str, step: str) -> None:
    told = answer(reloader, f"eximcertd-reload 1\n{verb} {OF_NONE}\ncount 0\nend\n".encode())
    assert told["outcome"] == outcome, told
    assert list(told["timings"]) == ["request", "validate", step]


def test_two_requests_are_served_one_after_the_other_and_no_third(reloader: Reloader) -> None:
    with subprocess.Popen(reloader.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(2):
            process.stdin.write(VALIDATE)
            assert json.loads(process.stdout.readline())["outcome"] == "valid"
        with contextlib.suppress(BrokenPipeError):  # it has ended
            process.stdin.write(VALIDATE)
        assert process.stdout.read() == b""


def test_a_request_that_does_not_come_is_refused_in_time(reloader: Reloader) -> None:
    read, write = os.pipe()
    began = time.monotonic()
    done = subprocess.run(reloader.command(), stdin=read, capture_output=True, timeout=60, check=False)
    os.close(read)
    os.close(write)
    assert json.loads(done.stdout)["outcome"] == "refused"
    assert time.monotonic() - began > 4


def test_an_asker_that_is_gone_is_no_error(reloader: Reloader) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(reloader.command(), input=b"x", stdout=write, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_configuration_file_that_is_named_has_to_be_there(reloader: Reloader) -> None:
    reloader.config.unlink()
    told = answer(reloader, b"eximcertd-reload 1\nvalidate list\ncount 0\nend\n")
    assert (told["outcome"], told["step"]) == ("failed", "request")
    assert told["message"] == f"{reloader.config}: No such file or directory"


def test_every_mistake_of_a_configuration_file_is_told_in_one_line(reloader: Reloader) -> None:
    reloader.configure({"publish": {"max_shrink": 101}, "exim": {"reload": "often"}, "log": {"path": 7}})
    told = answer(reloader, b"eximcertd-reload 1\nvalidate list\ncount 0\nend\n")
    assert (told["outcome"], told["step"]) == ("refused", "request")
    assert "max_shrink" in told["message"]
    assert "; " in told["message"]
    assert "often" in told["message"]
    assert "\n" not in told["message"]
    assert "[log]" not in told["message"], "what does not concern it is not looked at"


def test_a_fault_of_its_own_is_an_answer_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise TypeError("that cannot be")

    monkeypatch.setattr(program, "_configuration", broken)
    told = program._answer(tmp_path)
    assert (told.outcome, told.step) == ("failed", "request")
    assert told.message == "a fault in eximcertd-reload: TypeError('that cannot be'); please report it"
    assert "TypeError" in capsys.readouterr().err
