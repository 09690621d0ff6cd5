"""reactor/loop.py: from ready descriptors to events."""

from types import SimpleNamespace
from typing import Any

import pytest

from cohabit.reactor import signals
from cohabit.reactor.loop import Loop

STARTED, READY, OTHER = 10, 11, 12


@pytest.mark.parametrize("ready", [[READY, STARTED], [OTHER, READY, STARTED], [STARTED, READY]])
def test_a_start_is_reported_before_readiness(monkeypatch: pytest.MonkeyPatch, ready: list[int]) -> None:
    """Whatever the order in which the kernel reports them: the engine ignores the readiness of what has not started."""
    handled: list[int] = []

    def part(*owned: int) -> SimpleNamespace:
        return SimpleNamespace(owns=lambda fd: fd in owned, handle=handled.append)

    monkeypatch.setattr(signals, "noted", set())
    children = part(STARTED)
    loop: Any = SimpleNamespace(
        _wake_up_reader=-1,
        _parts=(part(READY, OTHER), children),
        _timed=(),
        children=children,
        engine=SimpleNamespace(deadline=lambda: None),
        facts=[],
    )
    Loop._gather(loop, [(fd, 1) for fd in ready])
    assert handled == [STARTED, *[fd for fd in ready if fd != STARTED]]
