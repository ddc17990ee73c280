"""What people are told of, when, and how often: by real programs, and by a socket that takes mail."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lab.entries import certificate
from lab.records import Records

from eximcertd.config import NotifySettings
from eximcertd.events import Event
from eximcertd.fingerprint import Fingerprint
from eximcertd.maintenance import notifications
from eximcertd.maintenance.commands import LONGEST_OUTPUT, run
from eximcertd.maintenance.notifications import Delays, Notifications

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ONE = Fingerprint("A1" * 32)
QUICK = Delays(gather=0.05, pause=0.2, not_live=0.1, tick=0.01, idle=0.01)


class Told:
    """Notifications with a program that keeps what it is told. live: what the publication says."""

    def __init__(self, directory: Path, script: str = "", delays: Delays = QUICK, mail: str | None = None) -> None:
        self.file = directory / "told"
        program = directory / "tell"
        program.write_text(f"#!/bin/sh\n{script or f'cat >>{self.file}'}\n")
        program.chmod(0o755)
        self.records = Records()
        settings = NotifySettings(mail, () if mail else (str(program),))
        self.notifications = Notifications(self.records, lambda: settings, delays)
        self.live = True
        self.decided: set[Fingerprint] = set()

    async def shown(self, fingerprints: Sequence[Fingerprint]) -> list[dict[str, Any]]:
        known = certificate("CN=laptop\x1b[1m", source="attempt")
        standings = ["approved" if one in self.decided else "pending" for one in fingerprints]
        return [
            {"fingerprint": one, "standing": standing, "certificate": known}
            for one, standing in zip(fingerprints, standings, strict=True)
        ]

    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.read_text().splitlines()] if self.file.exists() else []

    async def until(self, condition: Callable[[], object]) -> None:
        running = asyncio.create_task(self.notifications.run(lambda: self.live, self.shown))
        try:
            async with asyncio.timeout(30):
                while not condition():  # noqa: ASYNC110 - a file tells it, no event
                    await asyncio.sleep(0.01)
        finally:
            running.cancel()
            await asyncio.wait([running])  # until its program has ended, too


def of(number: int) -> Fingerprint:
    return Fingerprint(f"{number:064X}")


def test_a_storm_is_one_message_with_a_count(tmp_path: Path) -> None:
    async def story() -> Told:
        told = Told(tmp_path)
        for number in range(200):
            told.notifications.seen([of(100 * number + each) for each in range(100)])
        await told.until(told.messages)
        return told

    [message] = asyncio.run(story()).messages()
    assert message["kind"] == "pending"
    assert message["count"] == 20_000
    assert len(message["entries"]) == 20
    assert message["sentence"] == "20,000 clients wait for a decision: see eximcertctl pending"


def test_what_comes_later_is_a_message_of_its_own_after_a_pause(tmp_path: Path) -> None:
    async def story() -> Told:
        told = Told(tmp_path)
        told.notifications.seen([of(1)])
        await told.until(told.messages)
        told.notifications.seen([of(2)])
        told.notifications.seen([of(3)])
        await told.until(lambda: len(told.messages()) == 2)
        return told

    assert [message["count"] for message in asyncio.run(story()).messages()] == [1, 2]


def test_what_was_decided_meanwhile_is_not_reported(tmp_path: Path) -> None:
    async def story() -> Told:
        told = Told(tmp_path)
        told.decided = {of(1)}
        told.notifications.seen([of(1)])
        told.notifications.record(Event.CERTIFICATE_EXPIRES_SOON, "A1A1 expires on 2027-01-01")
        await told.until(told.messages)
        return told

    assert [message["kind"] for message in asyncio.run(story()).messages()] == ["expiring"]


def test_a_client_that_waits_is_told_though_a_policy_decided_on_all_that_came_later(tmp_path: Path) -> None:
    async def story() -> Told:
        told = Told(tmp_path)
        told.decided = {of(number) for number in range(10, 60)}
        told.notifications.seen([of(number) for number in range(60)])
        await told.until(told.messages)
        return told

    [message] = asyncio.run(story()).messages()
    assert message["count"] == 10
    assert [entry["fingerprint"] for entry in message["entries"]] == [of(number) for number in range(10)]


def test_a_message_about_expiry_says_how_many_it_does_not_list(tmp_path: Path) -> None:
    async def story() -> Told:
        told = Told(tmp_path)
        for number in range(25):
            told.notifications.record(Event.CERTIFICATE_EXPIRES_SOON, f"{of(number)} expires on 2027-01-01")
        await told.until(told.messages)
        return told

    [message] = asyncio.run(story()).messages()
    assert message["count"] == 25
    assert of(19) in message["sentence"]
    assert message["sentence"].endswith("\nand 5 more: see eximcertctl list --long")


def test_exim_down_is_told_at_once_and_once_until_the_list_is_live_again(tmp_path: Path) -> None:
    async def story() -> Told:
        told = Told(tmp_path, delays=QUICK._replace(gather=1000, not_live=1000))
        told.live = False
        for _ in range(3):
            told.notifications.record(Event.EXIM_IS_DOWN, "EXIM IS DOWN: it ended")
            await told.until(told.messages)
        told.live = True
        ticks = iter(range(5))
        await told.until(lambda: next(ticks, None) is None)
        told.live = False
        told.notifications.record(Event.EXIM_IS_DOWN, "EXIM IS DOWN: again")
        await told.until(lambda: len(told.messages()) == 2)
        return told

    told = asyncio.run(story())
    assert [message["sentence"] for message in told.messages()] == ["EXIM IS DOWN: it ended", "EXIM IS DOWN: again"]
    assert told.records.events().count(Event.EXIM_IS_DOWN) == 4, "every event reaches the journal"


def test_a_list_that_is_long_not_live_is_told(tmp_path: Path) -> None:
    async def story() -> Told:
        told = Told(tmp_path)
        told.live = False
        await told.until(told.messages)
        return told

    assert [message["kind"] for message in asyncio.run(story()).messages()] == ["not-live"]


@pytest.mark.parametrize("script", ["exit 3", "kill -9 $$", "echo no; exit 1"])
def test_a_program_that_fails_is_reported_and_the_next_message_is_tried(tmp_path: Path, script: str) -> None:
    async def story() -> Told:
        told = Told(tmp_path, script)
        told.notifications.seen([of(1)])
        await told.until(lambda: told.records.events() == [Event.NOTIFICATION_FAILED])
        told.notifications.seen([of(2)])
        await told.until(lambda: told.records.events() == [Event.NOTIFICATION_FAILED] * 2)
        return told

    asyncio.run(story())


def test_of_what_a_failing_program_prints_the_beginning_is_reported(tmp_path: Path) -> None:
    async def story() -> str:
        told = Told(tmp_path, f"printf %s {'no' * 100}END; exit 1")
        told.notifications.seen([of(1)])
        await told.until(told.records.events)
        return told.records.kept[0][1]

    assert asyncio.run(story()) == f"[notify] command: nothing was sent: {'no' * 100}"


def test_a_mail_that_sendmail_does_not_take_is_reported_with_the_socket_that_systemd_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "MAIL_SOCKET", tmp_path / "none")
    monkeypatch.setattr(notifications, "SENDMAIL", "/bin/false")

    async def story() -> str:
        told = Told(tmp_path, mail="postmaster@example.org")
        told.notifications.seen([ONE])
        await told.until(told.records.events)
        return told.records.kept[0][1]

    remedy = "under systemd, run: systemctl enable --now eximcertd-mail.socket"
    assert asyncio.run(story()) == f"[notify] mail: nothing was sent: exit status 1; {remedy}"


def test_mail_goes_to_the_socket_escaped_and_with_the_whole_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "MAIL_SOCKET", tmp_path / "mail")
    taken: list[str] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        text = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()  # before the story ends
        taken.append(text)

    async def story() -> Told:
        told = Told(tmp_path, mail="postmaster@example.org")
        async with await asyncio.start_unix_server(take, tmp_path / "mail"):
            told.notifications.seen([ONE])
            await told.until(lambda: taken)
        return told

    told = asyncio.run(story())
    assert told.records.events() == []
    [message] = taken
    head, _, body = message.partition("\n\n")
    assert "To: postmaster@example.org" in head
    assert "1 client waits for a decision" in head
    assert ONE in body
    assert "CN=laptop\\x1b[1m (a claim: only the client has shown it)" in body


def test_a_program_that_hangs_is_killed_with_what_it_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    ran = asyncio.run(run(["/bin/sh", "-c", f"sleep 1000 & echo $! >{pid}; wait"], "", 0.5))
    assert ran.status is None
    assert "did not end within 0.5 s" in ran.text
    state = Path(f"/proc/{pid.read_text().strip()}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


def test_a_program_that_ends_just_when_it_is_given_up_is_waited_for() -> None:
    async def given_up(after: float) -> None:
        running = asyncio.create_task(run(["/bin/true"], "", 30))
        await asyncio.sleep(after)
        running.cancel()
        await asyncio.wait([running], timeout=30)
        assert running.done()

    for number in range(160):
        asyncio.run(given_up(number % 80 / 16000))
    gc.collect()  # a process that is left makes a warning, and the test fails


@pytest.mark.parametrize("steps", range(6))
def test_a_stop_that_comes_with_a_new_client_is_not_lost(tmp_path: Path, steps: int) -> None:
    async def story() -> None:
        told = Told(tmp_path, delays=QUICK._replace(gather=1000, tick=1000, idle=1000))
        running = asyncio.create_task(told.notifications.run(lambda: told.live, told.shown))
        await asyncio.sleep(0.01)
        told.notifications.seen([of(1)])
        for _ in range(steps):
            await asyncio.sleep(0)
        running.cancel()
        ended, _ = await asyncio.wait([running], timeout=5)
        assert ended

    asyncio.run(story())


UNPRIVILEGED = """
import asyncio, os, sys
from eximcertd.maintenance.commands import run
os.setgroups([]), os.setgid(65534), os.setuid(65534)
print(asyncio.run(run(sys.argv[1:], "", 0.2)))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a program setuid")
def test_a_setuid_program_that_hangs_is_given_up_and_ends_nothing_else() -> None:
    with tempfile.TemporaryDirectory() as directory:
        setuid = Path(directory) / "setpriv"
        shutil.copy("/usr/bin/setpriv", setuid)
        setuid.chmod(0o4755)
        setuid.parent.chmod(0o755)
        call = [sys.executable, "-c", UNPRIVILEGED, str(setuid), "--ruid=0", "sleep", "60"]
        done = subprocess.run(call, stdout=subprocess.PIPE, text=True, timeout=30, check=True)
    assert "did not end within 0.2 s" in done.stdout


def test_the_output_of_a_program_is_bounded_and_it_need_not_read() -> None:
    ran = asyncio.run(run(["/bin/sh", "-c", "yes | head -c 1000000"], "x" * 1_000_000, 30))
    assert ran.status == 0
    assert len(ran.text) <= LONGEST_OUTPUT
    assert asyncio.run(run(["/nothing/there"], "", 1)).status is None
