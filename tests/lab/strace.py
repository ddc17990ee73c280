"""Tracing a child's system calls, and killing it at one of them (strace(1), -e inject)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lab.wait import until

if TYPE_CHECKING:
    from collections.abc import Callable

CHANGING: Final = (
    "write,writev,pwrite64,sendto,sendmsg,fsync,fdatasync,openat,unlink,unlinkat,rename,renameat,renameat2,"
    "mkdir,mkdirat,rmdir,link,linkat,ftruncate,fchmod,chmod,utimensat,vfork,clone,clone3,kill,flock"
)
"""The calls that change anything outside a process, or let another one change it."""

_CALL: Final = re.compile(r"^(?:\d+ +)?(\w+)\(")


@dataclass(frozen=True, slots=True)
class Call:
    """The nth call of a name in a process. text: as strace shows it."""

    name: str
    nth: int
    text: str

    def changes(self) -> bool:
        """Tell whether it can change anything: an openat that makes nothing cannot."""
        return self.name != "openat" or "O_CREAT" in self.text or "O_TRUNC" in self.text


def run_traced(work: Callable[[], None], kill_at: Call | None = None) -> tuple[list[Call], int]:
    """Run ``work`` in a forked child and return its changing calls, in order, and its wait status.

    kill_at: SIGKILL instead of this call. What the child starts is not traced. ``work`` runs in one thread.
    """
    ready, go = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go)
        os.read(ready, 1)
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    os.close(ready)
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory, "calls")
        command = ["strace", "-qq", "-b", "execve", "-o", str(output), "-e", f"trace={CHANGING}", "-p", str(child)]
        if kill_at is not None:
            # "retval=0": the call itself is not made; the kill stands in its place
            command += ["-e", f"inject={kill_at.name}:retval=0:signal=KILL:when={kill_at.nth}"]
        tracer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until(lambda: _traced(child), "strace has attached")
            os.write(go, b"!")
        finally:
            os.close(go)
        _, status = os.waitpid(child, 0)
        tracer.send_signal(signal.SIGTERM)
        tracer.wait(10)
        return _calls(output.read_text(errors="replace")), status


def _traced(pid: int) -> bool:
    return "TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text()


def _calls(text: str) -> list[Call]:
    counts: Counter[str] = Counter()
    calls = []
    for line in text.splitlines():
        found = _CALL.match(line)
        if found:
            counts[found[1]] += 1
            calls.append(Call(found[1], counts[found[1]], line))
    return calls


def kill_points(calls: list[Call]) -> list[Call]:
    """Return the calls to be killed at: every one that changes something.

    Of the pages that SQLite appends to its log within one transaction only the first and the last are taken: until
    the last, which carries the commit, all of them are void (sqlite.org/walformat.html, "Reader Algorithm").
    EVERYWHERE=1 takes them all.
    """
    changing = [call for call in calls if call.changes()]
    if os.environ.get("EVERYWHERE"):
        return changing
    inner = {
        call
        for before, call, after in zip(changing, changing[1:], changing[2:], strict=False)
        if before.name == call.name == after.name == "pwrite64"
    }
    return [call for call in changing if call not in inner]
