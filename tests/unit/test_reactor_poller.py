"""The poller: which callbacks are called, in which order, and which are not."""

from __future__ import annotations

import errno
import os
import select
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from cohabit.reactor import poller as poller_module
from cohabit.reactor.poller import Group, Poller, is_ready

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


@pytest.fixture
def poller() -> Iterator[Poller]:
    """Give a poller."""
    poller = Poller()
    yield poller
    poller.close()


@pytest.fixture
def pipes() -> Iterator[list[int]]:
    """Give the read ends of pipes with a byte in each."""
    ends = [os.pipe() for _ in range(5)]
    for _, writer in ends:
        os.write(writer, b"x")
    yield [reader for reader, _ in ends]
    for reader, writer in ends:
        for fd in (reader, writer):
            try:
                os.close(fd)
            except OSError:  # the test has closed it
                continue


def test_each_ready_descriptor_is_reported_once(poller: Poller, pipes: list[int]) -> None:
    """To its own callback; not while it is modified to 0, and not after it is removed."""
    reported: list[int] = []
    for fd in pipes:
        poller.add(fd, select.EPOLLIN, reported.append)
    assert poller.wait()
    assert sorted(reported) == sorted(pipes)
    reported.clear()
    poller.modify(pipes[0], 0)
    poller.remove(pipes[1])
    poller.wait()
    assert sorted(reported) == sorted(pipes[2:])


@pytest.mark.parametrize("first", range(3))
def test_a_start_is_reported_before_readiness(poller: Poller, pipes: list[int], first: int) -> None:
    """Whatever the order in which the kernel reports them: the engine ignores the readiness of what has not started."""
    reported: list[int] = []
    for number, fd in enumerate(pipes[:3]):
        poller.add(fd, select.EPOLLIN, reported.append, first=number == first)
    poller.wait()
    assert reported[0] == pipes[first]
    assert len(reported) == 3


def test_a_removed_descriptor_is_not_reported(poller: Poller, pipes: list[int]) -> None:
    """One callback removes all the others that are ready in the same wait."""
    reported: list[int] = []

    def remove_others(fd: int) -> None:
        reported.append(fd)
        for other in pipes:
            if other != fd:
                poller.remove(other)

    for fd in pipes:
        poller.add(fd, select.EPOLLIN, remove_others)
    poller.wait()
    assert len(reported) == 1


@pytest.mark.parametrize("same_callback", [True, False])
def test_a_reused_number_is_not_reported_for_its_former_owner(
    poller: Poller, pipes: list[int], same_callback: bool
) -> None:
    """A callback closes the others that are ready, and their numbers are given to new descriptors in the same wait."""
    former: list[int] = []
    latter: list[int] = []
    unready, _writer = os.pipe()

    def replace_others(fd: int) -> None:
        former.append(fd)
        for other in pipes:
            if other != fd:
                poller.remove(other)
                os.dup2(unready, other)  # closes it, and gives its number to another
                poller.add(other, select.EPOLLIN, replace_others if same_callback else latter.append)

    for fd in pipes:
        poller.add(fd, select.EPOLLIN, replace_others)
    poller.wait()
    assert len(former) == 1
    assert latter == []
    assert not poller.wait(0) or former == [former[0], former[0]]
    os.close(unready)
    os.close(_writer)


def test_what_was_not_reported_is_reported_after_an_error(poller: Poller, pipes: list[int]) -> None:
    """A callback that raises ends the wait; no event is lost."""
    reported: list[int] = []

    def fail_once(fd: int) -> None:
        reported.append(fd)
        if len(reported) == 1:
            raise RuntimeError

    for fd in pipes:
        poller.add(fd, select.EPOLLIN, fail_once)
    with pytest.raises(RuntimeError):
        poller.wait()
    poller.wait()
    assert set(reported) == set(pipes)


# --- timers -------------------------------------------------------------------------------------------


def test_timers_are_called_in_their_order(poller: Poller) -> None:
    """Once, when they are due. A key has one time, the last that was set."""
    called: list[str] = []
    for name, when in (("late", 30.0), ("early", 10.0), ("middle", 20.0), ("moved", 5.0), ("moved", 15.0)):
        poller.call_at(("test", name), when, lambda name=name: called.append(name))  # type: ignore[misc]
    assert (poller.deadline(), poller.time_of(("test", "moved"))) == (10.0, 15.0)
    poller.run_timers(9.9)
    assert called == []
    poller.run_timers(25.0)
    assert called == ["early", "moved", "middle"]
    poller.run_timers(25.0)
    poller.run_timers(30.0)
    assert called == ["early", "moved", "middle", "late"]
    assert poller.deadline() is None


@pytest.mark.parametrize("act", ["cancel", "none", "later", "again"])
def test_a_timer_that_another_one_changes_is_not_called(poller: Poller, act: str) -> None:
    """Both are due. The first cancels the second, or sets it again: then it is for the next time."""
    called: list[str] = []

    def change() -> None:
        called.append("first")
        if act == "cancel":
            poller.cancel(("test", "second"))
        else:
            when = {"none": None, "later": 100.0, "again": 0.0}[act]
            poller.call_at(("test", "second"), when, lambda: called.append("changed"))

    poller.call_at(("test", "first"), 1.0, change)
    poller.call_at(("test", "second"), 2.0, lambda: called.append("second"))
    poller.run_timers(3.0)
    assert called == ["first"]
    poller.run_timers(100.0)
    assert called == (["first", "changed"] if act in ("later", "again") else ["first"])


