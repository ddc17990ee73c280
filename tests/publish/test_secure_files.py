"""The directory of the macro file: its lock, and the directories above it up to /."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from lab.checking import as_root

from eximcertd.publish.error import PublishError
from eximcertd.publish.secure_files import SecureDirectory

if TYPE_CHECKING:
    from pathlib import Path


def test_a_lock_that_another_request_holds_is_not_taken_until_it_is_free(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    directory = SecureDirectory(tmp_path)
    with directory.locked("lock", 0), pytest.raises(PublishError, match="another request has held"):
        directory.locked("lock", 0.1).__enter__()
    with directory.locked("lock", 0):
        pass


OPEN = """
import os, sys
from pathlib import Path
from eximcertd.publish.secure_files import open_directory
os.chroot(sys.argv[1])
open_directory(Path("/etc"))
"""


@as_root
@pytest.mark.parametrize(("mode", "fine"), [(0o755, True), (0o1777, True), (0o777, False)])
def test_the_root_directory_is_checked_as_all_below_it_are(mode: int, fine: bool, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir(0o755)
    tmp_path.chmod(mode)
    done = subprocess.run([sys.executable, "-c", OPEN, tmp_path], capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == fine, done.stderr
    assert ("/ can be written by others than root" in done.stderr) != fine
