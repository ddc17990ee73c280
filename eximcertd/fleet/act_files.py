"""A chain of acts as files: 00000001.act has the canonical text, 00000001.act.sig the signature by ssh-keygen(1).

An act is there if both files are: the signature is written first. A file with any other name is ignored. All that is
read here may be from a stranger; who takes an act verifies chain and signature.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from eximcertd.acts.act import LONGEST_SIGNATURE, Act, ActError, Head, parse
from eximcertd.acts.signature import armored, of_armor
from eximcertd.fleet import files
from eximcertd.fleet.remote import ActRefusedError, MovedError, RemoteError

if TYPE_CHECKING:
    from pathlib import Path

LARGEST_ACT: Final = 1 << 20
"""Bytes of an act's text, at most: 10,000 fingerprints and 5,000 settled decisions fit."""

_NAME: Final = re.compile(r"([0-9]{8})\.act")
_MOST: Final = 99_999_999
_PATIENCE: Final = 10.0
"""Seconds that a desk has between the signature and the text of an act."""


class ActFiles:
    """The acts in ``path``. What cannot be read or written raises RemoteError with the file's path."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path

    def last(self) -> int:
        """Return the number of the newest act, 0 without one."""
        if not self.path.exists() and self.path.parent.is_dir():
            return 0  # no act was made yet
        with files.opened(self.path) as directory:
            names = files.names(directory)
        numbers = (int(found[1]) for name in names if (found := _NAME.fullmatch(name)) and f"{name}.sig" in names)
        return max(numbers, default=0)

    def changed(self) -> int:
        """Return when a file was last made or removed, in nanoseconds; 0 if the directory is not there."""
        try:
            return self.path.stat().st_mtime_ns
        except OSError:
            return 0

    def head(self) -> Head:
        """Return where the chain ends."""
        last = self.last()
        return Head(last, self.read(last - 1, 1)[0].hash()) if last else Head()

    def read(self, after: int, most: int) -> list[Act]:
        """Return at most ``most`` acts after a generation, in order. A missing one before others raises RemoteError."""
        last = self.last()
        if last <= after:
            return []
        with files.opened(self.path) as directory:
            return [self._act(directory, number, last) for number in range(after + 1, min(last, after + most) + 1)]

    def append(self, act: Act) -> None:
        """Write an act that follows the last one. Raises MovedError if another desk was quicker, ActRefusedError."""
        name = f"{act.generation:08d}.act"
        if act.generation > _MOST or len(act.text()) > LARGEST_ACT:
            raise RemoteError(f"{self.path}: act {act.generation} is too large for a file")
        if not self.path.exists():
            with files.opened(self.path.parent) as parent:
                os.mkdir(self.path.name, 0o755, dir_fd=parent)
        with files.opened(self.path) as directory:
            while name not in files.names(directory):
                try:
                    files.write(directory, f"{name}.sig", armored(act.signature), new=True)
                    files.write(directory, name, act.text(), new=True)
                except FileExistsError:
                    _await(directory, f"{name}.sig")
                else:  # who has written the act has its signature written: another desk may have replaced it
                    files.write(directory, f"{name}.sig", armored(act.signature))
                    return
            if f"{name}.sig" not in files.names(directory):
                raise ActRefusedError(
                    f"{self.path / name} has no signature: nothing can be decided after it",
                    hint=f"remove it, or copy {name}.sig from a relay that has it",
                )
        raise MovedError(f"{self.path} has an act {act.generation} already")

    def _act(self, directory: int, number: int, last: int) -> Act:
        name = f"{number:08d}.act"
        try:
            text = files.read(directory, name, LARGEST_ACT)
            armor = files.read(directory, f"{name}.sig", 2 * LONGEST_SIGNATURE)
            act = parse(text[0], of_armor(armor[0])) if text and armor else None
        except (ActError, RemoteError) as error:
            raise RemoteError(f"{self.path / name}: {error.message}", hint=error.hint) from None
        if act is None or act.generation != number:
            what = f"it is act {act.generation}" if act else f"it is missing, though there is an act {last}"
            raise RemoteError(f"{self.path / name}: {what}: fetch the directory again")
        return act


def _await(directory: int, signature: str) -> None:
    """Wait a moment for the act of a signature that another desk has written; remove it if that desk has died.

    No lock: any user who can read a directory can hold one.
    """
    with suppress(FileNotFoundError):
        age = time.time() - os.stat(signature, dir_fd=directory, follow_symlinks=False).st_mtime
        if 0 <= age < _PATIENCE:
            time.sleep(0.02)
        else:
            os.unlink(signature, dir_fd=directory)
