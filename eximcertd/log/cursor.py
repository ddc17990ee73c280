"""How far one log file was read, and by what it is recognized: live, rotated, copied or packed.

A name changes at every rotation, and ext4 hands out the inode number of a deleted file at once again. So a file
is known by a digest of its first bytes (up to HEAD_LENGTH) together with a digest of the bytes just before the
offset up to which it was counted. All offsets are in bytes of the uncompressed text.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from eximcertd.log.aggregator import CERTIFICATE_WITHIN, Waiting

if TYPE_CHECKING:
    from eximcertd.log.buffer import Buffer

HEAD_LENGTH: Final = 1024
TAIL_LENGTH: Final = 256
_MOST_PACKED: Final = 3
_STAMP = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_SURELY_DISTINCT: Final = 64 * 1024
_REQUIRED: Final = {"head_length": int, "head": str, "start": int, "end": int, "tail_length": int, "tail": str}
_OPTIONAL: Final = {
    "live": bool, "scanned": bool, "dev": int, "ino": int, "mtime": int, "middle": bool, "first": str,
    "distinct": bool, "truncated": bool, "ahead": list, "packed": list, "id": str,
}  # fmt: skip


def digest(text: bytes) -> str:
    """Return the digest that files are compared by: 32 hex digits."""
    return sha256(text).hexdigest()[:32]


def stamp(text: bytes | bytearray) -> str:
    """Return the time stamp that a line begins with, or ""; as text they sort by time."""
    found = _STAMP.match(text)
    return found[0].decode() if found else ""


@dataclass(slots=True, eq=False)
class FileCursor:
    """One log file and how far it was read.

    head_length, head: length and digest of the file's first bytes, not beyond ``end``. tail_length, tail: the
    same of the bytes just before ``end``. start, end: the lines that begin in [start, end) were counted.
    live: it is still read: lines after ``end`` will be counted too. scanned: counted by ``eximcertctl scan``.
    dev, ino: true only while the file is held open, else a hint. mtime: ns. middle: ``end`` lies in the middle
    of an entry too long for the buffer. first: its first line's time stamp. distinct: its lines are not all of
    one second, so that its content alone tells it from another file. truncated: its inode holds something else
    by now; the rest of it lies in a copy. ahead: regions after ``end``, each up to an offset, and the fingerprints
    whose attempts in it were counted already. packed: (dev, ino, size, mtime) of packed copies that hold nothing more.
    id: what the ledger keeps it under.

    While it is open: fd (else -1), name (for people), until (monotonic time up to which it is held), and the
    bytes that head and tail are digests of. found: it, or a copy of it, was seen since the start. at_end: nothing
    was left when it was read last. dirty: it has changed since it was stored.
    """

    head_length: int = 0
    head: str = digest(b"")
    start: int = 0
    end: int = 0
    tail_length: int = 0
    tail: str = digest(b"")
    live: bool = False
    scanned: bool = False
    dev: int = 0
    ino: int = 0
    mtime: int = 0
    middle: bool = False
    first: str = ""
    distinct: bool = False
    truncated: bool = False
    ahead: list[tuple[int, list[str]]] = field(default_factory=list)
    packed: list[list[int]] = field(default_factory=list)
    id: str = field(default_factory=lambda: os.urandom(8).hex())
    name: str = ""
    fd: int = -1
    until: float = 0.0
    found: bool = False
    at_end: bool = False
    dirty: bool = False
    text_head: bytes = b""
    text_tail: bytes = b""
    waiting: Waiting = field(default_factory=Waiting)

    @property
    def key(self) -> str:
        """What the ledger keeps it under."""
        return f"scanned:{self.head_length}:{self.head}" if self.scanned else f"followed:{self.id}"

    def to_json(self) -> str:
        """Return what a restart needs, as JSON text."""
        self.tail = self._tail()
        return json.dumps({name: getattr(self, name) for name in (*_REQUIRED, *_OPTIONAL)}, separators=(",", ":"))

    def continued(self) -> FileCursor:
        """Return what was read of it up to now, for another file that holds the same, under an id of its own."""
        copy = from_json(self.to_json())
        copy.id, copy.name, copy.dirty = FileCursor().id, self.name, True
        return copy

    def replaced(self) -> FileCursor:
        """Begin anew, since the held file's content is another; return the cursor of what it held before."""
        old, fresh = self.continued(), FileCursor()
        old.id, old.live, old.truncated = self.id, False, True
        for name in (
            *_REQUIRED,
            "middle",
            "first",
            "distinct",
            "ahead",
            "packed",
            "id",
            "text_head",
            "text_tail",
            "waiting",
        ):
            setattr(self, name, getattr(fresh, name))
        return old

    def hold(self, fd: int, status: os.stat_result, name: str) -> None:
        """Read on in this open plain file from now on. Raises OSError."""
        self.close()
        self.fd, self.name, self.live, self.found, self.dirty, self.truncated = fd, name, True, True, True, False
        self.dev, self.ino, self.mtime = status.st_dev, status.st_ino, status.st_mtime_ns
        if self.end:
            tail = os.pread(fd, self.tail_length, self.end - self.tail_length)
            self._keep(os.pread(fd, min(self.end, HEAD_LENGTH), 0), tail)

    def begin_packed(self) -> None:
        """Mark it as live, so that a scan leaves it out, though no plain file is held."""
        self.live = self.dirty = True

    def note_found(self, *, found: bool = True) -> None:
        """Note that the file, or a copy of it, was seen; or that it has no name any more, and none was yet."""
        self.found = found

    def close(self) -> None:
        """Close its file: no more is read of it."""
        self.dirty, self.live = self.dirty or self.live, False
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def unread(self) -> int:
        """Return how many bytes of the held file were not read yet."""
        try:
            return max(0, os.fstat(self.fd).st_size - self.end) if self.fd >= 0 else 0
        except OSError:
            return 0

    def note_packed(self, version: tuple[int, ...]) -> None:
        """Note that this version of a packed copy holds nothing more."""
        self.packed, self.truncated = [*self.packed[1 - _MOST_PACKED :], list(version)], False
        self.found = self.dirty = True

    def read(self, buffer: Buffer) -> tuple[int, int] | None:
        """Read a piece of the held plain file into the buffer; return where what follows ``end`` begins and ends there.

        None: the bytes before ``end`` are not those that were read: the file was truncated, perhaps filled again.
        Raises OSError.
        """
        begin = min(self.end, CERTIFICATE_WITHIN)
        have = os.preadv(self.fd, [buffer.view], self.end - begin)
        if have < begin or not buffer.bytes.endswith(self.text_tail, 0, begin):
            return None
        return begin, have

    def whole_lines(self, buffer: Buffer, begin: int, have: int) -> tuple[int, int]:
        """Return which part of [begin, have) of the buffer is whole lines that follow ``end``.

        An incomplete line is left for the next piece. An entry longer than the buffer is skipped, up to its end.
        """
        low = begin
        if self.middle:
            low = buffer.bytes.find(b"\n", begin, have) + 1
            if not low:
                return have, have
            self.middle = False
        high = buffer.lines(low, have)
        if high == low == begin and have == len(buffer):
            self.middle = True
            return have, have
        if high > low:
            if not self.end:
                self.first = stamp(buffer.bytes[begin : begin + 19])
            if not self.distinct:
                last = buffer.bytes.rfind(b"\n", low, high - 1) + 1 or low
                self.distinct = stamp(buffer.bytes[last : last + 19]) != self.first or self.end > _SURELY_DISTINCT
        return low, high

    def advance(self, buffer: Buffer, begin: int, high: int) -> None:
        """Take [begin, high) of the buffer, which follows ``end``, as read."""
        tail = self.text_tail + buffer.bytes[max(begin, high - TAIL_LENGTH) : high]
        head = self.text_head
        if len(head) < HEAD_LENGTH and len(head) == self.end:
            head += buffer.bytes[begin : min(high, begin + HEAD_LENGTH - len(head))]
        self.end += high - begin
        self.at_end = high == begin
        self.dirty = self.dirty or high > begin
        while self.ahead and self.ahead[0][0] <= self.end:
            del self.ahead[0]
        self._keep(head, tail[-TAIL_LENGTH:])

    def look_ahead(self, end: int, fingerprints: list[str]) -> None:
        """Note that the attempts of these were counted between the last such region, or ``end``, and an offset."""
        same = bool(self.ahead) and self.ahead[-1][1] == fingerprints
        self.ahead = [*(self.ahead[:-1] if same else self.ahead), (end, fingerprints)]
        self.dirty = True

    def skip_to(self, offset: int, head: bytes, tail: bytes) -> None:
        """Go on at an offset of a file that begins with ``head``; tail: the bytes before the offset."""
        self.end = offset
        self._keep(head[:offset], tail)

    def skip_all(self, length: int) -> None:
        """Take the held plain file's first ``length`` bytes, up to a line's end, as not to be counted. Raises OSError.

        An entry too long to find its end in is passed over when it is read.
        """
        text = os.pread(self.fd, HEAD_LENGTH, 0)
        tail = os.pread(self.fd, min(length, 64 * TAIL_LENGTH), max(0, length - 64 * TAIL_LENGTH))
        newline = tail.rfind(b"\n") + 1
        self.middle = length > 0 and not newline
        self.start = self.end = length - (len(tail) - newline if newline else 0)
        self.first = stamp(text)
        self._keep(text[: self.end], (tail[:newline] if newline else tail)[-TAIL_LENGTH:])
        self.distinct = self.dirty = True

    def begins(self, text: bytes) -> bool:
        """Tell whether a file that begins with ``text`` (HEAD_LENGTH bytes, if it has so many) begins like this one."""
        return 0 < self.head_length <= len(text) and digest(text[: self.head_length]) == self.head

    def ends(self, tail: bytes) -> bool:
        """Tell whether a text whose bytes before ``end`` are ``tail``, or end in it, is this one's."""
        return digest(tail[-self.tail_length :] if self.tail_length else b"") == self._tail()

    def _tail(self) -> str:
        """Return the digest of the bytes before ``end``; it is computed only when needed, for few pieces."""
        return digest(self.text_tail) if self.text_tail else self.tail

    def is_copy(self, fd: int, text: bytes, size: int) -> bool | None:
        """Tell whether another plain file holds what was read of this one; None: it is shorter, and holds a part.

        text: its first HEAD_LENGTH bytes. size: in bytes. Raises OSError.
        """
        if len(text) < self.head_length:
            return None if text and self.text_head.startswith(text) else False
        if not self.begins(text):
            return False
        if size < self.end:
            return None
        return self.ends(os.pread(fd, self.tail_length, self.end - self.tail_length))

    def _keep(self, head: bytes, tail: bytes) -> None:
        if head != self.text_head:
            self.text_head, self.head_length, self.head = head, len(head), digest(head)
        self.text_tail, self.tail_length = tail, len(tail)


def from_json(text: str | dict[str, Any]) -> FileCursor:
    """Return what ``to_json`` told, also as an earlier version of it. Raises ValueError."""
    value = json.loads(text) if isinstance(text, str) else text
    if not isinstance(value, dict) or not all(_is(value.get(name), kind) for name, kind in _REQUIRED.items()):
        raise ValueError("a log file has " + ", ".join(_REQUIRED))
    cursor = FileCursor()
    for name, kind in (_REQUIRED | _OPTIONAL).items():
        if name in value:
            if not _is(value[name], kind):
                raise ValueError(f"a log file's {name} is no {kind.__name__}, or out of range")
            setattr(cursor, name, value[name])
    return cursor


def _is(value: object, kind: type) -> bool:
    if kind is str:
        return isinstance(value, str) and len(value) <= 32  # noqa: PLR2004 - see digest
    return isinstance(value, kind) and (kind is not int or 0 <= int(str(value)) < 1 << 63)
