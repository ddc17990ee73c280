"""Which unit root restarts for Exim: what Exim's user can choose is not believed."""

from __future__ import annotations

import pytest

from eximcertd.publish.unit import unit_of


@pytest.mark.parametrize(
    ("cgroup", "main", "unit"),
    [
        ("0::/system.slice/exim4.service", "7", "exim4.service"),
        ("0::/system.slice/mail.service", "7", "mail.service"),
        ("1:name=systemd:/x\n0::/system.slice/exim4.service\n", "7", "exim4.service"),
        ("0::/system.slice/exim4.service", "0", "exim4.service"),
        ("0::/system.slice/exim.service", "", "exim.service"),
        ("0::/system.slice/mail.service", "0", None),
        ("0::/system.slice/exim4.service", "8", None),
        ("0::/system.slice/ssh.service", "8", None),
        ("0::/system.slice/ssh.service/exim4.service", "7", None),
        ("0::/user.slice/user-102.slice/user@102.service/app.slice/exim4.service", "0", None),
        ("0::/system.slice/../x/exim4.service", "7", None),
        ("0::/", "7", None),
        ("", "7", None),
    ],
)
def test_only_a_service_of_the_systems_whose_main_process_it_may_be_is_its_unit(
    cgroup: str, main: str, unit: str | None
) -> None:
    assert unit_of(7, cgroup, ("/bin/sh", "-c", f"echo {main}")) == unit
