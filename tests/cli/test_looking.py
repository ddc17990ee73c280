"""The verbs that look: what people and programs get to read."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
from lab.ctl import ctl
from lab.daemon import program
from lab.twins import LIVE, PORTION, Twin, certificate

from eximcertd.cli.app import EXAMPLES, VERBS
from eximcertd.cli.app import program as program_of_verbs
from eximcertd.control.rights import Rights
from eximcertd.fingerprint import grouped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eximcertd.control.server import Caller

ALICE = "A11CE" + "0" * 59
BOB = "B0B" + "1" * 61
PEER = {"host": "[127.0.0.1]", "helo": "laptop", "sender": "a@x.example", "recipient": "b@y.example"}
NASTY = "CN=\x1b[2Jevil\n\u202eforged\x07"


@pytest.fixture
def twin(tmp_path: Path) -> Iterator[Twin]:
    """Run a twin of the daemon."""
    with Twin(tmp_path / "control") as twin:
        yield twin


@pytest.fixture
def at(twin: Twin) -> tuple[str, str]:
    """Give the options that lead to the twin."""
    return ("--socket", str(twin.path))


def test_pending_shows_who_waits_with_the_certificates_name(twin: Twin, at: tuple[str, str]) -> None:
    twin.see(ALICE, certificate("CN=laptop.alice.example"), warnings=["a CA certificate"], **{"from": PEER})
    done = ctl(*at, "pending", "--long")
    assert done.status == 0
    lines = done.out.splitlines()
    assert lines[0] == grouped(ALICE)
    assert lines[1].strip() == "CN=laptop.alice.example"
    assert "2036-01-01" in lines[2]
    assert "1 attempt" in done.out
    assert "from [127.0.0.1] as laptop" in done.out
    assert "<a@x.example> to <b@y.example>" in done.out
    assert "! a CA certificate" in done.out


def test_pending_says_why_no_host_is_known(twin: Twin, at: tuple[str, str]) -> None:
    twin.see(ALICE, certificate("CN=laptop"))
    assert "eximcertctl check says what log_selector lacks" in ctl(*at, "pending").out
    twin.see(BOB, certificate("CN=other"), **{"from": PEER})
    assert "log_selector" not in ctl(*at, "pending").out


def test_what_pending_shows_first_is_what_approve_takes(twin: Twin, at: tuple[str, str]) -> None:
    twin.see(ALICE, certificate("CN=laptop"))
    shown = ctl(*at, "pending").out.splitlines()[1]
    assert ctl(*at, "approve", shown.split()[0]).status == 0
    assert twin.entries[ALICE]["standing"] == "approved"


def test_nobody_waiting_is_said(at: tuple[str, str]) -> None:
    assert ctl(*at, "pending").out == "No client is waiting.\n"
    assert ctl(*at, "pending", "--json").json == []
    assert ctl(*at, "list").out == "No certificate is approved.\n"
    assert ctl(*at, "list", "--all").out == "Nothing to list.\n"
    assert ctl(*at, "list", "--json").json == []
    assert "No decisions." in ctl(*at, "history").out
    assert ctl(*at, "export").out == ""


def test_fingerprints_without_a_certificate_come_last_and_do_not_drown_the_others(
    twin: Twin, at: tuple[str, str]
) -> None:
    for number in range(50):
        twin.see(f"{number:064X}")
    twin.see(ALICE, certificate("CN=laptop"))
    done = ctl(*at, "pending")
    assert done.out.splitlines()[1].startswith(ALICE[:16])
    assert "50 fingerprints without a certificate: --all shows them." in done.out
    assert ctl(*at, "pending", "--all").out.count("(no certificate)") == 50
    assert ctl(*at, "pending", "--all", "--long").out.count("no certificate found") == 50
    assert len(ctl(*at, "pending", "--json").json) == 51


def test_an_entry_has_the_shape_that_programs_rely_on(twin: Twin, at: tuple[str, str]) -> None:
    twin.see(ALICE, certificate("CN=laptop"), **{"from": PEER})
    [entry] = ctl(*at, "pending", "--json").json
    assert {"fingerprint", "standing", "certificate", "attempts", "first_seen", "last_seen", "from", "decision"} <= set(
        entry
    )
    assert {"subject", "issuer", "serial", "not_before", "not_after", "names", "key", "ca", "files"} <= set(
        entry["certificate"]
    )
    assert entry["from"] == PEER
    ctl(*at, "approve", ALICE, "--note", "night shift")
    [entry] = ctl(*at, "list", "--json").json
    assert entry["standing"] == "approved"
    assert entry["decision"]["verb"] == "approve"
    assert entry["decision"]["note"] == "night shift"
    assert entry["decision"]["by"]


def test_status_has_the_shape_that_programs_rely_on(at: tuple[str, str]) -> None:
    status = ctl(*at, "status", "--json").json
    assert {"version", "pid", "log", "certificates", "counts", "allowlist"} <= set(status)
    assert {"path", "position", "behind_bytes", "last_line_at"} <= set(status["log"])
    assert {"files", "distinct"} <= set(status["certificates"])
    assert {"pending", "unmatched", "approved", "rejected", "revoked"} <= set(status["counts"])
    assert {"form", "revision", "published_at", "live", "error"} <= set(status["allowlist"])


def test_status_says_in_words_whether_the_list_is_live(twin: Twin, at: tuple[str, str]) -> None:
    assert "live, list form, revision 7" in ctl(*at, "status").out
    twin.publication |= {"live": False, "outcome": "failed", "message": "Exim refuses it"}
    assert "NOT LIVE" in ctl(*at, "status").out
    assert "Exim refuses it" in ctl(*at, "status").out
    twin.publication |= {"outcome": "died"}
    assert "EXIM IS DOWN" in ctl(*at, "status").out


def test_a_listing_longer_than_a_portion_is_whole(twin: Twin, at: tuple[str, str]) -> None:
    for number in range(PORTION + 20):
        twin.see(f"{number:064X}", certificate(f"CN={number}"))
    assert len(ctl(*at, "pending", "--json").json) == PORTION + 20
    assert ctl(*at, "pending", "--all", "--long").out.count("\n  CN=") == PORTION + 20


def test_list_is_grouped_by_standing_and_can_be_narrowed(twin: Twin, at: tuple[str, str]) -> None:
    twin.see(ALICE, certificate("CN=alice"), standing="approved")
    twin.see(BOB, certificate("CN=bob"), standing="revoked")
    assert [line for line in ctl(*at, "list").out.splitlines() if line.endswith(":")] == ["Approved:"]
    listed = ctl(*at, "list", "--all").out.splitlines()
    assert [line for line in listed if line.endswith(":")] == ["Approved:", "Revoked:"]
    assert [entry["fingerprint"] for entry in ctl(*at, "list", "--standing", "revoked", "--json").json] == [BOB]
    ctl(*at, "list", "b0b11111")
    assert twin.called("List")[-1]["prefixes"] == ["B0B11111"]


def test_unused_lists_what_was_approved_before_and_not_used_since(twin: Twin, at: tuple[str, str]) -> None:
    decision = {"verb": "approve", "by": "root", "at": "2026-01-01T00:00:00Z", "note": ""}
    twin.see(ALICE, certificate("CN=alice"), standing="approved", decision=decision)
    assert "Exim logs no use of a certificate" in ctl(*at, "list", "--unused", "2026-06-01").out
    twin.see(
        BOB, certificate("CN=bob"), standing="approved", decision=decision, uses=2, last_used="2026-07-01T00:00:00Z"
    )
    assert [one["fingerprint"] for one in ctl(*at, "list", "--unused", "2026-06-01", "--json").json] == [ALICE]
    assert len(ctl(*at, "list", "--unused", "2026-08-01", "--json").json) == 2
    assert ctl(*at, "list", "--unused", "2025-08-01").out == "Every approved certificate was used since.\n"
    assert "2 accepted recipients, last 2026-07-01" in ctl(*at, "show", BOB).out


def test_show_tells_all_of_one(twin: Twin, at: tuple[str, str]) -> None:
    twin.see(ALICE, certificate("CN=laptop", names=["laptop.example"], ca=True), **{"from": PEER})
    ctl(*at, "approve", ALICE, "--note", "night shift", "--ca")
    done = ctl(*at, "show", "a1:1c:e0:00")
    for text in (grouped(ALICE), "CN=laptop", "laptop.example", "CA:TRUE", "laptop.pem", "night shift", "approved by"):
        assert text in done.out
    entry = ctl(*at, "show", ALICE, "--json").json
    assert entry["history"][0]["note"] == "night shift"


def test_a_renewal_is_shown_with_what_is_renewed(twin: Twin, at: tuple[str, str]) -> None:
    renews = {"fingerprint": BOB, "same_key": False, "by": "carol", "at": "2026-01-02T00:00:00Z"}
    twin.see(ALICE, certificate("CN=laptop"), renews=renews)
    assert "+ renews an approved certificate" in ctl(*at, "pending").out
    done = ctl(*at, "pending", "--long")
    assert "same name, NEW key" in done.out
    assert "approved by carol on 2026-01-0" in done.out


def test_history_tells_who_decided_what(twin: Twin, at: tuple[str, str]) -> None:
    twin.see(ALICE, certificate("CN=laptop"))
    ctl(*at, "approve", ALICE)
    ctl(*at, "revoke", ALICE, "--note", "stolen")
    done = ctl(*at, "history", ALICE[:10])
    assert done.out.index("stolen") < done.out.index("approved by"), "newest first"
    assert [decision["verb"] for decision in ctl(*at, "history", "-n", "1", "--json").json] == ["revoke"]


@pytest.mark.parametrize("verb", ["pending", "list", "show", "history"])
def test_nothing_that_strangers_write_reaches_the_terminal_raw(twin: Twin, at: tuple[str, str], verb: str) -> None:
    peer = dict.fromkeys(PEER, NASTY)
    entry = twin.see(ALICE, certificate(NASTY, names=[NASTY], key=NASTY, files=[NASTY]), warnings=[NASTY])
    entry["from"] = peer
    entry["decision"] = {"verb": "approve", "by": NASTY, "at": "2026-01-01T00:00:00Z", "note": NASTY}
    twin.records = [{"fingerprint": ALICE, **entry["decision"]}]
    arguments = [verb, ALICE] if verb in {"show", "history"} else [verb, "--all"]
    for done in (ctl(*at, *arguments), ctl(*at, *arguments, "--json")):
        assert done.status == 0
        assert not set(done.out) & set("\x1b\x07\u202e")
    assert all(len(line) <= 120 for line in ctl(*at, "pending").out.splitlines())


@pytest.mark.parametrize("der", ["bm8gY2VydGlmaWNhdGU=", "no base64!", ""])
def test_certificate_prints_nothing_but_the_certificate_that_was_asked_for(tmp_path: Path, der: str) -> None:
    async def forged(_: Caller, __: dict[str, Any]) -> dict[str, Any]:
        return {"fingerprint": ALICE, "der": der}

    with Twin(tmp_path / "control", methods={"GetCertificate": forged}) as twin:
        done = ctl("--socket", str(twin.path), "certificate", ALICE)
    assert (done.status, done.out) == (1, "")
    assert "eximcertd" in done.err


def test_what_only_the_client_has_shown_is_marked_and_those_of_one_name_name_each_other(
    twin: Twin, at: tuple[str, str]
) -> None:
    twin.see(ALICE, certificate("CN=laptop", source="attempt", files=[]), same_name=[BOB])
    for done in (ctl(*at, "pending", "--long"), ctl(*at, "show", ALICE)):
        assert "shown by the client; ask its owner for the fingerprint" in done.out
        assert f"claims the same name as {BOB[:16]}" in done.out


def test_watch_tells_what_happens(twin: Twin, at: tuple[str, str]) -> None:
    entry = twin.see(ALICE, certificate("CN=laptop"))
    twin.events = [{"kind": "seen", "at": "2026-01-01T00:00:00Z", "sentence": "somebody came", "entry": entry}]
    with subprocess.Popen([program("eximcertctl"), *at, "watch"], stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline().endswith("somebody came\n")
        assert watching.stdout.readline().strip() == grouped(ALICE)
        watching.terminate()


# How it fails


def test_no_answer_is_4_and_says_where_to_look(tmp_path: Path) -> None:
    done = ctl("--socket", tmp_path / "nothing", "status")
    assert done.status == 4
    assert "the socket does not exist" in done.err
    assert "systemctl status eximcertd" in done.err


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize(
    ("verb", "right"),
    [
        (["pending"], "read"),
        (["scan", "/etc/passwd"], "read"),
        (["revoke", ALICE], "approve"),
        (["export"], "approve"),
    ],
)
def test_not_permitted_is_5_with_the_verb_that_was_typed(tmp_path: Path, verb: list[str], right: str) -> None:
    for directory in (tmp_path, *tmp_path.parents):  # nobody must reach the socket
        if directory == Path(tempfile.gettempdir()):
            break
        directory.chmod(0o755)
    with Twin(tmp_path / "control", rights=Rights()) as twin:
        done = subprocess.run(
            [program("eximcertctl"), "--socket", str(twin.path), *verb],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            user=65534,
            group=65534,
            extra_groups=[],
        )
    assert done.returncode == 5
    assert f"eximcertctl {verb[0]}: nobody does not have the right to {right}" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_a_taken_over_eximcertd_answers_never_reaches_the_terminal_raw(tmp_path: Path) -> None:
    async def forged(_: Caller, __: dict[str, Any]) -> dict[str, Any]:
        return {
            "decided": [
                {
                    "fingerprint": "\x1b]0;owned\x07\nrevoked  forged",
                    "standing": "\x1b[2Jrevoked",
                    "certificate": certificate(NASTY, not_after="\x1b[1m", key=NASTY),
                    "decision": {"verb": "\x1b[3m", "by": NASTY, "at": NASTY, "note": NASTY},
                    "renews": {"fingerprint": NASTY, "same_key": True, "by": NASTY, "at": NASTY},
                    "same_name": [NASTY],
                    "warnings": [NASTY],
                    "revoke_at": NASTY,
                }
            ],
            "publication": {**LIVE, "live": False, "step": NASTY, "message": NASTY, "exim": NASTY, "retry": NASTY},
        }

    with Twin(tmp_path / "control", methods={"Decide": forged}) as twin:
        for verb in ("approve", "reject", "revoke"):
            done = ctl("--socket", twin.path, verb, ALICE)
            assert done.status == 6
            shown = done.out + done.err
            assert "\x1b" not in shown
            assert "\x07" not in shown
            assert "\u202e" not in shown
            assert "\nrevoked  forged" not in shown


def test_an_answer_without_what_was_asked_for_is_1_and_no_traceback(tmp_path: Path) -> None:
    async def empty(_: Caller, __: dict[str, Any]) -> dict[str, Any]:
        return {"decided": [{"fingerprint": 5}]}

    with Twin(tmp_path / "control", methods={"Decide": empty}) as twin:
        done = ctl("--socket", twin.path, "approve", ALICE)
    assert done.status == 1
    assert "eximcertctl approve: the answer of eximcertd is not understood: KeyError" in done.err


def test_show_prints_the_notes_and_pending_does_not(at: tuple[str, str], twin: Twin) -> None:
    twin.see(ALICE, certificate("CN=alice"), notes=["CA:TRUE: \x1b other programs"])
    assert "  - CA:TRUE: \\x1b other programs" in ctl(*at, "show", ALICE).out
    assert "CA:TRUE" not in ctl(*at, "pending").out


def test_show_has_the_newest_decision_first(at: tuple[str, str], twin: Twin) -> None:
    twin.see(ALICE, certificate("CN=alice"))
    ctl(*at, "approve", ALICE, "--note", "the first")
    ctl(*at, "revoke", ALICE, "--note", "the second")
    lines = ctl(*at, "show", ALICE).out.partition("Decisions, newest first:")[2].splitlines()
    assert [line.rpartition(" ")[2] for line in lines if line] == ["second", "first"]


@pytest.mark.parametrize(
    ("verb", "by", "sentence"),
    [("adopt", "by hand", "adopted by hand"), ("revoke", "by policy", "revoked by policy")],
)
def test_a_decision_by_no_person_is_told_in_english(
    twin: Twin, at: tuple[str, str], verb: str, by: str, sentence: str
) -> None:
    twin.see(ALICE, certificate("CN=alice"), standing="approved")
    twin.records.append({"fingerprint": ALICE, "verb": verb, "by": by, "at": "2026-11-22T17:03:03Z", "note": ""})
    assert sentence in ctl(*at, "history").out


def test_an_unknown_fingerprint_is_3_with_the_candidates(twin: Twin, at: tuple[str, str]) -> None:
    twin.see(ALICE, certificate("CN=laptop"))
    done = ctl(*at, "show", "A11C9999")
    assert done.status == 3
    assert grouped(ALICE) in done.err


def test_an_ambiguous_fingerprint_is_3_with_the_candidates(twin: Twin, at: tuple[str, str]) -> None:
    other = ALICE[:20] + "F" * 44
    twin.see(ALICE)
    twin.see(other)
    done = ctl(*at, "show", ALICE[:10])
    assert done.status == 3
    assert grouped(ALICE) in done.err
    assert grouped(other) in done.err


@pytest.mark.parametrize("text", ["A11CE00", "laptop", "A11CE0000G", "A" * 65, ""])
def test_what_is_no_fingerprint_is_2(at: tuple[str, str], text: str) -> None:
    done = ctl(*at, "show", text)
    assert done.status == 2
    assert "hex digits" in done.err


@pytest.mark.parametrize(
    "arguments", [[], ["forgive"], ["show"], ["show", "A11CE000", "B0B11111"], ["pending", "A"], ["--frob", "pending"]]
)
def test_wrong_usage_is_2(at: tuple[str, str], arguments: list[str]) -> None:
    assert ctl(*at, *arguments).status == 2


def test_a_configuration_that_cannot_be_used_is_1_and_says_why(tmp_path: Path) -> None:
    file = tmp_path / "eximcertd.toml"
    file.write_text("[control]\nsockt = 1\n")
    done = ctl("--config", file, "status")
    assert done.status == 1
    assert "sockt: no such key" in done.err


def test_the_configured_socket_is_used(twin: Twin, tmp_path: Path) -> None:
    file = tmp_path / "eximcertd.toml"
    file.write_text(f'[control]\nsocket = "{twin.path}"\n')
    assert ctl("--config", file, "status", "--json").json["counts"]["pending"] == 0


def test_a_reader_that_leaves_early_is_no_fault(twin: Twin, at: tuple[str, str]) -> None:
    for number in range(2000):
        twin.see(f"{number:064X}", certificate(f"CN={number}"))
    with subprocess.Popen(
        [program("eximcertctl"), *at, "pending"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as done:
        assert done.stdout is not None
        assert done.stderr is not None
        done.stdout.readline()
        done.stdout.close()
        assert done.stderr.read() == ""


@pytest.mark.parametrize("locale", ["C", "POSIX", "C.UTF-8"])
def test_a_terminal_that_knows_only_ascii_gets_all_the_same(twin: Twin, at: tuple[str, str], locale: str) -> None:
    twin.see(ALICE, certificate("CN=M\u00fcnchen \u6771\u4eac " + "x" * 100))
    done = subprocess.run(
        [program("eximcertctl"), *at, "pending"],
        capture_output=True,
        timeout=30,
        check=False,
        env={"LC_ALL": locale, "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PATH": os.environ["PATH"]},
    )
    assert done.returncode == 0
    assert done.stderr == b""
    assert b"nchen" in done.stdout


def test_an_answer_of_another_version_is_no_traceback(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "control"))
        listener.listen()

        def old() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b'{"error":"org.varlink.service.MethodNotFound","parameters":{"method":"x"}}\0')

        thread = threading.Thread(target=old)
        thread.start()
        done = ctl("--socket", tmp_path / "control", "status")
        thread.join()
    assert done.status == 1
    assert "of the same version" in done.err


def test_the_list_of_verbs_says_what_each_verbs_own_help_says() -> None:
    listed = ctl("--help").out
    for verb, sentence in VERBS.items():
        assert f"  {verb}" in listed
        assert sentence.split()[-1].rstrip(".") in listed
        command = program_of_verbs.get_command(click.Context(program_of_verbs), verb)
        parts = list(command.commands) if isinstance(command, click.Group) else []
        for words in [[verb, part] for part in parts] or [[verb]]:
            helped = ctl(*words, "--help")
            assert helped.status == 0
            assert "--json" in helped.out, f"{words}: every verb can print JSON"


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_has_an_example_that_runs(
    twin: Twin, at: tuple[str, str], verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert f"Example: eximcertctl {EXAMPLES[verb]}" in ctl(verb, "--help").out
    called, *arguments = shlex.split(EXAMPLES[verb])
    assert called == verb
    if verb in {
        "setup",
        "client",
        "check",
        "authority",
        "certificate",
        "review",
        "revoke",
    }:  # of root, or of a terminal
        command = program_of_verbs.get_command(click.Context(program_of_verbs), verb)
        assert command is not None
        if isinstance(command, click.Group):
            command = command.get_command(click.Context(command), arguments.pop(0))
            assert command is not None
        assert command.make_context(verb, arguments, resilient_parsing=False).params
        return
    twin.see("58CD37DA" + "0" * 56, certificate("CN=laptop.alice.example"))
    twin.edits["removed"] = list(twin.entries.values())
    twin.events = [{"kind": "published", "at": "2026-01-01T00:00:00Z", "sentence": "live", "entry": None}]
    monkeypatch.chdir(tmp_path)
    Path("decisions.json").write_text("")
    if verb == "undo":
        ctl(*at, "approve", "58CD37DA")
    more = ["--yes"] if verb in {"approve", "undo"} else []
    missing = verb == "scan" and not Path(arguments[0]).exists()
    assert ctl(*at, verb, *arguments, *more).status == (1 if missing else 0)


def test_watch_ends_after_the_first_event_or_after_a_time(twin: Twin, at: tuple[str, str]) -> None:
    assert ctl(*at, "watch", "--once", "--timeout", "0.1").status == 1
    twin.events = [{"kind": "published", "at": "2026-01-01T00:00:00Z", "sentence": "live", "entry": None}] * 2
    assert ctl(*at, "watch", "--once", "--timeout", "60").out.count("live") == 1


def test_watch_runs_a_program_with_each_event(twin: Twin, at: tuple[str, str], tmp_path: Path) -> None:
    event = {"kind": "published", "at": "2026-01-01T00:00:00Z", "sentence": "live", "entry": None}
    twin.events = [event]
    script = tmp_path / "tell"
    script.write_text(f"#!/bin/sh\ncat >{tmp_path}/told; exit 3\n")
    script.chmod(0o755)
    done = ctl(*at, "watch", "--once", "--exec", script)
    assert done.status == 0
    assert json.loads((tmp_path / "told").read_text()) == event
    assert "ended with 3" in done.err
    assert ctl(*at, "watch", "--once", "--exec", "/nothing/there").status == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_offered_verbs_fingerprints_and_names(twin: Twin, shell: str) -> None:
    twin.see(ALICE, certificate("CN=laptop.alice.example"))
    twin.see(BOB, certificate("CN=desk"), standing="approved")

    def offered(*words: str, last: str = "") -> str:
        typed = ["eximcertctl", "--socket", str(twin.path), *words]
        done = subprocess.run(
            [program("eximcertctl")],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
            env={
                **os.environ,
                "_EXIMCERTCTL_COMPLETE": f"{shell}_complete",
                "COMP_WORDS": shlex.join([*typed, last]),
                "COMP_CWORD": last if shell == "fish" else str(len(typed)),
            },
        )
        assert done.stderr == ""
        return done.stdout

    assert "approve" in offered(last="app")
    assert ALICE[:16] in offered("approve", last="a11")
    assert "laptop.alice.example" in offered("approve", last="lap")
    assert BOB[:16] not in offered("approve")
    assert BOB[:16] in offered("revoke")
    assert ALICE[:16] in offered("show", last=ALICE[:4])
    twin.see("C0" * 32, certificate("CN=laptop$(reboot)"))
    assert "reboot" not in offered("approve", last="lap"), "a name that a shell would execute is not offered"


def test_the_version_is_told() -> None:
    done = ctl("--version")
    assert done.out.startswith("eximcertctl, version ")
