"""Binding the control socket: it never replaces the socket of a running daemon, or a file that is not a socket."""

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
_OPEN: Final = 0o666  # every user may connect; rights.py has the rights


class Listening:
    """A listening socket at ``path``, and the lock file beside it that keeps a second daemon out.

    Raises EximcertdError if a running program holds the path, something else lies there, or it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        if len(os.fsencode(path)) > _LONGEST_PATH:
            raise EximcertdError(
                f"{path}: too long: the path of a socket has at most {_LONGEST_PATH} bytes",
                hint="set [control] socket to a shorter path",
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
                f"{path}: the control socket cannot be created: {error.strerror or error}",
                hint=f"{path.parent} must exist and be writable for eximcertd's user; see [control] socket",
            ) from error

    def close(self) -> None:
        """Stop listening and remove the socket, if it is still ours."""
        self.socket.close()
        with suppress(OSError):
            there = self.path.lstat()
            if (there.st_dev, there.st_ino) == self._inode:
                self.path.unlink()
        os.close(self._lock)  # the lock file stays: if it were removed, two daemons could hold a lock

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
        """Remove the socket of a daemon that has ended."""
        try:
            mode = self.path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise EximcertdError(
                f"{self.path}: exists and is not a socket",
                hint="move it away, or set [control] socket to another path",
            )
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
            probe.settimeout(1)
            try:
                probe.connect(str(self.path))
            except ConnectionRefusedError:
                self.path.unlink()  # no process listens
                return
            except OSError:
                pass  # a process that does not answer still holds the socket
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
        f"{path}: the control socket is in use by {by}",
        hint="stop it, or set another [control] socket and [state] directory for this one",
    )
