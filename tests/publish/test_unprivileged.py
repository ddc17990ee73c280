"""Run with fewer powers: as Exim's own user, and as root without any capability, as the unit runs it."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

import pytest
from lab.exim import USER
from lab.publishing import Publisher
from lab.smtp import ask

if TYPE_CHECKING:
    from lab.certificates import Identity
    from lab.exim import EximServer

A = "AA" * 32
EXIM_USER = pwd.getpwnam(USER)

AS_USER = ("setpriv", f"--reuid={EXIM_USER.pw_uid}", f"--regid={EXIM_USER.pw_gid}", "--clear-groups")
NO_CAPABILITY = ("setpriv", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs")


@pytest.fixture(params=[AS_USER, NO_CAPABILITY], ids=["as Exim's user", "root without a capability"])
def publisher(exim: EximServer, request: pytest.FixtureRequest) -> Publisher:
    if request.param is AS_USER:
        for path in (exim.etc, exim.macro_file):
            os.chown(path, EXIM_USER.pw_uid, EXIM_USER.pw_gid)
    return Publisher(exim, wrapper=request.param, reload_wrapper=AS_USER)


def test_it_publishes_and_exim_loads_it(exim: EximServer, publisher: Publisher, alice: Identity) -> None:
    live = publisher.carry(alice.fingerprint)
    assert (live.outcome, [daemon.pid for daemon in live.daemons]) == ("live", [exim.pid]), live
    assert ask(exim.port, alice).accepted
    publisher.allow(alice.fingerprint)
    assert publisher.carry(form="directory").outcome == "live"
    assert ask(exim.port, alice).accepted


def test_a_file_of_another_user_is_refused_by_a_user_too(exim: EximServer) -> None:
    publisher = Publisher(exim, wrapper=AS_USER)
    os.chown(exim.macro_file, pwd.getpwnam("nobody").pw_uid, 0)
    refused = publisher.list(A)
    assert refused.outcome in {"refused", "failed"}
    os.chown(exim.etc, EXIM_USER.pw_uid, EXIM_USER.pw_gid)
    refused = publisher.list(A)
    assert (refused.outcome, refused.step) == ("refused", "read")
    assert f"others than root and the user {EXIM_USER.pw_uid}" in refused.message


def test_root_does_not_trust_what_that_user_could_write(exim: EximServer) -> None:
    os.chown(exim.etc, EXIM_USER.pw_uid, EXIM_USER.pw_gid)
    refused = Publisher(exim).list(A)
    assert (refused.outcome, refused.step) == ("refused", "lock")
