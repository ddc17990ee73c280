"""People with SSH keys, and the acts that they decide."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from lab.acts import FIRST

from eximcertd.acts.signature import sign

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from eximcertd.acts.act import Act


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make the SSH key of a person, at the first call with a name."""
    directory = tmp_path_factory.mktemp("keys")

    def of(name: str) -> Path:
        path = directory / name
        if not path.exists():
            subprocess.run(["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
        return path

    return of


@pytest.fixture
def signers(tmp_path: Path, key: Callable[[str], Path]) -> Path:
    """Write a file of signers that names alice and bob."""
    path = tmp_path / "signers"
    path.write_text("".join(f"{name} {key(name).with_suffix('.pub').read_text()}" for name in ("alice", "bob")))
    return path


@pytest.fixture
def signed(key: Callable[[str], Path]) -> Act:
    """Return an act of alice with her signature."""
    return replace(FIRST, signature=sign(FIRST.text(), key("alice")))
