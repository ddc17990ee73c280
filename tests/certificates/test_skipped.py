"""What the index passes over in a directory, and the reasons that it gives."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lab.certificates import indexed
from lab.reads import bytes_read

from eximcertd.certificates.index import Index
from eximcertd.certificates.reading import LARGEST_FILE

if TYPE_CHECKING:
    from lab.certificates import Identity


def reason(index: Index, name: str) -> str:
    return dict(index.skipped())[name]


def test_links_to_nothing_and_in_circles_are_passed_over(certs: Path) -> None:
    (certs / "dangling.pem").symlink_to("/nowhere/at/all.pem")
    (certs / "loop.pem").symlink_to("loop2.pem")
    (certs / "loop2.pem").symlink_to("loop.pem")
    index = indexed(certs)
    assert reason(index, "dangling.pem") == "is a link to a file that does not exist"
    assert reason(index, "loop.pem") == "is a link to itself"
    assert index.counts().skipped == 3


def test_fifos_sockets_devices_and_directories_are_passed_over_and_never_opened(certs: Path) -> None:
    os.mkfifo(certs / "fifo.pem")
    (certs / "null").symlink_to("/dev/null")
    (certs / "directory.pem").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(certs / "socket.pem"))
        index = indexed(certs)
    assert reason(index, "fifo.pem") == "is a FIFO"
    assert reason(index, "null") == "is a device"
    assert reason(index, "directory.pem") == "is a directory"
    assert reason(index, "socket.pem") == "is a socket"


def test_garbage_keys_requests_and_empty_files_are_passed_over(certs: Path, alice: Identity, tmp_path: Path) -> None:
    (certs / "empty.pem").touch()
    (certs / "garbage.pem").write_bytes(os.urandom(5000))
    (certs / "truncated.pem").write_text(alice.pem[:400])
    (certs / "truncated.der").write_bytes(alice.der[:-20])
    (certs / "nothing.pem").write_text("-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n")
    (certs / "half.pem").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    (certs / "one-byte").write_bytes(b"0")
    (certs / "key.pem").write_bytes(alice.key.read_bytes())
    request = ["/usr/bin/openssl", "req", "-new", "-key", str(alice.key), "-subj", "/CN=x"]
    subprocess.run([*request, "-outform", "DER", "-out", str(certs / "request.der")], check=True, capture_output=True)
    index = indexed(certs)
    assert len(index) == 0
    assert index.counts().skipped == 9
    assert reason(index, "empty.pem") == "is empty"
    assert reason(index, "request.der") == "holds no certificate"


def test_a_huge_file_is_passed_over_unread(certs: Path) -> None:
    with (certs / "huge.pem").open("wb") as stream:
        stream.truncate(LARGEST_FILE + 1)
    index = Index(certs)
    assert bytes_read(index.refresh) < 10_000
    assert reason(index, "huge.pem") == "is too large to be a file of certificates"


def test_a_file_without_rights_is_passed_over(alice: Identity) -> None:
    script = (
        "import os, sys; from pathlib import Path; from eximcertd.certificates.index import Index\n"
        "index = Index(Path(sys.argv[1])); os.geteuid() or (os.setgroups([]), os.setgid(65534), os.setuid(65534))\n"
        "index.refresh(); print(index.skipped())"
    )
    with TemporaryDirectory() as name:
        certs = Path(name)
        certs.chmod(0o755)
        (certs / "alice.pem").write_text(alice.pem)
        (certs / "alice.pem").chmod(0)
        said = subprocess.run([sys.executable, "-c", script, name], capture_output=True, text=True, check=False)
    assert "[('alice.pem', \"cannot be read by eximcertd's user\")]" in said.stdout, said.stderr


def test_the_first_entries_of_a_long_list_of_what_was_passed_over_are_shown(certs: Path) -> None:
    for number in range(30):
        (certs / f"{number:02}").touch()
    assert [name for name, _ in indexed(certs).skipped(3)] == ["00", "01", "02"]
