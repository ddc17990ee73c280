"""The one entry point for decisions on authorities, and for the approvals that follow from them.

As in decide.py: ledger, event, watchers, in this order and always all three. The rules are the facts of the
certificate (authorities/) and of the machine (a public CA's is refused), which the caller has established.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eximcertd.certificates.names import cut
from eximcertd.errors import UsageError
from eximcertd.events import Event
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from eximcertd.authorities.authority import Authority
    from eximcertd.decisions.decide import Decider
    from eximcertd.fingerprint import Fingerprint
    from eximcertd.journal import Recorder
    from eximcertd.ledger import Ledger
    from eximcertd.ledger.authorities import Enrolment
    from eximcertd.ledger.decisions import Decision


class AuthorityDecider:
    """Decides on authorities; lives in the loop's thread. decider: its watchers learn of the approvals that follow."""

    def __init__(self, ledger: Ledger, decider: Decider, recorder: Recorder) -> None:
        self._ledger = ledger
        self._decider = decider
        self._recorder = recorder

    def add(
        self,
        decision: Decision,
        authority: Authority,
        hashes: Iterable[str] = (),
        replaced: Iterable[Fingerprint] = (),
    ) -> None:
        """Approve an authority. hashes: of its name as Exim prints it. Raises UsageError, LedgerError.

        replaced: approved certificates of the same name and key, which this one renews.
        """
        if self._repeated(decision):
            return
        self._ledger.authorities.add(
            decision, authority.der, authority.patterns, authority.crl, hashes=hashes, replaced=replaced
        )
        self._record(Event.AUTHORITY_APPROVED, "was approved", decision, authority.name)

    def withdraw(self, decision: Decision, name: str) -> None:
        """Withdraw an authority; its approvals end with publication/ending.py. name: its own.

        Raises UsageError, LedgerError.
        """
        if self._repeated(decision):
            return
        ending = self._ledger.authorities.counts().get(decision.fingerprint, 0)
        self._ledger.authorities.withdraw(decision)
        what = f"was withdrawn, and {ending} approvals with it,"
        self._record(Event.AUTHORITY_WITHDRAWN, what, decision, name, COUNT=str(ending))

    def enrol(self, enrolments: Sequence[Enrolment], now: int) -> list[Fingerprint]:
        """Approve the certificates that authorities have issued; return those that were pending. Raises LedgerError."""
        approved = self._ledger.authorities.enrol(enrolments, now)
        if not approved:
            return []
        of = {one.identity.fingerprint: one for one in enrolments}
        for name in approved[:1] if len(approved) == 1 else ():
            one = of[name]
            self._recorder.record(
                Event.ENROLLED,
                f"{name} ({clean(one.identity.subject)}) is approved by authority {one.authority}",
                FINGERPRINT=name,
                SUBJECT=one.identity.subject,
                AUTHORITY=one.authority,
            )
        if len(approved) > 1:
            text = f"{len(approved)} certificates of approved authorities are approved"
            self._recorder.record(Event.ENROLLED, text, COUNT=str(len(approved)))
        for watcher in self._decider.watchers:
            watcher(approved)
        return approved

    def _repeated(self, decision: Decision) -> bool:
        before = self._ledger.decisions.of_request(decision.request or "")
        if any((one.verb, one.fingerprint) != (decision.verb, decision.fingerprint) for one in before):
            raise UsageError("the request id was used for another decision")
        return bool(before)

    def _record(self, event: Event, what: str, decision: Decision, name: str, **more: str) -> None:
        self._recorder.record(
            event,
            f"The authority {decision.fingerprint} ({clean(cut(name))}) {what} by {decision.by}",
            AUTHORITY=decision.fingerprint,
            SUBJECT=name,
            BY=decision.by,
            NOTE=decision.note,
            **more,
        )
