"""Certificates that claim an approved authority, or that Exim alone verifies: none relays, and none is enrolled."""

from __future__ import annotations

import concurrent.futures
from typing import TYPE_CHECKING

from lab.authorities import NOW, SERVER, Signer, by_openssl
from lab.authority import add, both, relay
from lab.certificates import DAY
from lab.smtp import ask

if TYPE_CHECKING:
    from pathlib import Path

    from lab.certificates import Identity

    from eximcertd.cli.setup.clauses import Recipe

SITE = Signer("Site CA")
RSA = Signer("Site RSA", key="rsa")
PUBLIC = Signer("Another CA")
CLIENT = Signer("laptop.example")  # self-signed with CA:TRUE, as `openssl req -x509` makes it


def attacks() -> dict[str, tuple[Signer, tuple[Signer, ...]]]:
    """Return certificates that Exim alone verifies, or that claim the authority, and what is sent along with each."""
    below, twin, second = (
        Signer("Site Intermediate", SITE, pathlen=0),
        Signer("Site CA", PUBLIC),
        Signer("Site CA", CLIENT),
    )
    deep = Signer("Lower", below)
    return {
        "of an intermediate of the authority": (below.issue("a.example"), (below,)),
        "of a twin intermediate under another CA": (twin.issue("a.example"), (twin,)),
        "of a twin root": (Signer("Site CA").issue("a.example"), ()),
        "self-signed with the authority's name": (Signer("Site CA", ca=False), ()),
        "expired": (SITE.issue("a.example", not_before=NOW - 9 * DAY, not_after=NOW - DAY), ()),
        "not yet valid": (SITE.issue("a.example", not_before=NOW + DAY), ()),
        "for servers only": (SITE.issue("a.example", purposes=[SERVER]), ()),
        "of a client's certificate of the authority": (SITE.issue("b.example").issue("a.example"), ()),
        "a CA below the authority": (below, ()),
        "of a waiting client's CA:TRUE": (CLIENT.issue("a.example"), ()),
        "of a waiting client's CA:TRUE, as a twin": (second.issue("a.example"), (second,)),
        "of another CA, with the authority's certificate along": (PUBLIC.issue("a.example"), (SITE,)),
        "with a key of RSA 1024": (SITE.issue("a.example", key="rsa1024"), ()),
        "with a name outside the patterns": (SITE.issue("a.other"), ()),
        "below an intermediate whose path length is 0": (deep.issue("a.example"), (deep, below)),
    }


def weak(directory: Path) -> dict[str, Identity]:
    """Return certificates that the authorities have signed, and that are too weak to be theirs for certain."""
    leaf = "basicConstraints=CA:FALSE\nsubjectAltName=DNS:client7.example"
    return {
        "X.509 version 1": by_openssl(SITE, directory),
        "a signature with SHA-1": by_openssl(SITE, directory, "-sha1", extensions=leaf),
        "an RSA signature with SHA-1": by_openssl(RSA, directory, "-sha1", extensions=leaf),
        "a signature with MD5": by_openssl(RSA, directory, "-md5", extensions=leaf),
    }


@both
def test_no_attack_relays_and_none_is_enrolled(recipe: Recipe, tmp_path: Path) -> None:
    tried = {attack: leaf.identity(tmp_path, *chain) for attack, (leaf, chain) in attacks().items()} | weak(tmp_path)
    with relay(recipe, *(one.identity(tmp_path) for one in (SITE, RSA, PUBLIC, CLIENT))) as (exim, daemon):
        daemon.start()
        for authority in (SITE, RSA):
            add(daemon, tmp_path, authority, "--name", "*.example")
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = dict(
                zip(tried, pool.map(lambda leaf: ask(exim.port, leaf, limit=30), tried.values()), strict=True)
            )
        # 451: it names the authority, so that Exim looks twice
        assert [attack for attack, answer in answers.items() if not (answer.refused or answer.deferred)] == []
        honest = SITE.issue("client7.example")
        assert ask(exim.port, honest.identity(tmp_path)).accepted
        entries = daemon.entries()  # the log is read in its order: the attacks came before
        assert [name for name, entry in entries.items() if entry["standing"] == "approved"] == [honest.fingerprint]
        if recipe == "pinned":  # with the other one, some are no attempt: Exim does not verify them
            assert {entries[leaf.fingerprint]["standing"] for leaf in tried.values()} == {"pending"}
