"""Run with fewer powers: as Exim's own user, as root with two capabilities and no namespace, or in a chroot.

Without a mount namespace the candidate is renamed, judged, and put back if it fails.
"""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

import pytest
from lab.exim import USER, EximServer
from lab.publishing import Publisher
from lab.smtp import ask

if TYPE_CHECKING:
    from lab.certificates import Identity

A = "AA" * 32
EXIM_USER = pwd.getpwnam(USER)

AS_USER = ("setpriv", f"--reuid={EXIM_USER.pw_uid}", f"--regid={EXIM_USER.pw_gid}", "--clear-groups")
TWO_CAPABILITIES = ("setpriv", "--inh-caps=-all", "--bounding-set=-all,+setuid,+setgid")
# A chroot's / is no mount, so no namespace can be made private there.
CHROOT = """
mount -t tmpfs tmpfs /mnt
mkdir /mnt/root
for path in /*; do
  if [ -L "$path" ]; then cp -P "$path" /mnt/root/
  elif [ -d "$path" ] && [ "$path" != /mnt ]; then mkdir "/mnt/root$path"; mount --rbind "$path" "/mnt/root$path"
  fi
done
exec chroot /mnt/root "$@"
"""
IN_A_CHROOT = ("unshare", "--mount", "sh", "-ec", CHROOT, "chroot")


@pytest.fixture(
    params=[AS_USER, TWO_CAPABILITIES, IN_A_CHROOT],
    ids=["as Exim's user", "root with two capabilities", "root in a chroot"],
)
def publisher(exim: EximServer, request: pytest.FixtureRequest) -> Publisher:
    if request.param is AS_USER:
        for path in (exim.etc, exim.macro_file):
            os.chown(path, EXIM_USER.pw_uid, EXIM_USER.pw_gid)
    return Publisher(exim, wrapper=request.param)


def test_it_publishes_and_reloads(exim: EximServer, publisher: Publisher, alice: Identity) -> None:
    live = publisher.list(alice.fingerprint)
    assert (live.outcome, live.exim_pid) == ("live", exim.pid), live
    assert ask(exim.port, alice).accepted
    assert publisher.verify().outcome == "verified"
    publisher.allow(alice.fingerprint)
    assert publisher.switch_to_directory().outcome == "live"
    assert ask(exim.port, alice).accepted


def test_what_fails_after_the_rename_is_put_back_and_gets_no_hup(
    exim: EximServer, publisher: Publisher, alice: Identity
) -> None:
    publisher.list(A)
    before = exim.macro_file.read_bytes()
    exim.break_configuration()
    failed = publisher.list(A, alice.fingerprint)
    assert (failed.outcome, failed.step) == ("failed", "check")
    assert "no_such_option" in failed.exim
    assert exim.macro_file.read_bytes() == before
    assert (exim.alive(), exim.reloads()) == (True, 1)
    exim.configure()
    assert publisher.list(A, alice.fingerprint).outcome == "live"


def test_a_pid_file_that_lies_keeps_no_list_from_the_file(exim: EximServer, publisher: Publisher) -> None:
    exim.pid_file.unlink()
    exim.pid_file.write_text("1")
    failed = publisher.list(A)
    assert (failed.outcome, failed.step) == ("failed", "daemon")
    assert failed.found is not None
    assert (failed.found.fingerprints, failed.found.due) == ((A,), True)


def test_a_file_of_another_user_is_refused_by_a_user_too(exim: EximServer) -> None:
    publisher = Publisher(exim, wrapper=AS_USER)
    os.chown(exim.macro_file, pwd.getpwnam("nobody").pw_uid, 0)
    refused = publisher.list(A)
    assert refused.outcome in {"refused", "failed"}
    os.chown(exim.etc, EXIM_USER.pw_uid, EXIM_USER.pw_gid)
    refused = publisher.list(A)
    assert (refused.outcome, refused.step) == ("refused", "standing")
    assert f"others than root and the user {EXIM_USER.pw_uid}" in refused.message


def test_root_does_not_trust_what_that_user_could_write(exim: EximServer) -> None:
    os.chown(exim.etc, EXIM_USER.pw_uid, EXIM_USER.pw_gid)
    refused = Publisher(exim).list(A)
    assert (refused.outcome, refused.step) == ("refused", "lock")
