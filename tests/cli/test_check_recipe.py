"""check reads Exim's configuration: each part of the recipe that is wrong or missing gets its sentence."""

from __future__ import annotations

from typing import Any

import pytest
from lab.checking import as_root, check, looked_at
from lab.exim import EXIM, EximServer
from lab.recipe import ACL, PINNED_ACL

VERIFY = "verify        = certificate\n"
ACCEPT, WARN, DENY = ACL.split("\n\n")


@as_root
def test_the_recipe_as_published_is_ok_in_every_line() -> None:
    with looked_at() as (exim, daemon):
        status, found = check(daemon)
        exim.start()
        assert any("TLS handshake succeeds with Exim at 127.0.0.1:" in line for line in check(daemon)[1]["ok"])
        exim.stop()
    assert found["error"] == []
    assert [line for line in found["warning"] if "no Exim daemon of this configuration runs" not in line] == []
    assert status == 0
    for words in (
        "eximcertd",
        f"{EXIM} reads",
        "which defines RELAY_FROM_CERTS",
        "ACL acl_check_rcpt accepts clients on the list, with verify = certificate (published)",
        "the published recipe does not limit how long a certificate counts",
        "ACL acl_check_rcpt logs clients",
        "every client is asked",
        "Exim trusts the certificates in",
        "Exim's list holds exactly the 1 that are approved",
        "only root can write the macro file",
    ):
        assert any(words in line for line in found["ok"]), words


@as_root
def test_check_prints_the_line_that_logs_who_relays_until_it_is_there() -> None:
    line = "logwrite      = Relay for the certificate: ${sha256:$tls_in_peercert}"
    with looked_at() as (_, daemon):
        assert any('"logwrite = Relay for the certificate:' in text for text in check(daemon)[1]["ok"])
    with looked_at(acl="\n\n".join([f"{ACCEPT}\n          {line}", WARN, DENY])) as (_, daemon):
        assert any("ACL acl_check_rcpt logs who relays" in text for text in check(daemon)[1]["ok"])


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "the ACL is not the one for RCPT": (
        {"main": "acl_smtp_rcpt = acl_other\n", "acl": f"{ACL}\nacl_other:\n  deny\n"},
        "uses RELAY_FROM_CERTS, but Exim never runs it",
    ),
    "the accept lacks verify": (
        {"acl": "\n\n".join([ACCEPT.replace(VERIFY, "\n"), WARN, DENY])},
        'uses RELAY_FROM_CERTS without "verify = certificate"',
    ),
    "the warn lacks verify": (
        {"acl": "\n\n".join([ACCEPT, WARN.replace(VERIFY, "\n"), DENY])},
        'logs without "verify = certificate"',
    ),
    "there is no accept": ({"acl": f"{WARN}\n\n{DENY}"}, "no ACL accepts the clients on the list RELAY_FROM_CERTS"),
    "there is no warn": ({"acl": f"{ACCEPT}\n\n{DENY}"}, "no ACL logs the fingerprint of a refused client"),
    "another text is logged": (
        {"acl": ACL.replace("Attempt to relay", "An attempt to relay")},
        'the ACL logs "An attempt to relay from',
    ),
    "both stand behind the refusal": (
        {"acl": f"  require message = relay not permitted\n          domains = lab.example\n\n{ACL}"},
        "uses RELAY_FROM_CERTS after the statement that refuses",
    ),
    "both stand behind a deny for all": (
        {"acl": f"{DENY}\n\n{ACCEPT}\n\n{WARN}\n"},
        "logs after the statement that refuses",
    ),
    "no client is asked": ({"main": "tls_try_verify_hosts =\n"}, "Exim asks no client for its certificate"),
    "tls is not advertised": ({"main": "tls_advertise_hosts =\n"}, "no client can use TLS"),
    "the bundle is trusted": (
        {"main": "tls_verify_certificates = system\n"},
        "tls_verify_certificates is the system's",
    ),
    "another directory is trusted": (
        {"main": "tls_verify_certificates = /etc/ssl/certs/\n"},
        "Exim trusts the certificates in /etc/ssl/certs/, but eximcertd looks in",
    ),
    "the macro is not defined": ({}, "the macro RELAY_FROM_CERTS is not defined, so no client can relay"),
    "there is no include": ({}, "does not include the macro file"),
    "the slash is missing": ({}, "lacks the slash at its end"),
    "the ACL for DATA asks": ({}, "is used in the ACL for DATA (acl_check_rcpt)"),
    "there is no ACL for RCPT": ({}, "acl_smtp_rcpt is empty"),
    "it is broken": ({}, "no_such_option"),
}


def spoil(exim: EximServer, case: str) -> None:
    """Change what options cannot."""
    text = exim.configuration.read_text()
    replaced = {
        "there is no include": text.replace(f".include {exim.macro_file}\n", "RELAY_FROM_CERTS =\n"),
        "the slash is missing": text.replace(f"{exim.certificates}/", str(exim.certificates)),
        "the ACL for DATA asks": text.replace(
            "acl_smtp_rcpt = acl_check_rcpt", "acl_smtp_rcpt = acl_other\nacl_smtp_data = acl_check_rcpt"
        ).replace("begin routers", "acl_other:\n  accept\n\nbegin routers"),
        "there is no ACL for RCPT": text.replace("acl_smtp_rcpt = acl_check_rcpt", ""),
        "it is broken": "no_such_option = true\n" + text,
    }
    if case == "the macro is not defined":
        exim.macro_file.write_text("# nothing yet\n")
    for name in ("tls_try_verify_hosts", "tls_advertise_hosts", "tls_verify_certificates", "acl_smtp_rcpt"):
        if text.count(f"\n{name} =") > 1:  # an option may be set once
            lines = text.splitlines()
            first = next(number for number, line in enumerate(lines) if line.startswith(f"{name} ="))
            text = "\n".join(lines[:first] + lines[first + 1 :]) + "\n"
    exim.configuration.write_text(replaced.get(case, text))


