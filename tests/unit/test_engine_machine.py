"""The table of engine/machine.py, walked cell by cell."""

from __future__ import annotations

from itertools import product

import pytest

from cohabit.engine import machine
from cohabit.engine.machine import (
    AT_REST,
    BACKOFF,
    ENDED,
    EXITED,
    FACTS,
    FATAL,
    IMPOSSIBLE,
    RUNNING,
    STARTING,
    STATES,
    STAY,
    STOPPED,
    STOPPING,
    TABLE,
    VERDICT,
    ImpossibleFactError,
    next_state,
)

# Where a verdict can lead: engine/policy.py, or STOPPED when the service is wanted down.
_VERDICTS = {STOPPED, BACKOFF, EXITED, FATAL}
_ABOUT_A_PROCESS = {
    machine.SPAWNED,
    machine.SPAWN_FAILED,
    machine.ENDED_ALONE,
    machine.LEFT_ORPHANS,
    machine.TREE_GONE,
}


def _next_states(state: str) -> set[str]:
    """Every state that may follow this one, by whatever fact."""
    cells = set(TABLE[state].values()) - {STAY, IMPOSSIBLE}
    return cells - {VERDICT} | (_VERDICTS if VERDICT in cells else set())


def _reachable(state: str) -> set[str]:
    """Every state that can come after this one, sooner or later."""
    found: set[str] = set()
    waiting = [state]
    while waiting:
        fresh = _next_states(waiting.pop()) - found
        found |= fresh
        waiting += fresh
    return found


@pytest.mark.parametrize(("state", "fact"), list(product(STATES, FACTS)))
def test_every_cell_is_a_move_an_explicit_stay_or_impossible(state: str, fact: str) -> None:
    """Every pair of a state and a fact has an answer, and next_state gives it."""
    cell = TABLE[state][fact]
    if cell == IMPOSSIBLE:
        with pytest.raises(ImpossibleFactError, match=state):
            next_state(state, fact)
    else:
        assert cell in {*STATES, VERDICT, STAY}
        assert next_state(state, fact) == cell


def test_the_table_has_these_cells_and_no_others() -> None:
    """A state or a fact that nobody named cannot slip in."""
    assert set(TABLE) == set(STATES)
    assert all(set(row) == set(FACTS) for row in TABLE.values())


@pytest.mark.parametrize("state", STATES)
def test_every_state_has_a_way_on(state: str) -> None:
    """From every state a service can come to run, and can come to rest for good."""
    assert RUNNING in _reachable(state)
    assert ENDED & _reachable(state)


@pytest.mark.parametrize("state", STATES)
def test_every_state_can_come_about(state: str) -> None:
    """Nothing in the table is dead: each state follows from the first one."""
    assert state in _reachable(STOPPED)


@pytest.mark.parametrize("state", sorted(AT_REST))
def test_no_fact_about_a_process_can_come_where_there_is_none(state: str) -> None:
    """A state at rest has no process, so that a fact about one is a bug, and is called so."""
    assert {fact for fact in _ABOUT_A_PROCESS if TABLE[state][fact] == IMPOSSIBLE} == _ABOUT_A_PROCESS


@pytest.mark.parametrize("state", sorted(set(STATES) - AT_REST))
def test_where_a_process_is_its_end_is_expected(state: str) -> None:
    """In a state with processes, some fact tells of the end of the last one."""
    assert VERDICT in TABLE[state].values()


@pytest.mark.parametrize("state", STATES)
def test_a_wish_is_never_impossible(state: str) -> None:
    """To start and to stop can be asked for in every state."""
    assert IMPOSSIBLE not in {TABLE[state][machine.START], TABLE[state][machine.STOP]}


def test_only_what_runs_or_is_being_stopped_has_a_deadline_besides_the_backoff() -> None:
    """Due is for a back-off and for the end of a grace; elsewhere nobody sets a timer."""
    assert {state for state in STATES if TABLE[state][machine.DUE] != IMPOSSIBLE} == {BACKOFF, STOPPING}


def test_a_service_is_started_from_rest_only() -> None:
    """STARTING follows from states without a process, and from no other: never two of one."""
    assert {state for state in STATES if STARTING in _next_states(state)} == AT_REST


def test_nothing_is_at_rest_while_its_processes_are_being_ended() -> None:
    """Whoever is told to stop with processes around goes through STOPPING."""
    assert TABLE[STARTING][machine.STOP] == TABLE[RUNNING][machine.STOP] == STOPPING
    assert TABLE[RUNNING][machine.LEFT_ORPHANS] == STOPPING
    assert TABLE[EXITED][machine.STOP] == TABLE[FATAL][machine.STOP] == STAY
