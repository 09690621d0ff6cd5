"""The real attribution of processes in many seeded worlds, and the proof that its checkers can fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sim.checker import Violation
from sim.ownership_mutants import MUTANTS, installed
from sim.ownership_world import CHECKERS, World
from sim.seeds import ownership_trace, ownership_verdict, warn_of_late

if TYPE_CHECKING:
    from sim.ownership_mutants import Mutant

_WORLDS = 200
_PARTS = 4
_SEEDS = 3000
# The first world that shows the defect, where it is a late one. It is tried first.
_SHOWN_BY = {
    "adopts_hook": 81,
    "keeps_ended_sessions": 399,
    "stops_any_group": 88,
    "forgets_too_early": 6985,
    "stops_groups_in_reused_sessions": 1011544,
    "overlooks_what_is_gone": 1017393,
}


@pytest.mark.parametrize("part", range(_PARTS))
def test_no_process_of_another_tree_is_touched(part: int) -> None:
    """Signals go to processes of their own tree only, and no process of a tree is left behind."""
    for seed in range(part, _WORLDS, _PARTS):
        assert not ownership_verdict(seed), ownership_trace(seed)


@pytest.mark.parametrize(("mutant", "checker"), MUTANTS, ids=lambda item: getattr(item, "__name__", ""))
def test_a_checker_finds_the_mutant(mutant: Mutant, checker: str) -> None:
    """The checker alone finds the defect within some worlds."""
    for seed in (_SHOWN_BY.get(mutant.__name__, 0), *range(_SEEDS)):
        world = World(seed, (checker,))
        try:
            with installed(mutant(world)):
                world.run()
        except Violation:
            warn_of_late(seed, mutant.__name__, _SHOWN_BY)
            return
        except Exception:  # noqa: BLE001, S112 - broken code may raise other errors
            continue
    pytest.fail(f"{checker} found nothing in {_SEEDS} worlds")


def test_every_checker_has_a_mutant() -> None:
    """No checker is without a mutant."""
    assert {checker for _, checker in MUTANTS} == set(CHECKERS)


def test_a_seed_is_reproducible() -> None:
    """The same seed has the same trace, line for line."""
    assert ownership_trace(7) == ownership_trace(7)
    assert ownership_trace(7) != ownership_trace(8)
