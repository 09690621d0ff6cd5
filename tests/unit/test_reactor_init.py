"""Situations of `init` that cannot be created on a real kernel (tests/linux/test_init_*)."""

import signal
import time

import pytest

from cohabit.reactor import linux
from cohabit.reactor.init import Init, Rules
from cohabit.reactor.signals import InheritedSignals


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Give the signals that are sent while main has no process group yet."""
    sent: list[tuple[int, int]] = []

    def kill(pid: int, number: int) -> None:
        if pid < 0:
            raise ProcessLookupError(3, "No such process")
        sent.append((pid, number))

    monkeypatch.setattr(linux.os, "kill", kill)
    return sent


def test_signal_reaches_main_before_it_has_its_group(sent: list[tuple[int, int]]) -> None:
    """With -g, a signal between main's fork and the creation of its group is sent to main, where it is pending."""
    rules = Rules(lambda _: None)
    rules.group = True
    main = Init(("true",), InheritedSignals((), ()), rules)
    main.main = 4711
    main._forward(signal.SIGTERM)
    assert sent == [(4711, signal.SIGTERM)]


def test_main_and_the_rest_share_one_grace_period(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time that main used after a stop is subtracted; one second is left, unless the grace period is shorter."""
    rules = Rules(lambda _: None)
    main = Init(("true",), InheritedSignals((), ()), rules)
    assert main.grace_left == 9.0
    main._stop_asked_at = 100.0
    for now, grace_seconds, left in ((104.0, 9.0, 5.0), (120.0, 9.0, 1.0), (120.0, 0.5, 0.5), (100.0, 0.0, 0.0)):
        monkeypatch.setattr(time, "monotonic", lambda now=now: now)
        rules.grace_seconds = grace_seconds
        assert main.grace_left == left
