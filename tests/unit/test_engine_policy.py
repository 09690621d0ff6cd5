"""engine/policy.py: whether and when a service that ended starts again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.engine import policy
from cohabit.engine.machine import BACKOFF, EXITED, FATAL
from cohabit.engine.policy import Verdict, backoff_seconds, failed_start
from cohabit.plan.model import Restart, Startup

_ALWAYS = Restart("always")
_ON_FAILURE = Restart("on-failure")
_NO_RESOURCES = 71

_RESTARTS = st.builds(
    Restart,
    st.sampled_from(["no", "on-failure", "always"]),
    st.none() | st.integers(1, 5),
    st.none() | st.floats(0, 300),
    st.floats(0, 100),
)


def verdict(restart: Restart, code: int, ran_seconds: float, restarts: int, *, started: bool) -> Verdict:
    """The verdict for a service whose only expected exit code is 0."""
    return policy.verdict(restart, code, ran_seconds, restarts, started=started, failure=code != 0)


def test_start_retries_are_supervisords() -> None:
    """After 1, 2, 3 seconds, then FATAL; without retries at once."""
    startup = Startup(seconds=1.0, retries=3)
    found = [failed_start(startup, before) for before in range(4)]
    assert found == [Verdict(BACKOFF, 1, 1.0), Verdict(BACKOFF, 2, 2.0), Verdict(BACKOFF, 3, 3.0), Verdict(FATAL, 3)]
    assert failed_start(Startup(retries=0), 0) == Verdict(FATAL, 0)


def test_an_expected_code_does_not_count_as_a_failure() -> None:
    """The caller says what a failure is; a code other than 0 alone does not restart."""
    ended = policy.verdict(_ON_FAILURE, 2, 5.0, 0, started=True, failure=False)
    assert ended.state == EXITED
    again = policy.verdict(Restart("on-failure", delay_seconds=0.0), 0, 5.0, 0, started=True, failure=True)
    assert (again.state, again.delay_seconds) == (BACKOFF, 0.0)


def test_the_backoff_is_dockers() -> None:
    """100 ms before the first restart, doubled before each next one, at most 60 s."""
    assert [backoff_seconds(_ALWAYS, number) for number in range(1, 13)] == [
        0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60.0, 60.0,
    ]  # fmt: skip


def test_the_backoff_stays_at_a_minute() -> None:
    """No number of restarts overflows."""
    assert backoff_seconds(_ALWAYS, 10**9) == 60.0


def test_a_fixed_delay_does_not_grow() -> None:
    """A configured delay is used unchanged, zero included."""
    assert [backoff_seconds(Restart("always", delay_seconds=0.0), number) for number in (1, 2, 50)] == [0.0] * 3
    assert [backoff_seconds(Restart("always", delay_seconds=5.0), number) for number in (1, 2, 50)] == [5.0] * 3


@pytest.mark.parametrize(
    ("restart", "code", "state"),
    [
        (Restart(), 0, EXITED),
        (Restart(), 3, EXITED),
        (_ON_FAILURE, 0, EXITED),
        (_ON_FAILURE, 3, BACKOFF),
        (_ON_FAILURE, 137, BACKOFF),
        (_ALWAYS, 0, BACKOFF),
        (_ALWAYS, 3, BACKOFF),
    ],
)
def test_the_condition_decides(restart: Restart, code: int, state: str) -> None:
    """`no` never restarts, `on-failure` restarts after a failure, `always` after every end."""
    assert verdict(restart, code, 1.0, 0, started=True).state == state


def test_on_failure_with_a_number_ends_in_fatal_after_so_many_restarts() -> None:
    """`on-failure:3` is three restarts in a row, then FATAL."""
    restart = Restart("on-failure", attempts=3)
    verdicts = [verdict(restart, 1, 0.0, restarts, started=True) for restarts in range(4)]
    assert [(what.state, what.restarts) for what in verdicts] == [
        (BACKOFF, 1),
        (BACKOFF, 2),
        (BACKOFF, 3),
        (FATAL, 3),
    ]


@pytest.mark.parametrize(("ran_seconds", "restarts"), [(9.9, 6), (10.0, 1), (3600.0, 1)])
def test_a_run_of_ten_seconds_resets_the_restarts(ran_seconds: float, restarts: int) -> None:
    """The back-off starts again at 100 ms after a run of ten seconds, as in Docker."""
    what = verdict(_ALWAYS, 1, ran_seconds, 5, started=True)
    assert (what.restarts, what.delay_seconds) == (restarts, backoff_seconds(_ALWAYS, restarts))


def test_the_window_is_configurable() -> None:
    """deploy.restart_policy.window replaces the ten seconds."""
    restart = Restart("always", attempts=2, window_seconds=60.0)
    assert verdict(restart, 1, 59.0, 2, started=True).state == FATAL
    assert verdict(restart, 1, 60.0, 2, started=True).state == BACKOFF


def test_a_failed_start_does_not_reset_the_restarts() -> None:
    """Nothing ran, so even a window of zero is not reached."""
    restart = Restart("always", attempts=2, window_seconds=0.0)
    assert verdict(restart, _NO_RESOURCES, 0.0, 2, started=False).state == FATAL


@pytest.mark.parametrize("code", [126, 127])
@pytest.mark.parametrize("restart", [Restart(), _ON_FAILURE, _ALWAYS])
def test_a_command_that_cannot_be_started_is_final(restart: Restart, code: int) -> None:
    """As in Docker. A run that ended with the same code is restarted."""
    assert verdict(restart, code, 0.0, 0, started=False).state == FATAL
    assert verdict(_ALWAYS, code, 0.0, 0, started=True).state == BACKOFF


def test_a_start_without_resources_is_retried() -> None:
    """A failed fork is not the fault of the command: the restart policy applies, with FATAL instead of EXITED."""
    assert verdict(_ALWAYS, _NO_RESOURCES, 0.0, 0, started=False).state == BACKOFF
    assert verdict(Restart(), _NO_RESOURCES, 0.0, 0, started=False).state == FATAL


def test_a_failed_start_has_dockers_delay_even_with_a_fixed_delay_of_zero() -> None:
    """Otherwise a machine without resources would see a loop of starts without a pause."""
    restart = Restart("always", delay_seconds=0.0)
    delays = [verdict(restart, _NO_RESOURCES, 0.0, restarts, started=False).delay_seconds for restarts in range(3)]
    assert delays == [0.1, 0.2, 0.4]


@given(_RESTARTS, st.integers(0, 255), st.floats(0, 1e6), st.integers(0, 1000), st.booleans())
def test_every_verdict_is_consistent(
    restart: Restart, code: int, ran_seconds: float, restarts: int, started: bool
) -> None:
    """One of three states, a delay only before a restart, and a count that grows by one."""
    what = verdict(restart, code, ran_seconds, restarts, started=started)
    assert what.state in {BACKOFF, EXITED, FATAL}
    assert what.delay_seconds >= 0
    if what.state == BACKOFF:
        assert what.restarts in {1, restarts + 1}
    else:
        assert what.delay_seconds == 0
    if restart.condition == "no":
        assert what.state != BACKOFF
