"""Situations of `init` that cannot be created on a real kernel (tests/linux/test_init_*)."""

import signal
import time
from types import SimpleNamespace

import pytest

from cohabit.reactor import linux, signals
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
    rules = Rules(lambda _: None, lambda: False)
    rules.group = True
    main = Init(("true",), InheritedSignals((), ()), rules)
    main.main = 4711
    main._forward(signal.SIGTERM)
    assert sent == [(4711, signal.SIGTERM)]


def test_main_and_the_rest_share_one_grace_period(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time that main used after a stop is subtracted; one second is left, unless the grace period is shorter."""
    rules = Rules(lambda _: None, lambda: False)
    main = Init(("true",), InheritedSignals((), ()), rules)
    assert main.grace_left == 8.0
    main._stop_asked_at = 100.0
    for now, grace_seconds, left in ((104.0, 8.0, 4.0), (120.0, 8.0, 1.0), (120.0, 0.5, 0.5), (100.0, 0.0, 0.0)):
        monkeypatch.setattr(time, "monotonic", lambda now=now: now)
        rules.grace_seconds = grace_seconds
        assert main.grace_left == left


def test_key_before_main_is_forked_is_forwarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a shared group, ^C reaches main directly, except one that came before main was there. None is lost."""
    key = SimpleNamespace(si_signo=signals.INT, si_code=0x80, si_pid=0)
    sent_by_kill = SimpleNamespace(si_signo=signals.INT, si_code=0, si_pid=1)
    arrivals = iter([key, key, sent_by_kill, SimpleNamespace(si_signo=signals.CHLD, si_code=1, si_pid=4711)])
    main = Init(("true",), InheritedSignals((), ()), Rules(lambda _: None, lambda: True))
    main._shares_group = True
    forwarded: list[int] = []
    monkeypatch.setattr(main, "_prepare", lambda: None)
    monkeypatch.setattr(main, "_spawn", lambda _start: 0)
    monkeypatch.setattr(main, "_reap", lambda: setattr(main, "code", 130))
    monkeypatch.setattr(main, "_wait", lambda: next(arrivals))
    monkeypatch.setattr(main, "_forward", forwarded.append)
    monkeypatch.setattr("cohabit.reactor.init._leave_directory", lambda: "")
    monkeypatch.setattr("cohabit.reactor.init.spawn.exec_errors", lambda _errors: b"")
    monkeypatch.setattr(signals, "all_pending", lambda: {signals.INT})
    monkeypatch.setattr(signals, "wait_for", lambda _numbers, _seconds: None)
    monkeypatch.setattr(signals, "block_all", lambda: None)
    monkeypatch.setattr(signals, "set_mask", lambda _mask: None)
    main.run()
    assert forwarded == [signals.INT, signals.INT]
    assert main.died_of_interrupt
