"""``client setup`` on Debian's own configuration, split and unsplit, with a real server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab.laptop import ADDRESS, SERVER, TRIXIES_EXIM, Laptop, unpacked
from lab.wait import until

if TYPE_CHECKING:
    import subprocess

    from lab.exim import EximServer

EVERYTHING = ("/etc", "/var/lib/exim4")
CLIENT = "/etc/eximcertd/client"


def set_up(laptop: Laptop, server: EximServer, host: str = SERVER) -> subprocess.CompletedProcess[str]:
    told = server.identity.fingerprint
    return laptop.ctl(
        "client", "setup", f"{host}:{server.port}", "--yes", "--server-fingerprint", told, good=False
    )  # fmt: skip


def assert_refused(laptop: Laptop, server: EximServer, reason: str, host: str = SERVER) -> None:
    """Assert that setup fails for this reason and leaves every file as it was."""
    before = laptop.files(*EVERYTHING)
    done = set_up(laptop, server, host)
    assert done.returncode == 1
    assert reason in done.stderr
    assert laptop.files(*EVERYTHING) == before


def own_fingerprint(laptop: Laptop) -> str:
    printed = laptop.sh(f"openssl x509 -in {CLIENT}/certificate.pem -noout -fingerprint -sha256")
    return printed.strip().partition("=")[2].replace(":", "")


@pytest.mark.parametrize("split", [True, False], ids=["split", "unsplit"])
@pytest.mark.parametrize("type_", ["local", "internet", "smarthost", "local of Debian 13"])
def test_a_laptop_is_refused_then_relays_once_it_is_approved_and_gives_an_impostor_nothing(
    server: EximServer, impostor: EximServer, split: bool, type_: str
) -> None:
    programs = unpacked("trixie", *TRIXIES_EXIM) if "13" in type_ else None
    with Laptop(split=split, type_=type_.split(maxsplit=1)[0], programs=programs) as laptop:
        before = laptop.files(*EVERYTHING)
        assert set_up(laptop, server).returncode == 0
        fingerprint = own_fingerprint(laptop)

        laptop.send()
        assert server.delivered() == ""
        assert any(fingerprint in line for line in server.lines()), server.lines()

        server.allow([fingerprint])
        server.reload()
        laptop.send()
        until(lambda: "From: alice@laptop.lab.example" in server.delivered(), "the message is relayed")
        assert "CV=yes" in laptop.log()

        server.stop()
        impostor.start()
        queued = laptop.queued()
        laptop.send()
        assert laptop.queued() == queued + 1
        assert impostor.delivered() == ""
        assert "certificate verification failed" in laptop.log()

        laptop.ctl("client", "setup", "--undo", "--yes")
        assert laptop.files(*EVERYTHING) == before


def test_the_certificate_is_a_clients_and_the_key_is_readable_by_exims_group_alone(
    server: EximServer, laptop: Laptop
) -> None:
    said = set_up(laptop, server).stdout
    text = laptop.sh(f"openssl x509 -in {CLIENT}/certificate.pem -noout -text")
    assert "CA:FALSE" in text
    assert "TLS Web Client Authentication" in text
    assert "prime256v1" in text
    assert f"CN = {laptop.sh('hostname').strip()}" in text
    assert laptop.sh(f"stat -c '%a %U %G' {CLIENT}/key.pem") == "640 root Debian-exim\n"
    fingerprint = own_fingerprint(laptop)
    assert " ".join(fingerprint[i : i + 8] for i in range(0, 64, 8)) in said
    assert f"\n  {fingerprint[:8]} {fingerprint[8:16]}\n" in said


def test_what_everybody_can_read_holds_no_secret(server: EximServer, laptop: Laptop) -> None:
    set_up(laptop, server)
    key = laptop.sh(f"sed -n 2p {CLIENT}/key.pem").strip()
    found = laptop.sh(f"grep -rls {key} /etc /var/lib/exim4 | xargs -r stat -c '%n %a'", good=False)
    assert found == f"{CLIENT}/key.pem 640\n"
    readable = laptop.sh(f"runuser -u nobody -- sh -c 'cat {CLIENT}/*' 2>/dev/null", good=False)
    assert "CERTIFICATE" in readable
    assert "PRIVATE" not in readable


@pytest.mark.parametrize("split", [True, False], ids=["split", "unsplit"])
def test_a_second_run_finds_nothing_to_do(server: EximServer, split: bool) -> None:
    with Laptop(split=split) as laptop:
        set_up(laptop, server)
        before = laptop.files(*EVERYTHING)
        again = laptop.ctl("client", "setup", f"{SERVER}:{server.port}", "--yes")
        assert "Nothing to do" in again.stdout
        assert laptop.files(*EVERYTHING) == before


def test_a_key_and_a_certificate_that_are_there_are_used_and_stay(server: EximServer, laptop: Laptop) -> None:
    laptop.sh(f"""
        mkdir -p {CLIENT}
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=mine -days 99 \\
            -keyout {CLIENT}/key.pem -out {CLIENT}/certificate.pem 2>/dev/null
        chgrp Debian-exim {CLIENT}/key.pem; chmod 640 {CLIENT}/key.pem
    """)
    before = laptop.files(*EVERYTHING)
    assert set_up(laptop, server).returncode == 0
    assert before.items() <= {**before, **laptop.files(f"{CLIENT}/key.pem", f"{CLIENT}/certificate.pem")}.items()
    laptop.ctl("client", "setup", "--undo", "--yes")
    assert laptop.files(*EVERYTHING) == before


def test_a_key_that_exims_user_cannot_read_is_told_and_nothing_stays(server: EximServer, laptop: Laptop) -> None:
    laptop.sh(f"""
        mkdir -p {CLIENT}
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=mine -days 99 \\
            -keyout {CLIENT}/key.pem -out {CLIENT}/certificate.pem 2>/dev/null
    """)
    assert_refused(laptop, server, "chgrp Debian-exim")


def test_without_the_servers_fingerprint_yes_is_refused(server: EximServer, laptop: Laptop) -> None:
    before = laptop.files(*EVERYTHING)
    done = laptop.ctl("client", "setup", f"{SERVER}:{server.port}", "--yes", good=False)
    assert done.returncode == 2
    assert "--server-fingerprint" in done.stderr
    assert laptop.files(*EVERYTHING) == before


def test_a_server_with_another_fingerprint_is_refused(server: EximServer, laptop: Laptop) -> None:
    before = laptop.files(*EVERYTHING)
    done = laptop.ctl(
        "client", "setup", f"{SERVER}:{server.port}", "--yes", "--server-fingerprint", "AB" * 32, good=False
    )  # fmt: skip
    assert done.returncode == 7
    assert laptop.files(*EVERYTHING) == before


@pytest.mark.parametrize(
    ("answers", "hint"),
    [("y\nn\n", ""), ("", "--server-fingerprint HEX answers this question"), ("y\n", "--yes asks nothing")],
)
def test_nothing_is_written_unless_a_person_says_yes_twice(
    server: EximServer, laptop: Laptop, answers: str, hint: str
) -> None:
    before = laptop.files(*EVERYTHING)
    done = laptop.ctl("client", "setup", f"{SERVER}:{server.port}", given=answers, good=False)
    assert done.returncode == 1
    assert "nothing was changed" in done.stderr
    assert hint in done.stderr
    assert laptop.files(*EVERYTHING) == before


def test_a_person_is_shown_the_fingerprint_and_the_diff_and_says_yes(server: EximServer, laptop: Laptop) -> None:
    done = laptop.ctl("client", "setup", f"{SERVER}:{server.port}", given="y\ny\n")
    shown = server.identity.fingerprint
    assert " ".join(shown[i : i + 8] for i in range(0, 64, 8)) in done.stdout
    assert f"+DCsmarthost = {SERVER}::{server.port}" in done.stdout
    assert "-dc_eximconfig_configtype='local'" in done.stdout
    assert "+dc_eximconfig_configtype='smarthost'" in done.stdout
    assert "PRIVATE KEY" not in done.stdout


def test_a_dry_run_shows_the_same_and_writes_nothing(server: EximServer, laptop: Laptop) -> None:
    before = laptop.files(*EVERYTHING)
    done = laptop.ctl("client", "setup", f"{SERVER}:{server.port}", "--dry-run")
    assert f"+DCsmarthost = {SERVER}::{server.port}" in done.stdout
    assert laptop.files(*EVERYTHING) == before


def test_lines_of_the_admins_in_the_way_are_named_and_all_is_put_back(server: EximServer, laptop: Laptop) -> None:
    laptop.sh("printf 'REMOTE_SMTP_SMARTHOST_HOSTS_AVOID_TLS = *' >/etc/exim4/exim4.conf.localmacros")
    laptop.sh("update-exim4.conf")
    assert_refused(laptop, server, "hosts_avoid_tls")


def test_a_configuration_that_exim_would_refuse_is_never_live(server: EximServer, laptop: Laptop) -> None:
    laptop.sh("echo 'DCsmarthost = elsewhere' >/etc/exim4/exim4.conf.localmacros; update-exim4.conf")
    assert_refused(laptop, server, "DCsmarthost")


def test_an_edit_that_somebody_has_not_made_live_yet_is_not_made_live_by_setup(
    server: EximServer, laptop: Laptop
) -> None:
    laptop.sh("echo 'MAIN_FORCE_SENDER = yes' >/etc/exim4/exim4.conf.localmacros")
    assert_refused(laptop, server, "/etc/exim4 was edited since Exim's configuration was generated")


def test_a_router_that_comes_before_ours_is_found_before_anything_is_live(server: EximServer) -> None:
    with Laptop(split=True) as laptop:
        laptop.sh("""
            printf 'other:\\n  driver = manualroute\\n  domains = ! +local_domains\\n  transport = remote_smtp\\n' \\
                >/etc/exim4/conf.d/router/180_other
            printf '  route_list = * 192.0.2.1\\n' >>/etc/exim4/conf.d/router/180_other
            update-exim4.conf
        """)
        assert_refused(laptop, server, "router = other")


def test_the_admins_macros_stay_and_so_does_what_is_added_later(server: EximServer, laptop: Laptop) -> None:
    laptop.sh("printf 'MAIN_FORCE_SENDER = yes' >/etc/exim4/exim4.conf.localmacros; update-exim4.conf")
    assert set_up(laptop, server).returncode == 0
    laptop.sh("echo LATER = 1 >>/etc/exim4/exim4.conf.localmacros")
    laptop.ctl("client", "setup", "--undo", "--yes")
    left = laptop.sh("cat /etc/exim4/exim4.conf.localmacros")
    assert left == "MAIN_FORCE_SENDER = yesLATER = 1\n"


def test_a_name_that_is_not_in_the_servers_certificate_is_refused_where_exim_would_compare_it(
    server: EximServer, laptop: Laptop
) -> None:
    assert_refused(laptop, server, "is for server.lab.example, localhost", ADDRESS)


def test_in_the_split_configuration_the_name_does_not_matter(server: EximServer) -> None:
    with Laptop(split=True) as laptop:
        assert set_up(laptop, server, ADDRESS).returncode == 0
        server.allow([own_fingerprint(laptop)])
        server.reload()
        laptop.send()
        until(server.delivered, "the message is relayed")


def test_another_server_takes_the_place_of_the_first(server: EximServer, impostor: EximServer, laptop: Laptop) -> None:
    before = laptop.files(*EVERYTHING)
    set_up(laptop, server)
    fingerprint = own_fingerprint(laptop)
    server.stop()
    impostor.start()
    asked = laptop.ctl("client", "setup", f"{SERVER}:{server.port}", given="n\n", good=False)
    assert asked.returncode == 1
    assert "THIS IS NOT THE CERTIFICATE THAT WAS KEPT BEFORE" in asked.stdout
    assert set_up(laptop, impostor).returncode == 0
    assert own_fingerprint(laptop) == fingerprint
    laptop.send()
    until(impostor.delivered, "the message is relayed")
    laptop.ctl("client", "setup", "--undo", "--yes")
    assert laptop.files(*EVERYTHING) == before


def test_undoing_twice_and_without_a_setup_is_nothing_to_do(laptop: Laptop) -> None:
    before = laptop.files(*EVERYTHING)
    assert "Nothing to do" in laptop.ctl("client", "setup", "--undo", "--yes").stdout
    assert laptop.files(*EVERYTHING) == before


def test_a_server_that_does_not_answer_is_told_with_its_own_status(server: EximServer, laptop: Laptop) -> None:
    server.stop()
    done = set_up(laptop, server)
    assert done.returncode == 4
    assert "Connection refused" in done.stderr


def test_a_daemon_that_runs_loads_the_new_configuration(server: EximServer, laptop: Laptop) -> None:
    laptop.sh(f"exim4 -bd -oX 127.0.0.3.{server.port}")
    assert set_up(laptop, server).returncode == 0
    assert "SIGHUP received" in laptop.log()


def test_a_configuration_written_by_hand_is_not_touched_and_the_lines_for_it_are_printed(
    server: EximServer, laptop: Laptop
) -> None:
    by_hand = """
domainlist local_domains = laptop.lab.example
keep_environment =
exim_user = Debian-exim
never_users =
begin acl
begin routers

begin transports

"""
    laptop.run("tee", "/etc/exim4/exim4.conf", given=by_hand)
    before = laptop.files("/etc/exim4", "/var/lib/exim4")
    done = set_up(laptop, server)
    assert done.returncode == 0
    assert laptop.files("/etc/exim4", "/var/lib/exim4") == before
    assert '"begin routers" is line 7, "begin transports" is line 9' in done.stdout
    assert f"route_list = * {SERVER}::{server.port} byname" in done.stdout


def test_on_a_machine_without_exim_key_and_server_are_kept_and_what_is_left_is_said(
    server: EximServer, laptop: Laptop
) -> None:
    laptop.without_exim()
    done = set_up(laptop, server)
    assert done.returncode == 0
    assert "There is no Exim on this machine" in done.stdout
    assert laptop.sh(f"stat -c '%a %U %G' {CLIENT}/key.pem") == "600 root root\n"
    assert laptop.ctl("client", "probe", good=False).returncode == 5
