"""What lies in directories of a machine, to be compared with what lies there later.

    before = tree(Path(f"/proc/{pid}/root"), "/etc")

It is read from outside, by this process: a checksum program for each file took most of the tests' time.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def tree(root: Path, *tops: str) -> dict[str, str]:
    """Return what lies at and below absolute paths: path -> type and mode, owner, group and content.

    root: the machine's root directory, as this process sees it.
    """
    found = {}
    for top in tops:
        for path in _walk(root / top.lstrip("/")):
            with suppress(FileNotFoundError):  # it was there for a moment
                found[f"/{path.relative_to(root)}"] = _described(path)
    return found


def _walk(top: Path) -> Iterator[Path]:
    yield top
    for directory, names, files in os.walk(top):
        for name in (*names, *files):
            yield top / directory / name


def _described(path: Path) -> str:
    status = path.lstat()
    content = ""
    if stat.S_ISREG(status.st_mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    elif stat.S_ISLNK(status.st_mode):
        content = str(path.readlink())
    return f"{status.st_mode:o} {status.st_uid} {status.st_gid} {content}"
