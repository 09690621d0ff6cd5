"""The state table of engine/machine.py, cell by cell."""

from __future__ import annotations

from itertools import product

import pytest

from cohabit.engine import machine
from cohabit.engine.machine import (
    AT_REST,
    BACKOFF,
    ENDED,
    EVENTS,
    EXITED,
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
    ImpossibleEventError,
    next_state,
)

# The outcomes of VERDICT: those of engine/policy.py, and STOPPED when the service is to be down.
_VERDICTS = {STOPPED, BACKOFF, EXITED, FATAL}
_ABOUT_A_PROCESS = {
    machine.SPAWNED,
    machine.SPAWN_FAILED,
    machine.ENDED_ALONE,
    machine.LEFT_ORPHANS,
    machine.TREE_GONE,
}


def _next_states(state: str) -> set[str]:
    """The states that may follow this one directly."""
    cells = set(TABLE[state].values()) - {STAY, IMPOSSIBLE}
    return cells - {VERDICT} | (_VERDICTS if VERDICT in cells else set())


def _reachable(state: str) -> set[str]:
    """The states that may follow this one, directly or not."""
    found: set[str] = set()
    waiting = [state]
    while waiting:
        fresh = _next_states(waiting.pop()) - found
        found |= fresh
        waiting += fresh
    return found


@pytest.mark.parametrize(("state", "event"), list(product(STATES, EVENTS)))
def test_every_cell_is_a_state_stay_verdict_or_impossible(state: str, event: str) -> None:
    """Every pair of state and event has a cell, and next_state returns it."""
    cell = TABLE[state][event]
    if cell == IMPOSSIBLE:
        with pytest.raises(ImpossibleEventError, match=state):
            next_state(state, event)
    else:
        assert cell in {*STATES, VERDICT, STAY}
        assert next_state(state, event) == cell


def test_the_table_has_these_cells_and_no_others() -> None:
    """There is no undeclared state or event."""
    assert set(TABLE) == set(STATES)
    assert all(set(row) == set(EVENTS) for row in TABLE.values())


@pytest.mark.parametrize("state", STATES)
def test_every_state_has_a_successor(state: str) -> None:
    """From every state a service can reach RUNNING and one of the final states."""
    assert RUNNING in _reachable(state)
    assert ENDED & _reachable(state)


@pytest.mark.parametrize("state", STATES)
def test_every_state_is_reachable(state: str) -> None:
    """Each state can be reached from STOPPED."""
    assert state in _reachable(STOPPED)


@pytest.mark.parametrize("state", sorted(AT_REST))
def test_process_events_are_impossible_in_states_without_a_process(state: str) -> None:
    """Such an event is a bug and raises an error."""
    assert {event for event in _ABOUT_A_PROCESS if TABLE[state][event] == IMPOSSIBLE} == _ABOUT_A_PROCESS


@pytest.mark.parametrize("state", sorted(set(STATES) - AT_REST))
def test_every_state_with_processes_expects_their_end(state: str) -> None:
    """In a state with processes, some event stands for the end of the last one."""
    assert VERDICT in TABLE[state].values()


@pytest.mark.parametrize("state", STATES)
def test_a_request_is_never_impossible(state: str) -> None:
    """Start and stop can be requested in every state."""
    assert IMPOSSIBLE not in {TABLE[state][machine.START], TABLE[state][machine.STOP]}


def test_these_states_have_a_deadline() -> None:
    """Due is for the end of a back-off delay, of a grace period, and of the time until a run counts as started."""
    assert {state for state in STATES if TABLE[state][machine.DUE] != IMPOSSIBLE} == {STARTING, BACKOFF, STOPPING}


def test_a_service_starts_only_from_states_without_a_process() -> None:
    """So a service never has two instances."""
    assert {state for state in STATES if STARTING in _next_states(state)} == AT_REST


def test_a_stop_with_running_processes_goes_through_stopping() -> None:
    """A service with processes is never at rest."""
    assert TABLE[STARTING][machine.STOP] == TABLE[RUNNING][machine.STOP] == STOPPING
    assert TABLE[RUNNING][machine.LEFT_ORPHANS] == STOPPING
    assert TABLE[EXITED][machine.STOP] == TABLE[FATAL][machine.STOP] == STAY
