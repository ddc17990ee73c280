"""A change of one file: read it, show the diff, write it atomically and synced."""

from __future__ import annotations

import difflib
import grp
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from eximcertd.errors import EximcertdError
from eximcertd.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

LARGEST_FILE: Final = 1 << 20
"""Bytes of a file that is changed."""


class ChangeError(EximcertdError):
    """A change cannot be made; no part of it was written."""


@dataclass(frozen=True, slots=True)
class Step:
    """The change of one file. before, after: its contents, None for no file."""

    path: Path
    before: str | None
    after: str | None
    mode: int
    group: str
    secret: bool


def difference(steps: Iterable[Step]) -> Iterator[str]:
    """Yield the lines that tell what is to be done: each file, and a unified diff; secrets and PEM are not shown."""
    shown_steps = []
    for step in steps:
        pem = (step.after or step.before or "").startswith("-----BEGIN ")
        hidden = " (a secret, not shown)" if step.secret else " (PEM, not shown)" if pem else ""
        yield f"{'remove' if step.after is None else 'make' if step.before is None else 'change'} {step.path}{hidden}"
        if not hidden:
            shown_steps.append(step)
    for step in shown_steps:
        name, none = str(step.path), "/dev/null"
        lines = difflib.unified_diff(
            (step.before or "").splitlines(),
            (step.after or "").splitlines(),
            none if step.before is None else name,
            none if step.after is None else name,
            n=2,
            lineterm="",
        )
        yield from map(shown, lines)


def read(path: Path) -> str | None:
    """Return a file's contents, None for no file; bytes that are no UTF-8 are kept as they are. Raises ChangeError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as stream:  # noqa: PTH123 - a descriptor
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ChangeError(f"{path} is not a regular file", hint="move it away, and run this again")
            raw = stream.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ChangeError(f"{path} cannot be read: {error.strerror}") from None
    if len(raw) > LARGEST_FILE:
        raise ChangeError(f"{path} is larger than {LARGEST_FILE >> 20} MiB")
    return raw.decode("utf-8", "surrogateescape")


def write(step: Step) -> None:
    """Write, replace or remove a file, atomically and synced. Raises ChangeError.

    A file that exists keeps its owner and mode; through a link, the file that it leads to is changed.
    """
    path = step.path.resolve() if step.path.is_symlink() else step.path
    if step.after is None and not path.exists():
        return
    new = beside(path)
    try:
        if step.after is None:
            path.unlink(missing_ok=True)
        else:
            try:
                there = path.stat()
                owner, group, mode = there.st_uid, there.st_gid, there.st_mode & 0o7777
            except FileNotFoundError:
                owner, group, mode = 0, grp.getgrnam(step.group).gr_gid, step.mode
            new.unlink(missing_ok=True)  # of a run that was killed
            try:
                descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                with open(descriptor, "wb") as stream:  # noqa: PTH123 - a descriptor
                    os.fchown(descriptor, owner, group)
                    os.fchmod(descriptor, mode)
                    stream.write(step.after.encode("utf-8", "surrogateescape"))
                    stream.flush()
                    os.fsync(descriptor)
                new.replace(path)
            finally:
                new.unlink(missing_ok=True)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise ChangeError(f"{path} cannot be written: {error.strerror}") from None


def beside(path: Path) -> Path:
    """Return where a file is written first: a name that run-parts(8) and Debian's Exim pass over."""
    return path.with_name(f".{path.name}.eximcertctl")
