"""What of `init` cannot be brought about on purpose on the real kernel (tests/linux/test_init_*)."""

import signal
import time

import pytest

from cohabit.reactor import linux
from cohabit.reactor.init import Init, Rules
from cohabit.reactor.signals import InheritedSignals


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Give the signals sent, in a moment in which main has no process group yet."""
    sent: list[tuple[int, int]] = []

    def kill(pid: int, number: int) -> None:
        if pid < 0:
            raise ProcessLookupError(3, "No such process")
        sent.append((pid, number))

    monkeypatch.setattr(linux.os, "kill", kill)
    return sent


def test_signal_before_main_has_its_group(sent: list[tuple[int, int]]) -> None:
    """With -g a signal that comes between main's fork and its group reaches main: it waits behind its mask."""
    rules = Rules(lambda _: None)
    rules.group = True
    main = Init(("true",), InheritedSignals((), ()), rules)
    main.main = 4711
    main._forward(signal.SIGTERM)
    assert sent == [(4711, signal.SIGTERM)]


def test_grace_is_one_for_main_and_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """What main used of the grace after a stop is gone, but a second is left for the others, unless less was given."""
    rules = Rules(lambda _: None)
    main = Init(("true",), InheritedSignals((), ()), rules)
    assert main.grace_left == 9.0
    main._stop_asked_at = 100.0
    for now, grace_seconds, left in ((104.0, 9.0, 5.0), (120.0, 9.0, 1.0), (120.0, 0.5, 0.5), (100.0, 0.0, 0.0)):
        monkeypatch.setattr(time, "monotonic", lambda now=now: now)
        rules.grace_seconds = grace_seconds
        assert main.grace_left == left
