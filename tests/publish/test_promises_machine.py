"""The model of the guarantees (lab/promises.py) holds, and each of five faults, put in deliberately, makes it fail."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from lab.promises import Promises

from eximcertd.publication import attempt, manual_edits
from eximcertd.publish import secure_files
from eximcertd.publish.error import PublishError
from eximcertd.reload import program

if TYPE_CHECKING:
    from collections.abc import Callable

    from eximcertd.publish.request import Found

MODEL = settings(
    report_multiple_bugs=False,
    phases=[Phase.generate, Phase.shrink],
    max_examples=int(os.environ.get("EXIMCERTD_EXAMPLES", "300")),
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_the_promises_hold_whatever_happens() -> None:
    run_state_machine_as_test(Promises, settings=MODEL)


def live_by_comparing_lists(stack: ExitStack) -> None:
    """Take a list that stands already for live, whether Exim has loaded this file or not."""
    real = attempt.publish

    async def publish(programs: Any, wanted: Any, found: Found, confirmed: Any) -> Any:
        return await real(programs, wanted, found, attempt.identity(found) if wanted.matches(found) else confirmed)

    stack.enter_context(patch.object(attempt, "publish", publish))


def adoption_against_the_decisions(stack: ExitStack) -> None:
    """Take the difference between the file and the decisions for a manual edit, not that to what was published."""
    real = manual_edits.ManualEdits.take

    async def take(self: manual_edits.ManualEdits, found: Any) -> None:
        wanted = self._ledger.publications.wanted()
        compare = manual_edits.difference
        with patch.object(manual_edits, "difference", lambda found, *_: compare(found, wanted, wanted)):
            await real(self, found)

    stack.enter_context(patch.object(manual_edits.ManualEdits, "take", take))


def an_empty_list_on_a_read_error(stack: ExitStack) -> None:
    """Take a file that cannot be read for one that is not there."""
    real = secure_files.SecureDirectory.read

    def read(self: secure_files.SecureDirectory, name: str, largest: int) -> Any:
        try:
            return real(self, name, largest)
        except PublishError:
            return None

    stack.enter_context(patch.object(secure_files.SecureDirectory, "read", read))


def a_hup_before_validating(stack: ExitStack) -> None:
    """Exim is reloaded first, and what it reloads is validated after."""
    answer = program._answer

    def hup_first(*given: Any) -> Any:
        twins: Any = vars(program)
        with patch.object(program, "live", lambda *given, live=twins["live"]: [twins["load"](), live(*given)][1]):
            return answer(*given)

    stack.enter_context(patch.object(program, "_answer", hup_first))


def reconciliation_against_an_empty_ledger(stack: ExitStack) -> None:
    """Do not rebuild a lost ledger from what stands, and let an empty list follow from it."""
    real = manual_edits.ManualEdits.adopt

    def adopt(self: manual_edits.ManualEdits, added: Any, note: str) -> Any:
        return real(self, [] if "first start" in note else added, note)

    stack.enter_context(patch.object(manual_edits.ManualEdits, "adopt", adopt))


@pytest.mark.parametrize(
    ("fault", "broken"),
    [
        (live_by_comparing_lists, "live was said, and Exim honours something else|locked out|relays"),
        (adoption_against_the_decisions, "was approved, and is locked out"),
        (an_empty_list_on_a_read_error, "is locked out"),
        (a_hup_before_validating, "HUP on a configuration that did not pass"),
        (reconciliation_against_an_empty_ledger, "is locked out"),
    ],
)
def test_the_model_fails_when_a_fault_is_put_in(fault: Callable[[ExitStack], None], broken: str) -> None:
    hunting = settings(MODEL, max_examples=1000, phases=[Phase.generate], print_blob=False, database=None)
    with ExitStack() as stack:
        fault(stack)
        with pytest.raises(AssertionError, match=broken):
            run_state_machine_as_test(Promises, settings=hunting)
