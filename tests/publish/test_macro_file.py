"""The macro file: what is rendered is what Exim reads, and what a hand wrote is read as Exim reads it, or refused."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lab.exim import EXIM, MACRO

from eximcertd.fingerprint import NEVER, Fingerprint
from eximcertd.publish.error import PublishError
from eximcertd.publish.macrofile import list_value, lookup_value, parse, render

A, B = Fingerprint("0A" * 32), Fingerprint("B0" * 32)
PAIRS = ":".join(["b0"] * 32)

some_hex = st.binary(min_size=32, max_size=32).map(lambda raw: Fingerprint(raw.hex().upper()))
fingerprints = st.lists(some_hex, max_size=6, unique=True)
comments = st.lists(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30).map(lambda text: f"#{text}".rstrip()),
    max_size=4,
)


def value_in_exim(directory: Path, raw: bytes) -> str | None:
    """Return what the real Exim makes of the macro; None if it refuses, or does not know the macro."""
    (directory / "macros").write_bytes(raw)
    configuration = directory / "exim.conf"
    configuration.write_text(f".include {directory}/macros\n\nkeep_environment =\nlog_file_path = {directory}/%slog\n")
    done = subprocess.run(
        [EXIM, "-C", configuration, "-bP", "macro", MACRO], capture_output=True, text=True, timeout=20, check=False
    )
    return done.stdout.removeprefix(f"{MACRO}=").rstrip("\n").strip() if done.returncode == 0 else None


@given(fingerprints, comments)
def test_what_is_rendered_is_read_back(listed: list[Fingerprint], kept: list[str]) -> None:
    found = parse(MACRO, render(MACRO, list_value(listed), kept))
    assert (found.form, list(found.fingerprints), list(found.comments)) == ("list", listed, kept)
    assert not found.corrected


@pytest.mark.parametrize("number", [0, 1, 2, 500])
def test_exim_reads_the_list_that_was_rendered(tmp_path: Path, number: int) -> None:
    value = list_value(Fingerprint(f"{index:064X}") for index in range(number))
    assert value_in_exim(tmp_path, render(MACRO, value, ["# the laptops \\", "#"])) == value


def test_exim_reads_the_lookup_that_was_rendered(tmp_path: Path) -> None:
    value = lookup_value(Path("/var/lib/eximcertd/allowed"))
    raw = render(MACRO, value, [])
    assert value_in_exim(tmp_path, raw) == value
    assert parse(MACRO, raw).form == "directory"


def test_anything_but_a_fingerprint_is_never_rendered() -> None:
    with pytest.raises(ValueError, match="not all of them"):
        list_value([Fingerprint("${run{/bin/true}}")])


spelt = st.tuples(some_hex, st.sampled_from(["", "lower", "pairs"])).map(
    lambda found: {
        "": found[0],
        "lower": found[0].lower(),
        "pairs": ":".join(found[0][at : at + 2] for at in range(0, 64, 2)),
    }[found[1]]
)
between = st.sampled_from([" : ", ":", " :\\\n", " : \\  \n   ", ":\\\r\n", " \\\n : \\\n# here \\\n", "\t:\t"])
around = st.sampled_from(["", "\n", "# a comment\n", "  # another \\\n", " \t\n"])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_list_written_by_hand_is_read_exactly_as_exim_reads_it(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    items = data.draw(st.lists(spelt, max_size=5))
    text = data.draw(around) + MACRO + data.draw(st.sampled_from(["=", " = ", " =\\\n"]))
    for index, item in enumerate(items):
        text += (data.draw(between) if index else "") + item
    raw = (text + data.draw(st.sampled_from(["", "\n", " \n", "\n# end"]))).encode()
    seen = value_in_exim(tmp_path_factory.getbasetemp(), raw)
    found = parse(MACRO, raw)
    assert seen is not None
    hexes = [item.replace(":", "").upper() for item in items]
    assert re.sub(r"[:\s]", "", seen).upper() == "".join(hexes)
    assert found.fingerprints == tuple(dict.fromkeys(map(Fingerprint, hexes)))
    exact = {item.strip() for item in seen.split(":")} & set(found.fingerprints)
    assert set(found.corrected) >= set(found.fingerprints) - exact


@pytest.mark.parametrize(
    ("text", "corrected"),
    [
        (A.lower(), [A]),
        (PAIRS, [B]),
        (PAIRS.replace(":", "::"), [B]),
        (f"{A} : {PAIRS} : ", [B]),
        (f"{A}::{B}", [A, B]),
        (f"{A} : {B}", []),
        (f"{A} \\\n\n", []),
    ],
)
def test_a_spelling_that_exim_never_matches_is_adopted_and_named(text: str, corrected: list[Fingerprint]) -> None:
    found = parse(MACRO, f"{MACRO} = {text}".encode())
    assert list(found.corrected) == corrected
    assert set(found.fingerprints) >= set(corrected)


@pytest.mark.parametrize("never", sorted(NEVER))
def test_a_hash_of_no_certificate_is_dropped_and_named(never: Fingerprint) -> None:
    found = parse(MACRO, f"{MACRO} = {never} : {A}".encode())
    assert (found.fingerprints, found.dropped) == ((A,), (never,))


@pytest.mark.parametrize("raw", [b"", b"\n", b"# nothing yet\n"])
def test_a_file_that_does_not_define_the_macro_is_absent(raw: bytes) -> None:
    found = parse(MACRO, raw)
    assert (found.form, found.fingerprints) == ("absent", ())
    assert found.digest != "-"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"perl_startup = do '/tmp/x'\n", "perl_startup"),
        (b"RELAY_FROM_CERTS = \nRELAY_FROM_CERTS == x\n", "line 2: neither a comment nor"),
        (b"RELAY_FROM_CERTS = \nRELAY_FROM_CERTS = \n", "again"),
        (b"RELAY_FROM_CERTS == \n", "line 1: neither"),
        (b".include /etc/shadow\n", ".include /etc/shadow"),
        (b"OTHER = 1\n", "OTHER"),
        (b"RELAY_FROM_CERTS_2 = \n", "move it to another file"),
        (b"RELAY_FROM_CERTS = " + A.encode() + b" # the laptop\n", "not understood at .*the laptop"),
        (b"RELAY_FROM_CERTS = ${run{/bin/id}}\n", "not understood"),
        (b"RELAY_FROM_CERTS = <; " + A.encode() + b"\n", "not understood"),
        (b"RELAY_FROM_CERTS = " + A[:-1].encode() + b"\n", "not understood"),
        (b"RELAY_FROM_CERTS = \\\n\n" + A.encode() + b"\n", "line 3: fingerprints outside the definition"),
        (b"RELAY_FROM_CERTS = \0" + A.encode() + b"\n", r"not understood at .*x00"),
        (b"# caf\xc3\xa9\n", "cannot be kept"),
        (b"# bell \x07\n", "cannot be kept"),
        (b"#\n" * 1001, "cannot be kept"),
        (b"RELAY_FROM_CERTS = \x85" + A.encode() + b"\n", "not understood"),
    ],
)
def test_a_foreign_line_stops_with_the_line_shown_and_escaped(raw: bytes, shown: str) -> None:
    with pytest.raises(PublishError, match=shown) as stopped:
        parse(MACRO, raw)
    assert stopped.value.outcome == "refused"
    assert stopped.value.message.isascii()
    assert stopped.value.message.isprintable()


def test_comments_that_the_new_list_makes_wrong_are_not_kept() -> None:
    raw = f"# Emptied when eximcertd was purged: Exim relays for nobody by certificate.\n# ours\n{MACRO} =\n".encode()
    assert parse(MACRO, raw).comments == ("# ours",)
    old = "# What is added here by hand is taken over; lines that begin with # are kept.\n"
    assert parse(MACRO, old.encode() + render(MACRO, "", [])).comments == ()


def test_a_list_of_100_000_is_parsed_in_linear_time() -> None:
    def seconds(number: int) -> float:
        listed = [Fingerprint(f"{index:064X}") for index in range(number)]
        rendered, by_hand = render(MACRO, list_value(listed), []), f"{MACRO} = {':'.join(listed)}\n".encode()
        began = time.process_time()
        for raw in (rendered, by_hand):
            assert parse(MACRO, raw).fingerprints == tuple(listed)
        return time.process_time() - began

    assert seconds(100_000) < 40 * max(seconds(10_000), 0.01)  # 10 times as long, and not 100


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(raw: bytes) -> None:
    with contextlib.suppress(PublishError):
        parse(MACRO, raw)
