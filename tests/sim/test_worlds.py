"""The real engine in many seeded worlds, and in those that failed once. `make sim` tries far more."""

from __future__ import annotations

import pytest

from sim.seeds import kept_seeds, trace, verdict

_WORLDS = 2000
_PARTS = 10


@pytest.mark.parametrize("part", range(_PARTS))
def test_the_engine_keeps_the_rules_in_every_world(part: int) -> None:
    """No checker finds a violation in any world."""
    for seed in range(part, _WORLDS, _PARTS):
        assert not verdict(seed), trace(seed)


@pytest.mark.parametrize("seed", kept_seeds())
def test_a_seed_that_failed_once_passes(seed: int) -> None:
    """Every run replays the seeds that found a defect."""
    assert not verdict(seed), trace(seed)


def test_a_seed_is_reproducible() -> None:
    """The same seed has the same trace, line for line."""
    assert trace(7) == trace(7)
    assert trace(7) != trace(8)
