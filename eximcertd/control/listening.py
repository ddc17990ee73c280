"""Taking the control socket's place in the file system: nobody else's, never a living daemon's."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from eximcertd.errors import EximcertdError

if TYPE_CHECKING:
    from pathlib import Path

_LONGEST_PATH: Final = 107  # unix(7): 108 bytes, the last one NUL
_BACKLOG: Final = 128
_OPEN: Final = 0o666  # rights are decided by who connects, not by who may


class Listening:
    """A listening socket at ``path``, and the lock beside it that says whose it is.

    Raises EximcertdError if the place is taken by a running program or by something that is no socket,
    or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        if len(os.fsencode(path)) > _LONGEST_PATH:
            raise EximcertdError(
                f"{path}: too long for a socket's path, which has at most {_LONGEST_PATH} bytes",
                hint="set [control] socket to a shorter one",
            )
        try:
            self._lock = _locked(path.with_name(path.name + ".lock"), path)
            try:
                self.socket: Final = self._listen()
            except BaseException:
                os.close(self._lock)
                raise
        except OSError as error:
            raise EximcertdError(
                f"{path}: the control socket cannot be made: {error.strerror or error}",
                hint=f"eximcertd's user must be able to write in {path.parent}, which must be there; "
                "see [control] socket",
            ) from error

    def close(self) -> None:
        """Stop listening and remove the socket, if it is still ours."""
        self.socket.close()
        with suppress(OSError):
            there = self.path.lstat()
            if (there.st_dev, there.st_ino) == self._inode:
                self.path.unlink()
        os.close(self._lock)  # the lock's file stays: to remove it would let two daemons hold "the" lock

    def _listen(self) -> socket.socket:
        self._clear()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            listener.bind(str(self.path))
            self.path.chmod(_OPEN)
            there = self.path.lstat()
            self._inode = (there.st_dev, there.st_ino)
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
        return listener

    def _clear(self) -> None:
        """Remove what a dead daemon left."""
        try:
            mode = self.path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise EximcertdError(
                f"{self.path}: there is something that is no socket",
                hint="it is left alone: move it away, or set [control] socket to another path",
            )
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
            probe.settimeout(1)
            try:
                probe.connect(str(self.path))
            except ConnectionRefusedError:
                self.path.unlink()  # nobody listens
                return
            except OSError:
                pass  # whoever does not answer is there all the same
        raise _taken(self.path, "another program")


def _locked(lock: Path, path: Path) -> int:
    number = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(number, 32).decode("ascii", "replace").strip()
        os.close(number)
        raise _taken(path, f"a running eximcertd (process {pid or 'unknown'})") from None
    except BaseException:
        os.close(number)
        raise
    os.ftruncate(number, 0)
    os.pwrite(number, f"{os.getpid()}\n".encode(), 0)
    return number


def _taken(path: Path, by: str) -> EximcertdError:
    return EximcertdError(
        f"{path}: the control socket is taken by {by}",
        hint="stop it, or give this one a configuration with another [control] socket and [state] directory",
    )
