"""Private keys that lie beside certificates."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

from lab.certificates import Identity, make

if TYPE_CHECKING:
    from pathlib import Path

_PROGRAM = """
import sys
from pathlib import Path
from eximcertd.certificates.index import Index
index = Index(Path(sys.argv[1]))
index.refresh()
details = index.details_of(list(index))
print(len(details), flush=True)
sys.stdin.readline()
"""


def memory(pid: int) -> bytes:
    """Return all that a process has in its writable memory."""
    found = bytearray()
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps, open(f"/proc/{pid}/mem", "rb") as mem:  # noqa: PTH123 - no files of ours
        for line in maps:
            place = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if place is None or "[v" in line:
                continue
            start, end = int(place[1], 16), int(place[2], 16)
            mem.seek(start)
            found += mem.read(end - start)
    return bytes(found)


def test_no_key_is_left_in_memory_after_a_look_and_after_showing(tmp_path: Path, alice: Identity) -> None:
    certs = tmp_path / "certs"
    certs.mkdir()
    keys = []
    for number, beside in enumerate((b"", b"#" * 200_000 + b"\n", b"#" * 600_000 + b"\n")):
        one = make(tmp_path / "identities", f"client{number}.example", key="rsa")
        key = one.key.read_bytes()
        keys.append(key)
        (certs / f"before{number}.pem").write_bytes(beside + key + one.pem.encode())
        (certs / f"behind{number}.pem").write_bytes(beside + one.pem.encode() + key)
        (certs / f"alone{number}.key").write_bytes(beside + key)
    program = [sys.executable, "-c", _PROGRAM, str(certs)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"3\n"
        held = memory(process.pid)
        process.communicate(b"\n")
    assert b"client0.example" in held, "the search sees what the process holds"
    for key in keys:
        for line in key.splitlines()[2:-2]:
            assert line not in held
