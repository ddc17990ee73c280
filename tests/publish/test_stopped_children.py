"""Exim's user can stop whatever runs as it, and root without CAP_KILL cannot end it: nothing waits for that."""

from __future__ import annotations

import errno
import os
import pwd
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from lab.exim import USER

if TYPE_CHECKING:
    from pathlib import Path

EXIM = pwd.getpwnam(USER)
IN_THE_UNIT = ("setpriv", "--inh-caps=-all", "--bounding-set=-all,+setuid,+setgid,+sys_admin", "--no-new-privs")


def in_the_unit(code: str) -> str:
    """Run Python code with the rights that the unit of the publisher leaves."""
    command = [*IN_THE_UNIT, sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout


STOPPED = """
from eximcertd.publish.run import run
from eximcertd.publish.stop import Stop
try:
    run({command}, 0.3, user={user})
except Stop as stop:
    print(stop.message)
"""


@pytest.mark.parametrize("who", ["run as Exim's user", "becoming Exim's user"])
def test_a_program_that_exims_user_stops_is_killed_by_that_user(who: str) -> None:
    stops = ["/bin/sh", "-c", "kill -STOP $$"]
    become = ["/usr/bin/setpriv", f"--reuid={EXIM.pw_uid}", f"--regid={EXIM.pw_gid}", "--clear-groups"]
    if "becoming" in who:
        said = in_the_unit(STOPPED.format(command=[*become, *stops], user=None))
    else:
        said = in_the_unit(STOPPED.format(command=stops, user=(EXIM.pw_uid, EXIM.pw_gid, [])))
    assert "gave no end within 0.3 s, or of output, and was killed" in said


LEFT = f"""
import fcntl, os, signal
from pathlib import Path
from eximcertd.publish.child import as_user
lock = open({{path!r}}, "w")
fcntl.flock(lock, fcntl.LOCK_EX)
print(as_user({EXIM.pw_uid}, {EXIM.pw_gid}, lambda: os.kill(os.getpid(), signal.SIGSTOP)))
print(Path(f"/proc/{{{{os.getpid()}}}}/task/{{{{os.getpid()}}}}/children").read_text())
lock.close()
fcntl.flock(open({{path!r}}), fcntl.LOCK_EX | fcntl.LOCK_NB)
print("free")
"""


def test_a_child_that_exims_user_stops_is_left_behind_and_holds_no_lock(tmp_path: Path) -> None:
    status, left, free = in_the_unit(LEFT.format(path=str(tmp_path / "lock"))).split()
    with suppress(ProcessLookupError):
        os.kill(int(left), signal.SIGKILL)
    assert (int(status), free) == (errno.ETIMEDOUT, "free")