@as_root
@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_configuration_draws_its_sentence(case: str) -> None:
    options, sentence = WRONG[case]
    with looked_at(**options) as (exim, daemon):
        spoil(exim, case)
        status, found = check(daemon)
    assert status == 1
    said = [line for line in found["error"] if sentence in line]
    assert said, found
    assert case == "it is broken" or all(not line.endswith("-> ") for line in said), "it says what to do"


@as_root
def test_an_acl_that_is_called_from_the_one_for_rcpt_is_reached() -> None:
    inner = "  accept acl = acl_inner\n\n  deny\n\nacl_inner:\n" + ACL
    with looked_at(acl=inner) as (_, daemon):
        status, found = check(daemon)
    assert found["error"] == []
    assert status == 0
    assert any("ACL acl_inner accepts" in line for line in found["ok"])


PINNED_ACCEPT, PINNED_WARN, _ = PINNED_ACL.split("\n\n")
NARROWED = "acl_starttls:\n  drop condition = ${if def:tls_in_cipher}\n  accept\n"
CONNECTED = "acl_connect:\n  accept set acl_c_eximcertd_connected = $tod_epoch\n"
CERTIFICATE = "Certificate of the attempt: ${sha256:$tls_in_peercert} - ${base64:$tls_in_peercert}"
AGE = "${if <{${eval:$tod_epoch-$acl_c_eximcertd_connected}}{100}}"
YOUNG = f"          condition     = {AGE}\n          control       = sub"


@as_root
@pytest.mark.parametrize("trusted", ["/dev/null", "/etc/ssl/certs/", "system"])
def test_the_pinned_recipe_is_ok_where_exim_sends_no_names_of_authorities(trusted: str) -> None:
    acl = PINNED_ACL.replace("          control       = sub", YOUNG)
    acl = acl.replace("          logwrite", f"          logwrite      = {CERTIFICATE}\n          logwrite", 1)
    main = "acl_smtp_starttls = acl_starttls\nacl_smtp_connect = acl_connect\n"
    main += f"tls_verify_certificates = {trusted}\n"
    with looked_at(acl=f"{acl}\n{NARROWED}\n{CONNECTED}", main=main) as (_, daemon):
        status, found = check(daemon)
    wrong = ["Exim sends the names of these authorities"] if trusted == "system" else []
    assert [sentence for sentence in wrong if sentence in str(found["error"])] == wrong
    assert len(found["error"]) == status == len(wrong)
    assert any("accepts clients on the list, by the fingerprint alone (pinned)" in line for line in found["ok"])
    assert not any("acl_smtp_starttls" in line or "age" in line or "log" in line for line in found["warning"])


@as_root
def test_the_pinned_recipe_without_its_two_limits_gets_a_warning_for_each() -> None:
    with looked_at(acl=PINNED_ACL) as (_, daemon):
        found = check(daemon)[1]
    assert found["error"] == []
    assert any("acl_smtp_starttls is empty" in line for line in found["warning"])
    assert any("no ACL limits the age" in line for line in found["warning"])


@as_root
@pytest.mark.parametrize(
    ("acl", "verdict", "sentence"),
    [
        (f"{PINNED_ACCEPT}\n\n{WARN}\n\n{DENY}", "error", "logs only clients whose certificate Exim verif"),
        (f"{ACCEPT}\n\n{PINNED_WARN}\n\n{DENY}", "warning", "does not relay for these when they are app"),
        (f"{ACCEPT}\n\n{PINNED_ACL}", "ok", "(pinned); a statement of the published recipe is there too"),
        (PINNED_ACL, "warning", "the log does not hold the certificate of a refused client"),
        (
            PINNED_ACL.replace("          logwrite", f"          logwrite      = The {CERTIFICATE}\n{'':10}logwrite"),
            "warning",
            "the log does not hold the certificate of a refused client",
        ),
        (
            PINNED_ACL.replace("          control       = sub", YOUNG),
            "error",
            "(empty) does not set acl_c_eximcertd_connected",
        ),
    ],
    ids=[
        "pinned but logs verified",
        "published but logs all",
        "both",
        "no certificate in the log",
        "the certificate after another text",
        "no beginning",
    ],
)
def test_recipes_that_are_mixed_or_incomplete_draw_their_sentence(acl: str, verdict: str, sentence: str) -> None:
    with looked_at(acl=acl) as (_, daemon):
        found = check(daemon)[1]
    said = [line for line in found[verdict] if sentence in line]
    assert len(said) == 1, found
    assert verdict == "ok" or not said[0].endswith("-> "), "it says what to do"


@as_root
def test_a_log_that_does_not_tell_who_it_was_is_odd() -> None:
    with looked_at(log_selector="+tls_peerdn") as (_, daemon):
        assert any("log_selector lacks +pid" in line for line in check(daemon)[1]["warning"])
