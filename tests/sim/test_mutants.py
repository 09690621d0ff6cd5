"""Each checker can fail: it finds the mutants that were made for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sim import checkers_requests
from sim.checker import Violation
from sim.checkers import CHECKERS
from sim.checkers_requests import KINDS, Answers
from sim.mutants import MUTANTS, supervisor_with
from sim.mutants_requests import WRONG_AFFECTED, WRONG_ANSWERS
from sim.seeds import warn_of_late
from sim.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.api.protocol import Answer
    from cohabit.engine.supervisor import Supervisor
    from sim.mutants_lifecycle import Broken

_SEEDS = 6000
# The first world that shows the defect, where it is a late one. It is tried first.
_SHOWN_BY = {
    "ClaimsTooMuch": 100,
    "CountsGapsAsSilence": 60,
    "CountsRestartsAsRetries": 147,
    "CountsStopAsEnd": 85,
    "DoesNotDivideTotal": 368,
    "DoesNotKillUnassigned": 204,
    "DoesNotStopDaemon": 373,
    "EndsThoughItStays": 80,
    "ExitsWithoutSweep": 59,
    "ExpectsSignals": 460,
    "ExpectsZeroOnly": 704,
    "ExtendsTotalGrace": 86,
    "HasNoWatchdog": 46,
    "IgnoresOnFailureExit": 46,
    "IgnoresOnFailureRestart": 133,
    "IgnoresRestartLimit": 52,
    "IgnoresStopRequests": 44,
    "KeepsDefinitionAfterStop": 468,
    "KeepsOldProbe": 192,
    "KillsDependents": 60,
    "LevelsHaveAllTime": 306,
    "LosesPostStartEnd": 52,
    "RestartsSkipped": 221,
    "RetriesFailedExec": 100,
    "RunsPostStopBesideTree": 49,
    "SkippedEndsContainer": 1193,
    "SkippedFails": 427,
    "StartsWithoutDependencies": 99,
    "StopsDependenciesBeforePostStop": 49,
}
_CHECKERS = {checker.__name__: checker for checker in CHECKERS}
_LIVENESS = "Liveness"  # of the world itself


@pytest.mark.parametrize(("broken", "checker", "text"), MUTANTS, ids=lambda item: getattr(item, "__name__", ""))
def test_a_checker_finds_the_mutant(broken: Broken, checker: str, text: str) -> None:
    """The checker alone finds and names the defect within some worlds."""
    checkers = () if checker == _LIVENESS else (_CHECKERS[checker],)
    for seed in (_SHOWN_BY.get(broken.__name__, 0), *range(_SEEDS)):
        try:
            World(seed, lambda: supervisor_with(broken), checkers).run()
        except Violation as violation:
            if violation.checker == checker and text in str(violation):
                warn_of_late(seed, broken.__name__, _SHOWN_BY)
                return
        except Exception:  # noqa: BLE001, S112 - a broken engine may raise other errors
            continue
    pytest.fail(f"{checker} did not report {text!r} in {_SEEDS} worlds")


@pytest.mark.parametrize(("kind", "answer", "text"), WRONG_ANSWERS)
def test_a_wrong_answer_is_found(
    monkeypatch: pytest.MonkeyPatch, kind: str, answer: Callable[..., Answer | None], text: str
) -> None:
    """A wrong answer, or a missing one, is found."""
    monkeypatch.setitem(KINDS, kind, answer)
    for seed in range(_SEEDS):
        try:
            World(seed, checkers=(Answers,)).run()
        except Violation as violation:
            if text in str(violation):
                return
    pytest.fail(f"Answers did not report {text!r} in {_SEEDS} worlds")


@pytest.mark.parametrize("missing", WRONG_AFFECTED, ids=lambda item: item.__name__)
def test_a_waiter_that_is_not_evaluated_is_found(
    monkeypatch: pytest.MonkeyPatch, missing: Callable[[Supervisor], set[str] | None]
) -> None:
    """A step answers a client, and `affected` does not name its services."""
    monkeypatch.setattr(checkers_requests, "affected", missing)
    for seed in range(_SEEDS):
        try:
            World(seed, checkers=(Answers,)).run()
        except Violation as violation:
            if "which is not evaluated" in str(violation):
                return
    pytest.fail(f"Answers did not report it in {_SEEDS} worlds")


def test_every_checker_has_a_mutant() -> None:
    """No checker is without a mutant."""
    assert {checker for _, checker, _ in MUTANTS} | {Answers.__name__} == {*_CHECKERS, _LIVENESS}
