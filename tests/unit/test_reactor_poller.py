"""Waiting for descriptors also when epoll has no room for them."""

from __future__ import annotations

import errno
import os
import select
import time
from typing import TYPE_CHECKING, Any

import pytest

from cohabit.reactor.poller import Group, Poller
from cohabit.reactor.shortage import RETRY_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator


class Epoll:
    """An epoll that refuses registrations while `room` is 0, as a kernel does whose watches are used up."""

    room = 1000
    creates = True
    fails = False
    error = errno.ENOSPC

    def __init__(self) -> None:
        if not Epoll.creates:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        self._real = REAL()

    def register(self, fd: int, mask: int) -> None:
        """As epoll, if there is room."""
        if Epoll.room <= 0:
            raise OSError(Epoll.error, os.strerror(Epoll.error))
        self._real.register(fd, mask)
        Epoll.room -= 1

    def modify(self, fd: int, mask: int) -> None:
        """As epoll, unless an injector has its way."""
        self._fail()
        self._real.modify(fd, mask)

    def unregister(self, fd: int) -> None:
        """As epoll, unless an injector has its way."""
        self._fail()
        self._real.unregister(fd)

    def _fail(self) -> None:
        if Epoll.fails:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


REAL = select.epoll


@pytest.fixture(autouse=True)
def kernel(monkeypatch: pytest.MonkeyPatch) -> type[Epoll]:
    """Give the kernel's epoll, whose room can be set."""
    monkeypatch.setattr(select, "epoll", Epoll)
    Epoll.room, Epoll.creates, Epoll.fails, Epoll.error = 1000, True, False, errno.ENOSPC
    return Epoll


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Give a pipe."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.ENOMEM])
def test_what_epoll_refuses_is_reported_all_the_same(
    kernel: type[Epoll], pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """It is reported while there is no room, and by epoll again when there is some; never twice, never no more."""
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    kernel.room, kernel.error = 0, error
    watch = Poller()
    watch.register(pipe[0], select.EPOLLIN)
    assert watch.refused == 1
    assert watch.poll(0) == []
    os.write(pipe[1], b"x")
    assert watch.poll(0) == [(pipe[0], select.EPOLLIN)]
    kernel.room = 1
    assert watch.poll() == [(pipe[0], select.EPOLLIN)]
    assert watch.refused == 1, "it is not tried at each wait"
    now += RETRY_SECONDS
    assert watch.poll() == [(pipe[0], select.EPOLLIN)]
    assert watch.refused == 0
    watch.unregister(pipe[0])
    assert watch.poll(0) == []
    watch.close()


def test_both_kinds_are_waited_for_together(kernel: type[Epoll], pipe: tuple[int, int]) -> None:
    """One that epoll took and one that it refused."""
    other = os.pipe()
    watch = Poller()
    watch.register(pipe[0], select.EPOLLIN)
    kernel.room = 0
    watch.register(other[0], select.EPOLLIN)
    for ends in (pipe, other):
        os.write(ends[1], b"x")
        assert watch.poll() == [(ends[0], select.EPOLLIN)]
        os.read(ends[0], 1)
    watch.modify(other[0], 0)
    os.write(other[1], b"x")
    assert watch.poll(0) == []
    watch.modify(other[0], select.EPOLLIN)
    assert watch.poll(0) == [(other[0], select.EPOLLIN)]
    watch.unregister(other[0])
    assert watch.poll(0) == []
    watch.close()
    os.close(other[0])
    os.close(other[1])


def test_without_an_epoll(kernel: type[Epoll], pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no descriptor for one: poll(2) does alone, until there is."""
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    kernel.creates = False
    watch = Poller()
    watch.register(pipe[0], select.EPOLLIN)
    watch.modify(pipe[0], select.EPOLLIN)
    os.write(pipe[1], b"x")
    assert watch.poll() == [(pipe[0], select.EPOLLIN)]
    kernel.creates = True
    now += RETRY_SECONDS
    assert watch.poll() == [(pipe[0], select.EPOLLIN)]
    assert watch.refused == 0
    watch.close()


def test_one_that_was_closed_is_forgotten(kernel: type[Epoll]) -> None:
    """As by epoll; else every wait would end at once."""
    kernel.room = 0
    reader, writer = os.pipe()
    watch = Poller()
    watch.register(reader, select.EPOLLIN)
    os.close(reader)
    os.close(writer)
    assert watch.poll(0) == []
    assert watch.refused == 0
    watch.close()


def test_another_error_is_none_of_room(kernel: type[Epoll], pipe: tuple[int, int]) -> None:
    """A bug of ours is not hidden."""
    kernel.room, kernel.error = 0, errno.EPERM
    watch = Poller()
    with pytest.raises(PermissionError):
        watch.register(pipe[0], select.EPOLLIN)
    watch.close()


@pytest.mark.parametrize("creates", [True, False])
def test_a_group_reports_what_its_epoll_refuses(kernel: type[Epoll], pipe: tuple[int, int], creates: bool) -> None:
    """By way of the outer one, which has no room either."""
    watch = Poller()
    kernel.creates = creates
    group = Group(watch)
    kernel.room = 0
    group.register(pipe[0])
    os.write(pipe[1], b"x")
    ((fd, _),) = watch.poll()
    assert group.owns(fd)
    assert group.ready(fd) == [pipe[0]]
    group.unregister(pipe[0])
    assert watch.poll(0) == []
    assert not group.owns(pipe[0])
    group.close()
    watch.close()


def test_a_group_is_paused(pipe: tuple[int, int]) -> None:
    """Nothing is reported until it is resumed."""
    watch = Poller()
    group = Group(watch)
    group.register(pipe[0])
    os.write(pipe[1], b"x")
    group.pause()
    assert watch.poll(0) == []
    group.resume()
    ((fd, _),) = watch.poll()
    assert group.ready(fd) == [pipe[0]]
    group.unregister(pipe[0])
    group.close()
    watch.close()


@pytest.mark.parametrize("act", ["modify", "unregister"])
def test_even_a_change_that_fails_is_done(
    kernel: type[Epoll], pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    """What epoll still has of it is not reported, and leaves when it can."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    watch = Poller()
    watch.register(pipe[0], select.EPOLLIN)
    kernel.fails = True
    if act == "modify":
        watch.modify(pipe[0], 0)
    else:
        watch.unregister(pipe[0])
    os.write(pipe[1], b"x")
    assert watch.poll(0) == []
    assert pauses, "it would be reported again and again"
    kernel.fails = False
    pauses.clear()
    assert watch.poll(0) == []
    if act == "modify":
        watch.modify(pipe[0], select.EPOLLIN)
    else:
        watch.register(pipe[0], select.EPOLLIN)
    assert watch.poll(0) == [(pipe[0], select.EPOLLIN)]
    assert not pauses
    watch.close()


def test_a_number_that_comes_again_is_another_one(kernel: type[Epoll], pipe: tuple[int, int]) -> None:
    """It was closed while epoll could not remove it; what has the number now is reported."""
    watch = Poller()
    reader, writer = os.pipe()
    watch.register(reader, select.EPOLLIN)
    kernel.fails = True
    watch.unregister(reader)
    kernel.fails = False
    os.close(reader)
    os.dup2(pipe[0], reader)
    watch.register(reader, select.EPOLLIN)
    os.write(pipe[1], b"x")
    assert watch.poll(0) == [(reader, select.EPOLLIN)]
    watch.close()
    os.close(reader)
    os.close(writer)
