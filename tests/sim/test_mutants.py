"""The judges of the simulator can fail: each finds the engine that was broken for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sim.checker import Violation
from sim.checkers import CHECKERS
from sim.checkers_requests import KINDS, Answers
from sim.mutants import PLANTED, supervisor_with
from sim.mutants_requests import BROKEN_ANSWERS
from sim.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.api.protocol import Answer
    from cohabit.engine.health_monitor import HealthMonitor
    from cohabit.engine.services import Services
    from cohabit.engine.supervisor import Supervisor

_SEEDS = 6000
# The first world that shows a planted defect, where that is a late one: it is tried first.
_SHOWN_BY = {"RunsTheOld": 2661}
_JUDGES = {checker.__name__: checker for checker in CHECKERS}
_LIVENESS = "Liveness"  # judged by the world itself


@pytest.mark.parametrize(("broken", "judge", "words"), PLANTED, ids=lambda item: getattr(item, "__name__", ""))
def test_a_judge_finds_the_engine_that_was_broken_for_it(
    broken: type[Supervisor | Services | HealthMonitor], judge: str, words: str
) -> None:
    """Under one judge alone, a planted defect is found and named within a few worlds."""
    checkers = () if judge == _LIVENESS else (_JUDGES[judge],)
    for seed in (_SHOWN_BY.get(broken.__name__, 0), *range(_SEEDS)):
        try:
            World(seed, lambda: supervisor_with(broken), checkers).run()
        except Violation as violation:
            if violation.checker == judge and words in str(violation):
                return
        except Exception:  # noqa: BLE001, S112 - a broken engine may raise as well; that is not what is asked here
            continue
    pytest.fail(f"{judge} never said {words!r} in {_SEEDS} worlds")


@pytest.mark.parametrize(("kind", "answer", "words"), BROKEN_ANSWERS)
def test_a_broken_answer_is_found(
    monkeypatch: pytest.MonkeyPatch, kind: str, answer: Callable[..., Answer | None], words: str
) -> None:
    """Whoever is told something false about what he asked for, or nothing, has a judge who sees it."""
    monkeypatch.setitem(KINDS, kind, answer)
    for seed in range(_SEEDS):
        try:
            World(seed, checkers=(Answers,)).run()
        except Violation as violation:
            if words in str(violation):
                return
    pytest.fail(f"nobody ever said {words!r} in {_SEEDS} worlds")


def test_every_judge_has_an_engine_that_was_broken_for_it() -> None:
    """No judge is without a planted defect."""
    assert {judge for _, judge, _ in PLANTED} | {Answers.__name__} == {*_JUDGES, _LIVENESS}
