"""Doing one small thing as another user, in a child that this user may stop.

So it is waited for no longer than a limit, and holds nothing that others wait for (the lock, the answer's pipe).
"""

from __future__ import annotations

import errno
import os
import select
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_LIMIT: Final = 2.0
_MOST_DESCRIPTORS: Final = 1 << 20


def as_user(user: int, group: int, do: Callable[[], None], *, keep: int = -1) -> int:
    """Do something as another user, if this is root; return 0, or the errno of what went wrong.

    keep: a descriptor that it needs. ETIMEDOUT: it gave no end, and was left behind.
    """
    child = os.fork()
    if child == 0:
        status = errno.EIO
        try:
            os.closerange(0, keep if keep >= 0 else _MOST_DESCRIPTORS)
            if keep >= 0:
                os.closerange(keep + 1, _MOST_DESCRIPTORS)
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(group, group, group)
                os.setresuid(user, user, user)
            do()
            status = 0
        except OSError as error:
            status = error.errno or errno.EIO
        finally:
            os._exit(status)
    descriptor = os.pidfd_open(child)
    try:
        if not select.select([descriptor], [], [], _LIMIT)[0]:
            with suppress(OSError):
                os.kill(child, signal.SIGKILL)
            return errno.ETIMEDOUT
    finally:
        os.close(descriptor)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status if status >= 0 else errno.EINTR
