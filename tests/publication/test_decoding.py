"""Reading the answers of the two programs: what is no answer is told with what is wrong."""

from __future__ import annotations

import json

import pytest

from eximcertd.publication.ask import decode_publish, decode_reload

RELOADED = {
    "outcome": "loaded", "step": "", "message": "", "exim": "", "rewritten_by": None,
    "daemons": [{"pid": 7, "loaded_at": 1.5}], "timings": {"validate": 0.1},
}  # fmt: skip


def test_an_answer_of_the_reload_part_is_read_and_its_texts_are_escaped() -> None:
    answer = decode_reload(json.dumps(RELOADED | {"message": "\x1b[2J", "exim": "x" * 9999}).encode() + b"\n")
    assert (answer.outcome, answer.message, len(answer.exim)) == ("loaded", "\\x1b[2J", 2000)
    assert [(daemon.pid, daemon.loaded_at) for daemon in answer.daemons] == [(7, 1.5)]


@pytest.mark.parametrize(
    "odd",
    [
        {"outcome": "done"}, {"outcome": ["loaded"]}, {"outcome": None}, {"message": 7}, {"daemons": None},
        {"daemons": [7]}, {"daemons": [{"pid": "7", "loaded_at": 1}]}, {"daemons": [{"pid": -7, "loaded_at": 1}]},
        {"daemons": [{"pid": 1 << 40, "loaded_at": 1}]}, {"daemons": [{"pid": 7, "loaded_at": 1e300}]},
        {"daemons": [{"pid": 7, "loaded_at": float("nan")}]}, {"daemons": [{"pid": True, "loaded_at": 1}]},
        {"timings": []},
    ],
)  # fmt: skip
def test_what_exims_user_could_answer_instead_is_no_answer(odd: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_reload(json.dumps(RELOADED | odd).encode() + b"\n")


@pytest.mark.parametrize("raw", [b"", b"[]\n", b"null\n", b"[" * 100_000 + b"\n", b"{}", b"\xff\n"])
def test_what_is_no_object_is_no_answer(raw: bytes) -> None:
    for decode in (decode_publish, decode_reload):
        with pytest.raises(ValueError, match=r"."):
            decode(raw)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "it is empty"),
        (b'{"outcome": "done"', "it does not end with a whole line"),
        (b"7\n", "it is not a JSON object"),
        (b'{"outcome": "done"}\n', "it does not have the expected fields"),
        (b'{"outcome": "done", "found": null, "more": 1}\n', "it does not have the expected fields"),
        (b'{"outcome": "done", "found": {"form": "list", "size": 1}}\n', "it does not have the expected fields"),
        (b'{"outcome": "done", "found": 7}\n', "it does not have the expected fields"),
        (b'{"outcome": "d\\u001b", "found": null}\n', r"the outcome 'd\\x1b' is unknown"),
        (b'{"outcome": "%s", "found": null}\n' % (b"x" * 99), "the outcome 'x{39} is unknown"),
    ],
)
def test_an_answer_of_roots_part_that_is_none_is_told_with_what_is_wrong(raw: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        decode_publish(raw)


def test_an_answer_of_roots_part_is_read_whole() -> None:
    fingerprints = [f"{number:064X}" for number in range(2)]
    found = {"form": "list", "fingerprints": fingerprints, "digest": "d", "inode": 7, "comments": ["# a"]}
    answer = decode_publish(json.dumps({"outcome": "changed", "message": "m", "found": found}).encode() + b"\n")
    assert answer.outcome == "changed"
    assert answer.found is not None
    assert answer.found.fingerprints == tuple(fingerprints)
    assert (answer.found.comments, answer.found.inode, answer.found.corrected) == (("# a",), 7, ())


@pytest.mark.parametrize(
    ("daemon", "fine"),
    [
        ({"pid": 1, "loaded_at": None}, True),
        ({"pid": 1 << 22, "loaded_at": 1}, True),
        ({"pid": (1 << 22) + 1, "loaded_at": 1.5}, False),
        ({"pid": 0, "loaded_at": 1.5}, False),
        ({"pid": 7}, True),
        ({"pid": 7, "loaded_at": 0}, False),
        ({"pid": 7, "loaded_at": 1e11}, False),
        ({"pid": 7, "loaded_at": "1"}, False),
    ],
)
def test_a_daemon_has_a_process_id_and_a_time_that_can_be(daemon: dict[str, object], fine: bool) -> None:
    raw = json.dumps(RELOADED | {"daemons": [daemon]}).encode() + b"\n"
    if fine:
        (read,) = decode_reload(raw).daemons
        assert (read.pid, read.loaded_at) == (daemon["pid"], daemon.get("loaded_at"))
    else:
        with pytest.raises(ValueError, match="a daemon has no"):
            decode_reload(raw)


def test_an_unknown_outcome_of_the_reload_part_is_shown_in_part() -> None:
    with pytest.raises(ValueError, match=r"the outcome 'x{39} is unknown"):
        decode_reload(json.dumps(RELOADED | {"outcome": "x" * 99}).encode() + b"\n")


def test_timings_that_are_no_numbers_are_left_out_and_their_names_are_escaped() -> None:
    odd = {"validate": 0.5, "load": "long", "\x1b" + "x" * 30: 1.0}
    answer = decode_reload(json.dumps(RELOADED | {"timings": odd, "rewritten_by": "DB"}).encode() + b"\n")
    assert answer.timings == {"validate": 0.5, "\\x1b" + "x" * 19: 1.0}
    assert answer.rewritten_by == "DB"
    assert decode_reload(json.dumps(RELOADED).encode() + b"\n").rewritten_by is None
