"""pending, list and status: who waits, who is approved, and the shape that programs rely on."""

from __future__ import annotations

from lab.ctl import ctl
from lab.entries import ALICE, BOB, PEER, certificate
from lab.twins import PORTION, Twin

from eximcertd.fingerprint import grouped


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
    for flags in ([], ["--json"]):
        done = ctl(*at, "list", "--unused", "2026-06-01", *flags)
        assert (done.status, done.out) == (1, "")
        assert "not known: Exim has logged no use of any" in done.err
    twin.uses_since = "2026-05-01T00:00:00Z"
    twin.see(
        BOB, certificate("CN=bob"), standing="approved", decision=decision, uses=2, last_used="2026-07-01T00:00:00Z"
    )
    assert [one["fingerprint"] for one in ctl(*at, "list", "--unused", "2026-06-01", "--json").json] == [ALICE]
    assert len(ctl(*at, "list", "--unused", "2026-08-01", "--json").json) == 2
    assert ctl(*at, "list", "--unused", "2026-06-01").err == ""
    done = ctl(*at, "list", "--unused", "2025-08-01")
    assert done.out.startswith("No certificate that was approved before 2025-0")
    assert done.out.endswith(" is unused since.\n")
    assert done.err.startswith("Uses are counted since 2026-")
    assert "2 accepted recipients, last 2026-07-01" in ctl(*at, "show", BOB).out


def test_a_renewal_is_shown_with_what_is_renewed(twin: Twin, at: tuple[str, str]) -> None:
    renews = {"fingerprint": BOB, "same_key": False, "by": "carol", "at": "2026-01-02T00:00:00Z"}
    twin.see(ALICE, certificate("CN=laptop"), renews=renews)
    assert "+ renews an approved certificate" in ctl(*at, "pending").out
    done = ctl(*at, "pending", "--long")
    assert "same name, NEW key" in done.out
    assert "approved by carol on 2026-01-0" in done.out


def test_what_only_the_client_has_shown_is_marked_and_those_of_one_name_name_each_other(
    twin: Twin, at: tuple[str, str]
) -> None:
    twin.see(ALICE, certificate("CN=laptop", source="attempt", files=[]), same_name=[BOB])
    for done in (ctl(*at, "pending", "--long"), ctl(*at, "show", ALICE)):
        assert "shown by the client; ask its owner for the fingerprint" in done.out
        assert f"claims the same name as {BOB[:16]}" in done.out