def test_a_wait_ends_at_the_first_timer(poller: Poller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a timer it has no timeout: nothing wakes process 1 up. A time that has passed is not waited for."""
    waits: list[float | None] = []

    def poll(seconds: float | None) -> list[tuple[int, int]]:
        waits.append(seconds)
        return []

    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    monkeypatch.setattr(poller._watches, "poll", poll)
    poller.wait()
    poller.wait(3.0)
    for when in (107.5, 90.0, 1e9):
        poller.call_at(("test", ""), when, lambda: None)
        poller.wait()
    poller.call_at(("test", ""), 107.5, lambda: None)
    poller.wait(3.0)
    poller.cancel(("test", ""))
    poller.wait()
    assert waits == [None, 3.0, 7.5, 0.0, poller_module._LONGEST_WAIT_SECONDS, 3.0, None]


# --- gaps ---------------------------------------------------------------------------------------------


class Sleeper:
    """A clock and a wait: each wait takes as long as it should, and `lates` more, one after the other."""

    def __init__(self, poller: Poller, monkeypatch: pytest.MonkeyPatch, *lates: float) -> None:
        self.now = 100.0
        self.waits: list[float] = []
        self._lates = list(lates)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(poller._watches, "poll", self._poll)
        poller._returned_at = self.now

    def _poll(self, seconds: float | None) -> list[tuple[int, int]]:
        self.waits.append(seconds or 0.0)
        self.now += (seconds or 0.0) + (self._lates.pop(0) if self._lates else 0.0)
        return []


def test_a_wait_that_ends_too_late_is_a_gap(poller: Poller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines for others are postponed by all that may have been the gap. It is reported once."""
    sleeper = Sleeper(poller, monkeypatch, 6.0)
    poller.call_at(("own", ""), 200.0, lambda: None)
    poller.call_at(("patient", ""), 110.0, lambda: None, patient=True)
    poller.wait(4.0)
    assert sleeper.now == 110.0
    assert poller.take_gap() == (6.0, 10.0)
    assert poller.take_gap() is None
    assert (poller.time_of(("own", "")), poller.time_of(("patient", ""))) == (200.0, 120.0)


def test_a_turn_that_takes_too_long_is_a_gap(poller: Poller, monkeypatch: pytest.MonkeyPatch) -> None:
    """For example a SIGSTOP while process 1 was busy, or a disk that did not answer."""
    sleeper = Sleeper(poller, monkeypatch)
    poller.call_at(("patient", ""), 110.0, lambda: None, patient=True)
    sleeper.now += 3.0
    poller.wait(0.0)
    assert poller.take_gap() == (3.0, 3.0)
    assert poller.time_of(("patient", "")) == 113.0


def test_a_usual_delay_is_not_a_gap(poller: Poller, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine wakes every process a little late."""
    Sleeper(poller, monkeypatch, 0.3, 0.3)
    poller.call_at(("patient", ""), 110.0, lambda: None, patient=True)
    poller.wait(4.0)
    poller.wait(4.0)
    assert poller.take_gap() is None
    assert poller.time_of(("patient", "")) == 110.0


def test_a_deadline_for_others_is_approached_in_halves(poller: Poller, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a gap that ends before it is seen. A deadline of our own is waited for in one piece."""
    sleeper = Sleeper(poller, monkeypatch)
    poller.call_at(("patient", ""), 108.0, lambda: None, patient=True)
    while sleeper.now < 108.0:
        poller.wait()
    assert sleeper.waits == [4.0, 2.0, 1.0, 0.5, 0.25, 0.25]
    poller.run_timers(sleeper.now)
    poller.call_at(("own", ""), 116.0, lambda: None)
    poller.wait()
    assert sleeper.waits[6:] == [8.0]


# --- groups -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_epoll", [True, False])
@pytest.mark.parametrize("has_room", [True, False])
def test_a_group_reports_its_ready_descriptors(
    poller: Poller, pipes: list[int], monkeypatch: pytest.MonkeyPatch, has_epoll: bool, has_room: bool
) -> None:
    """Also those for which its epoll has no room, and without an epoll."""
    if not has_epoll:
        monkeypatch.setattr(poller_module, "_new_epoll", lambda: None)
    if not has_room:
        monkeypatch.setattr(poller_module._Epoll, "add", lambda *_: False)
    reported: list[int] = []
    group = Group(poller, reported.extend)
    for fd in pipes:
        group.add(fd)
    assert poller.wait()
    assert sorted(reported) == sorted(pipes)
    reported.clear()
    for fd in pipes[1:]:
        group.remove(fd)
    poller.wait()
    assert reported == pipes[:1]
    group.remove(pipes[0])
    assert not poller.wait(0)
    group.close()


def test_a_paused_group_reports_nothing(poller: Poller, pipes: list[int]) -> None:
    """Until it is resumed."""
    reported: list[int] = []
    group = Group(poller, reported.extend)
    group.add(pipes[0])
    group.pause()
    assert not poller.wait(0)
    group.resume()
    poller.wait()
    assert reported == [pipes[0]]
    group.close()


def test_a_wait_outside_the_loop_survives_a_shortage() -> None:
    """poll(2) may have no memory: it is not known then whether a descriptor is ready."""
    reader, writer = os.pipe()
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    assert is_ready(poll, 0.0) is False
    os.write(writer, b"x")
    assert is_ready(poll, 10.0) is True
    for fd in (reader, writer):
        os.close(fd)

    def failing(code: int) -> Any:
        def fail(_: float) -> None:
            raise OSError(code, os.strerror(code))

        return SimpleNamespace(poll=fail)

    assert is_ready(failing(errno.ENOMEM), 0.01) is None
    with pytest.raises(OSError, match="Bad file descriptor"):
        is_ready(failing(errno.EBADF), 0.01)
