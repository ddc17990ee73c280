"""How far one log file was read, and by what it is known again: what a position consists of."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final

from eximcertd.log.segment import HEAD_LENGTH, TAIL_LENGTH, Segment, digest

if TYPE_CHECKING:
    from datetime import datetime

    from eximcertd.log.search import Buffer
    from eximcertd.log.tally import Tally
    from eximcertd.log.unpack import Text

_STAMP = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_SURELY_DISTINCT: Final = 64 * 1024
_FIELDS: Final = {
    "dev": int, "ino": int, "mtime": int, "start": int, "end": int, "middle": bool, "first": str, "distinct": bool,
    "truncated": bool, "head_length": int, "head": str, "tail_length": int, "tail": str, "packed": list,
}  # fmt: skip


def stamp(text: bytes | bytearray) -> str:
    """Return the time stamp that a line begins with, or ""; as text they sort by time."""
    found = _STAMP.match(text)
    return found[0].decode() if found else ""


class Track:
    """One log file and how far it was read.

    fd: held open while it is read; -1 otherwise. dev, ino: true only while it is held open, else a hint.
    mtime: ns. start, end: the lines that begin in [start, end) were counted, offsets in uncompressed text.
    middle: end lies in the middle of an entry too long for the buffer. first: its first line's time stamp.
    distinct: its lines are not all of one second, so that its content alone tells it from another file.
    truncated: its inode holds something else by now; what is left of it lies in a copy.
    packed: (dev, ino, size, mtime) of packed copies in which there was nothing more. name: for people.
    """

    __slots__ = ("_tail", "dev", "distinct", "end", "fd", "first", "head", "head_length", "ino", "middle", "mtime",
                 "name", "packed", "start", "tail_length", "text_head", "text_tail", "truncated", "until")  # fmt: skip

    def __init__(self, name: str = "", *, fd: int = -1, status: os.stat_result | None = None) -> None:
        self.name = name
        self.fd = fd
        self._tail = ""
        self.dev, self.ino, self.mtime = (status.st_dev, status.st_ino, status.st_mtime_ns) if status else (0, 0, 0)
        self.until = 0.0
        self.reset()

    def reset(self) -> None:
        """Begin anew: the file's content is another."""
        self.start = self.end = self.head_length = self.tail_length = 0
        self.head = self.tail = digest(b"")
        self.text_head = self.text_tail = b""
        self.middle = self.distinct = self.truncated = False
        self.first = ""
        self.packed: list[list[int]] = []

    @property
    def tail(self) -> str:
        """The digest of the last ``tail_length`` bytes before ``end``."""
        if not self._tail:  # not made before it is asked for: most pieces of text hold nothing
            self._tail = digest(self.text_tail)
        return self._tail

    @tail.setter
    def tail(self, value: str) -> None:
        self._tail = value

    def __repr__(self) -> str:
        return f"<{self.name} fd={self.fd} ino={self.ino} [{self.start}, {self.end})>"

    def left(self) -> Track:
        """Return what was read of the file up to now, for its inode now holds something else."""
        old = from_json(self.to_json())
        old.name, old.truncated = self.name, True
        return old

    def close(self) -> None:
        """Let the descriptor go."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def take(self, buffer: Buffer, begin: int, have: int, tally: Tally, otherwise: datetime) -> int:
        """Count the whole lines in [begin, have) of the buffer; return how many bytes were consumed.

        What stands at ``begin`` is what follows ``end`` in the file. A part line is left for later; an entry
        longer than the buffer is passed over.
        """
        low = begin
        if self.middle:
            low = buffer.bytes.find(b"\n", begin, have) + 1
            if not low:
                return self._advance(buffer, begin, have)
            self.middle = False
        high = buffer.lines(low, have)
        if high > low:
            if not self.end:
                self.first = stamp(buffer.bytes[begin : begin + 19])
            if not self.distinct:
                last = buffer.bytes.rfind(b"\n", low, high - 1) + 1 or low
                self.distinct = stamp(buffer.bytes[last : last + 19]) != self.first or self.end > _SURELY_DISTINCT
            tally.read(buffer, low, high, otherwise)
        elif have == len(buffer) and low == begin:
            self.middle = True
            high = have
        return self._advance(buffer, begin, high)

    def read(self, buffer: Buffer, tally: Tally, otherwise: datetime) -> int | None:
        """Read on in the held plain file, at most a buffer's length; return how many bytes were consumed.

        None: what stands before ``end`` is not what was read: the file was truncated, perhaps filled again.
        Raises OSError.
        """
        before = self.text_tail
        have = os.preadv(self.fd, [buffer.view], self.end - len(before))
        if have < len(before) or not buffer.bytes.startswith(before):
            return None
        return self.take(buffer, len(before), have, tally, otherwise)

    def pass_over(self, length: int) -> None:
        """Take the held plain file's first ``length`` bytes, up to a line's end, as not ours to count. Raises OSError.

        An entry too long to find its end in is passed over when it is read.
        """
        text = os.pread(self.fd, HEAD_LENGTH, 0)
        tail = os.pread(self.fd, min(length, 64 * TAIL_LENGTH), max(0, length - 64 * TAIL_LENGTH))
        newline = tail.rfind(b"\n") + 1
        self.middle = length > 0 and not newline
        self.start = self.end = length - (len(tail) - newline if newline else 0)
        self.first = stamp(text)
        self._keep(text[: self.end], (tail[:newline] if newline else tail)[-TAIL_LENGTH:])
        self.distinct = True

    def is_in(self, text: bytes) -> bool:
        """Tell whether a file that begins with ``text`` (HEAD_LENGTH bytes, if it has so many) begins like this one."""
        return 0 < self.head_length <= len(text) and digest(text[: self.head_length]) == self.head

    def is_copy(self, fd: int, text: bytes, size: int) -> bool | None:
        """Tell whether what was read of this file stands in another plain one; None: as far as that one goes.

        text: its first HEAD_LENGTH bytes. size: in bytes. Raises OSError.
        """
        if len(text) < self.head_length:
            return None if text and self.text_head.startswith(text) else False
        if not self.is_in(text):
            return False
        if size < self.end:
            return None
        return digest(os.pread(fd, self.tail_length, self.end - self.tail_length)) == self.tail

    def hold(self, fd: int, status: os.stat_result, name: str) -> None:
        """Read on in this open plain file from now on. Raises OSError."""
        self.close()
        self.fd, self.name, self.truncated = fd, name, False
        self.dev, self.ino, self.mtime = status.st_dev, status.st_ino, status.st_mtime_ns
        tail = os.pread(fd, self.tail_length, self.end - self.tail_length)
        self._keep(os.pread(fd, min(self.end, HEAD_LENGTH), 0), tail)

    def skip(self, text: Text, buffer: Buffer) -> bool | None:
        """Read a packed copy up to ``end``; tell whether it is a copy of what was read, None: as far as it goes.

        Raises UnpackError, OSError.
        """
        at, head, tail = 0, b"", b""
        while at < self.end:
            have = text.readinto(buffer.view[: min(len(buffer), self.end - at)])
            if not have:
                return None
            if len(head) < HEAD_LENGTH:
                head = (head + buffer.bytes[: min(have, HEAD_LENGTH)])[:HEAD_LENGTH]
                if len(head) >= self.head_length and not self.is_in(head):
                    return False
            tail = (tail + buffer.bytes[max(0, have - TAIL_LENGTH) : have])[-TAIL_LENGTH:]
            at += have
        if digest(tail[-self.tail_length :]) != self.tail:
            return False
        self._keep(head[: self.end], tail)
        return True

    def segment(self, *, live: bool = False) -> Segment:
        """Return what was counted."""
        return Segment(self.head_length, self.head, self.start, self.end, self.tail_length, self.tail, live)

    def to_json(self) -> dict[str, Any]:
        """Return what a restart needs."""
        return {name: getattr(self, name) for name in _FIELDS}

    def _advance(self, buffer: Buffer, begin: int, high: int) -> int:
        if high == begin:
            return 0
        tail = self.text_tail + buffer.bytes[max(begin, high - TAIL_LENGTH) : high]
        head = self.text_head
        if len(head) < HEAD_LENGTH:
            head += buffer.bytes[begin : min(high, begin + HEAD_LENGTH - len(head))]
        self.end += high - begin
        self._keep(head, tail[-TAIL_LENGTH:])
        return high - begin

    def _keep(self, head: bytes, tail: bytes) -> None:
        if head != self.text_head:
            self.text_head, self.head_length, self.head = head, len(head), digest(head)
        self.text_tail, self.tail_length, self._tail = tail, len(tail), ""


def from_json(value: Any) -> Track:
    """Return what ``to_json`` told. Raises ValueError."""
    if not isinstance(value, dict) or not all(isinstance(value.get(name), kind) for name, kind in _FIELDS.items()):
        raise ValueError("a track is an object with " + ", ".join(_FIELDS))
    track = Track()
    for name in _FIELDS:
        setattr(track, name, value[name])
    return track
