"""The guarantees of docs/design.md as a model: anything may happen, at any time, and they hold.

Hypothesis decides, edits by hand, restores old files, breaks Exim's configuration, loses the ledger, and kills
publisher and eximcertd before any change that they make. The code is the real one; Exim is a twin (lab.world).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from eximcertd.errors import RefusedError
from eximcertd.fingerprint import Fingerprint
from eximcertd.publish import macrofile
from eximcertd.status import Verb
from lab.world import MACRO, World

if TYPE_CHECKING:
    from collections.abc import Callable

FINGERPRINTS = [Fingerprint(character * 64) for character in "1A2B"]
one = st.sampled_from(FINGERPRINTS)
some = st.lists(one, unique=True, min_size=1, max_size=3)
kills = st.none() | st.tuples(st.sampled_from(["publish", "reload", "daemon", "all"]), st.integers(0, 45))


class Promises(RuleBasedStateMachine):
    """approved: what a person ever approved or wrote into the file. said: the last decision acknowledged of each.

    sure: approved and seen live, so not to be locked out by any crash. out: revoked and seen live, so not to
    relay whatever crashes. A hand that edits the file takes its fingerprints out of both. removed_by_hand: taken out
    of the file, which an approval settles. touched: by a hand, and eximcertd has not looked since.
    """

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.approved: set[str] = set()
        self.said: dict[str, Verb] = {}
        self.sure: set[str] = set()
        self.out: set[str] = set()
        self.removed_by_hand: set[str] = set()
        self.backups: list[bytes] = []
        self.touched = False

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:
                self.settle()
        finally:
            self.world.close()

    @initialize(by_hand=st.lists(one, unique=True))
    def begin(self, by_hand: list[Fingerprint]) -> None:
        self.write(by_hand)
        self.world.exim.load()
        self.world.start()
        self.note(looked=True)

    # what persons do

    @precondition(lambda self: self.world.up)
    @rule(
        fingerprint=one,
        verb=st.sampled_from([Verb.APPROVE, Verb.REVOKE, Verb.REJECT]),
        kill=kills,
        hurt=st.none() | st.integers(0, 12),
    )
    def decide(self, fingerprint: Fingerprint, verb: Verb, kill: Any, hurt: int | None) -> None:
        if kill:
            self.world.plan(*kill)
        if hurt is not None:
            self.world.plan_break(hurt)
        before = set(self.sure), set(self.out)
        self.sure.discard(fingerprint)
        self.out.discard(fingerprint)
        if verb is Verb.APPROVE:
            self.approved.add(fingerprint)  # maybe; what was not decided is not published, which settle sees
        try:
            decided = self.world.decide(verb, fingerprint)
        except RefusedError:
            self.sure, self.out = before
        else:
            if decided:
                self.said[fingerprint] = verb
                standing = self.standing()
                if standing is None or fingerprint in standing:
                    self.removed_by_hand.discard(fingerprint)  # else the hand's removal is still to be seen
            else:
                self.said.pop(fingerprint, None)  # the outcome is unknown
        self.world.calm()
        self.note()

    @rule(fingerprints=some, spelling=st.sampled_from([str.upper, str.lower]))
    def add_by_hand(self, fingerprints: list[Fingerprint], spelling: Callable[[str], str]) -> None:
        standing = self.standing()
        if standing is not None:
            self.approved.update(fingerprints)
            self.out -= set(fingerprints)
            self.write([*standing, *(spelling(item) for item in fingerprints if item not in standing)])

    @rule(fingerprints=some)
    def remove_by_hand(self, fingerprints: list[Fingerprint]) -> None:
        standing = self.standing()
        if standing is not None:
            gone = set(fingerprints) & set(standing)
            self.removed_by_hand |= gone
            self.sure -= gone
            self.write([item for item in standing if item not in gone])

    @rule()
    def keep_a_backup(self) -> None:
        if self.standing() is not None:
            self.backups.append(self.world.file.read_bytes())

    @precondition(lambda self: self.backups)
    @rule(data=st.data())
    def restore_an_old_file(self, data: st.DataObject) -> None:
        if self.standing() is None:
            return
        before = set(self.standing() or ())
        self.world.file.write_bytes(data.draw(st.sampled_from(self.backups)))
        after = set(self.standing() or ())
        self.removed_by_hand |= before - after
        self.sure -= before - after
        raw = self.world.file.read_bytes()
        # a spelling that Exim does not match locks out at once: it was a hand that put it back
        self.sure -= {one for one in after if one.encode() not in raw}
        self.out -= after
        self.touched = True

    @rule()
    def restart_exim(self) -> None:
        self.world.exim.load()
        self.note()

    @rule()
    def break_or_mend_the_configuration(self) -> None:
        self.world.exim.broken = not self.world.exim.broken

    @precondition(lambda self: self.world.file.exists())
    @rule()
    def make_the_file_unsafe_or_safe_again(self) -> None:
        self.world.file.chmod(0o666 if self.safe() else 0o644)

    @precondition(lambda self: self.world.up)
    @rule(form=st.sampled_from(["list", "directory"]), kill=kills)
    def change_the_form(self, form: str, kill: Any) -> None:
        if kill:
            self.world.plan(*kill)
        self.world.allowlist = self.world.allowlist._replace(form=form)
        assert self.world.publication is not None
        self.world.publication.allowlist = self.world.allowlist
        self.world.run(self.world.publication.republish)
        self.world.calm()
        self.note()

    # what happens by itself

    @rule(kill=kills)
    def restart_eximcertd(self, kill: Any) -> None:
        self.world.stop()
        if kill:
            self.world.plan(*kill)
        self.world.start()
        self.world.calm()
        self.note(looked=not kill)

    @precondition(lambda self: self.world.up)
    @rule(kill=kills, look=st.booleans())
    def try_again(self, kill: Any, look: bool) -> None:
        if kill:
            self.world.plan(*kill)
        assert self.world.publication is not None
        self.world.run(self.world.publication.verify if look else self.world.publication.settle)
        self.world.calm()
        self.note(looked=look and not kill)

    @rule(in_misery=st.booleans())
    def lose_the_ledger(self, in_misery: bool) -> None:
        self.world.stop()
        self.world.lose_ledger()
        standing = self.standing()
        if standing is None:  # in the directory form the directory is what is left
            standing = [path.name for path in self.world.allowed.path.iterdir()]
        self.said = dict.fromkeys(map(Fingerprint, standing), Verb.APPROVE)
        self.out = set()  # that they were revoked was in the ledger alone
        self.sure &= set(standing)
        self.removed_by_hand = set()
        if in_misery and self.world.file.exists():  # a start that cannot read what stands either
            self.world.file.chmod(0o666)
            self.world.start()

    # what must hold

    @invariant()
    def no_client_relays_that_no_person_approved(self) -> None:
        assert self.world.exim.honoured() <= self.approved

    @invariant()
    def no_approved_client_is_locked_out_and_no_revoked_one_relays(self) -> None:
        if self.world.exim.running:
            honoured = self.world.exim.honoured()
            assert self.sure <= honoured, "an approved client is locked out"
            assert not self.out & honoured, "a client that was revoked relays"

    def note(self, *, looked: bool = False) -> None:
        """See what is claimed to be live, and hold Exim to it from now on.

        What a hand did to the file counts from when eximcertd looked at it; a look that failed is none.
        """
        world = self.world
        if looked and world.up and self.safe():
            self.touched = False
        if not world.up or world.publication is None or not world.publication.live or not world.exim.running:
            return
        if world.publication.state.outcome != "live" or self.touched:
            return
        assert world.exim.honoured() == world.wanted(), "live was said, and Exim honours something else"
        self.sure = set(world.wanted())
        self.out = {str(item) for item in FINGERPRINTS} - self.sure

    @rule()
    def settle(self) -> None:
        """Mend everything, let eximcertd have its way, and hold Exim against what was decided."""
        world = self.world
        world.exim.broken = False
        if world.file.exists():
            world.file.chmod(0o644)
        if not world.exim.running:
            world.exim.load()
        if not world.up:
            world.start()
        assert world.publication is not None
        world.allow_shrink = True  # root's option, should everybody have to go
        world.run(world.publication.verify)
        world.run(world.publication.settle)
        world.allow_shrink = False
        assert world.publication.live, world.publication.state
        honoured = world.exim.honoured()
        assert honoured == world.wanted()
        for fingerprint, verb in self.said.items():
            if verb is not Verb.APPROVE:
                assert fingerprint not in honoured, f"{fingerprint[:4]} was revoked, and relays"
            elif fingerprint not in self.removed_by_hand:
                assert fingerprint in honoured, f"{fingerprint[:4]} was approved, and is locked out"
        self.note(looked=True)

    # helpers

    def safe(self) -> bool:
        return not self.world.file.exists() or not self.world.file.stat().st_mode & 0o022

    def standing(self) -> list[str] | None:
        """Return the fingerprints in the file, None in the directory form."""
        file = self.world.file
        found = macrofile.parse(MACRO, file.read_bytes() if file.exists() else None)
        return None if found.form == "directory" else list(found.fingerprints)

    def write(self, fingerprints: list[Any]) -> None:
        text = f"{MACRO} = {' : '.join(fingerprints)}\n"
        edited = self.world.file.with_name("edited")
        edited.write_text(text)
        edited.chmod(0o644 if self.safe() else 0o666)
        edited.rename(self.world.file)
        self.touched = True
        self.approved |= {item.upper() for item in fingerprints}
