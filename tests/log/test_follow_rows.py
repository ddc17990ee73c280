"""All that happens to a log: nothing is lost and nothing counted twice, wherever the looks fall between.

The rows are the stories of lab/log_rotations.py and lab/log_mishaps.py.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import pytest
from lab import log_mishaps, log_rotations
from lab.log import Following, Log, Looking

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lab.log_rotations import Story

STORIES: Final = [*log_rotations.STORIES, *log_mishaps.STORIES]

NOT_AFTER_A_RESTART: Final = {"lines_to_a_deleted_file"}
"""What a restart destroys: nobody holds the deleted file then."""

NOT_WHEN_ALL_IS_ALIKE: Final = {"copied_by_hand", "edited_in_place_by_sed"}
"""A copy without a reason for one is told from another log by its lines alone."""

NOT_UNSEEN_WHEN_ALL_IS_ALIKE: Final = {
    *NOT_WHEN_ALL_IS_ALIKE,
    "renamed_and_created_with_more_lines_to_the_old_descriptor",
    "half_an_entry_and_the_rest_later",
}
"""Two files with the same lines to the byte, both written to in the same instant, neither of them seen before."""

rows = pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)


def play(story: Story, directory: Path, choose: Callable[[], str], *, still: bool = False) -> None:
    """Play a story; at each pause do as chosen: "look", "restart" (and look), "kill" (and no look), "nothing"."""
    path = directory / "log" / "mainlog"
    path.parent.mkdir()
    log, looking = Log(path, still=still), Looking(path)
    looking.look()
    for must in story(path, log):
        choice = choose()
        if choice in {"restart", "kill"}:
            looking.kill()
        if must or choice in {"look", "restart"}:
            looking.look()
            taken = looking.twin.taken()
            assert not taken - log.written, "counted twice"
            assert not must or taken == log.written
    looking.look()
    assert looking.twin.taken() == log.written
    looking.start()
    looking.look()
    assert looking.twin.taken() == log.written, "after a restart with nothing new"
    looking.kill()
    log.close()


@rows
@pytest.mark.parametrize("still", [False, True], ids=["", "all-in-one-second"])
@pytest.mark.parametrize("choice", ["look", "nothing"])
def test_each_line_counts_once_wherever_the_looks_fall(story: Story, choice: str, still: bool, tmp_path: Path) -> None:
    alike = NOT_WHEN_ALL_IS_ALIKE if choice == "look" else NOT_UNSEEN_WHEN_ALL_IS_ALIKE
    if still and story.__name__ in alike:
        pytest.skip("such files are told apart by their lines alone")
    play(story, tmp_path, lambda: choice, still=still)


@rows
@pytest.mark.parametrize("choice", ["restart", "kill"])
def test_each_line_counts_once_over_restarts(story: Story, choice: str, tmp_path: Path) -> None:
    if story.__name__ in NOT_AFTER_A_RESTART:
        pytest.skip("a restart lets a deleted file go")
    play(story, tmp_path, lambda: choice)


@rows
@pytest.mark.parametrize("seed", range(5))
def test_each_line_counts_once_whatever_falls_together(story: Story, seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret
    choices = ["look", "nothing", "restart", "kill"]
    if story.__name__ in NOT_AFTER_A_RESTART:
        choices = ["look", "nothing"]
    play(story, tmp_path, lambda: chance.choice(choices))


@rows
def test_each_line_counts_once_while_a_thread_follows(story: Story, tmp_path: Path) -> None:
    path = tmp_path / "log" / "mainlog"
    path.parent.mkdir()
    log = Log(path)
    with Following(path) as following:
        for must in story(path, log):
            if must:
                following.expect(log.written)
        following.expect(log.written)
    log.close()
