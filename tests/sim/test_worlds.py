"""The real engine in many seeded worlds, and in those where it failed once. `make sim` tries far more."""

from __future__ import annotations

import pytest

from sim.story import kept_seeds, story, verdict

_WORLDS = 2000
_PARTS = 10


@pytest.mark.parametrize("part", range(_PARTS))
def test_the_rules_of_life_hold_in_every_world(part: int) -> None:
    """Whatever a seeded world does to the engine, no judge has anything to say."""
    for seed in range(part, _WORLDS, _PARTS):
        assert not verdict(seed), story(seed)


@pytest.mark.parametrize("seed", kept_seeds())
def test_what_failed_once_holds_for_ever(seed: int) -> None:
    """A seed that found a defect is replayed for ever."""
    assert not verdict(seed), story(seed)


def test_a_seed_is_the_whole_story() -> None:
    """The same seed tells the same story, word for word."""
    assert story(7) == story(7)
    assert story(7) != story(8)
