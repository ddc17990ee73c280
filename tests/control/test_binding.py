"""Binding the control socket: one that is in use is never taken, and what is no socket is left alone."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
from lab.twins import Twin

from eximcertd.errors import (
    EximcertdError,
)

if TYPE_CHECKING:
    from pathlib import Path
from lab.callers import once


def test_a_socket_that_a_running_eximcertd_holds_is_not_taken_from_it(twin: Twin) -> None:
    with pytest.raises(EximcertdError, match=rf"in use by a running eximcertd \(process {os.getpid()}\)"):
        Twin(twin.path).__enter__()
    once(twin.path, "Status")


def test_a_socket_that_another_program_holds_is_not_taken_from_it(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(EximcertdError, match="in use by another program"):
            Twin(path).__enter__()
        assert path.exists()


def test_a_socket_that_a_dead_daemon_left_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    with Twin(path):
        once(path, "Status")
    assert not path.exists()


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_what_is_no_socket_is_left_alone(path: Path, kind: str) -> None:
    if kind == "link":
        path.symlink_to("/etc/passwd")
    else:
        (path.touch if kind == "file" else path.mkdir)()
    with pytest.raises(EximcertdError, match="is not a socket"):
        Twin(path).__enter__()
    assert path.exists()


@pytest.mark.parametrize("where", ["missing/control", "x" * 120])
def test_a_place_that_cannot_be_had_is_told(tmp_path: Path, where: str) -> None:
    with pytest.raises(EximcertdError, match=r"cannot be created|too long") as caught:
        Twin(tmp_path / where).__enter__()
    assert "[control] socket" in str(caught.value)
