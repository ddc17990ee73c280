"""One log file over its whole life, known again by what is in it: live, rotated, copied or compressed.

A name changes at every rotation, and ext4 hands out the inode number of a deleted file at once again. So
a segment is known by a digest of its first bytes (up to HEAD_LENGTH) together with a digest of the bytes
just before the offset up to which it was counted. All offsets are in bytes of the uncompressed text.

Pure: no I/O, no clock. Standard library only: ``eximcertctl scan`` imports this.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Final

HEAD_LENGTH: Final = 1024
TAIL_LENGTH: Final = 256


def digest(text: bytes) -> str:
    """Return the digest that segments are compared by: 32 hex digits."""
    return sha256(text).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Segment:
    """What was counted of one log file: every line that begins in [start, end).

    head_length, head: length and digest of the file's first bytes, at most HEAD_LENGTH and not beyond end.
    tail_length, tail: length and digest of the bytes just before end.
    live: it is still being followed: lines behind end will be counted too.
    scanned: counted by a scan, not by following; the two are kept beside each other.
    """

    head_length: int
    head: str
    start: int
    end: int
    tail_length: int
    tail: str
    live: bool = False
    scanned: bool = False

    @property
    def key(self) -> str:
        """What the ledger keeps a segment under."""
        return f"{'scanned' if self.scanned else 'followed'}:{self.head_length}:{self.head}"

    def to_json(self) -> dict[str, Any]:
        """Return the segment as a JSON object."""
        return asdict(self)


def from_json(value: Any) -> Segment:
    """Return the segment that a JSON object tells. Raises ValueError if it tells none."""
    numbers = ("head_length", "start", "end", "tail_length")
    if not isinstance(value, dict) or set(value) - {"live", "scanned"} != {*numbers, "head", "tail"}:
        raise ValueError("a segment has head_length, head, start, end, tail_length and tail")
    if not all(isinstance(value[name], int) and 0 <= value[name] < 1 << 62 for name in numbers):
        raise ValueError("a segment's lengths and offsets are whole numbers from 0 on")
    if not all(isinstance(value[name], str) and len(value[name]) == 32 for name in ("head", "tail")):  # noqa: PLR2004 - see digest
        raise ValueError("a segment's digests have 32 hex digits")
    return Segment(**{**value, "live": value.get("live") is True, "scanned": value.get("scanned") is True})
