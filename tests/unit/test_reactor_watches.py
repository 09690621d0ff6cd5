"""Waiting for descriptors, also if epoll has no room for them."""

from __future__ import annotations

import errno
import os
import select
import time
from typing import TYPE_CHECKING, Any

import pytest

from cohabit.reactor.poller import Watches
from cohabit.reactor.shortage import RETRY_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator


class Epoll:
    """An epoll that refuses registrations while `room` is 0, as the kernel does when all watches are in use."""

    room = 1000
    creates = True
    fails = False
    error = errno.ENOSPC

    def __init__(self) -> None:
        if not Epoll.creates:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        self._real = REAL()

    def register(self, fd: int, mask: int) -> None:
        """Register a descriptor if there is room."""
        if Epoll.room <= 0:
            raise OSError(Epoll.error, os.strerror(Epoll.error))
        self._real.register(fd, mask)
        Epoll.room -= 1

    def modify(self, fd: int, mask: int) -> None:
        """Modify it, unless an injected fault is active."""
        self._fail()
        self._real.modify(fd, mask)

    def unregister(self, fd: int) -> None:
        """Unregister it, unless an injected fault is active."""
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
    """Give the kernel's epoll, with a capacity that can be set."""
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
def test_refused_descriptor_is_reported(
    kernel: type[Epoll], pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """By poll(2) while there is no room, and by epoll again afterwards; always once."""
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    kernel.room, kernel.error = 0, error
    watches = Watches()
    watches.register(pipe[0], select.EPOLLIN)
    assert watches.refused == 1
    assert watches.poll(0) == []
    os.write(pipe[1], b"x")
    assert watches.poll(0) == [(pipe[0], select.EPOLLIN)]
    kernel.room = 1
    assert watches.poll() == [(pipe[0], select.EPOLLIN)]
    assert watches.refused == 1, "epoll is not retried at each wait"
    now += RETRY_SECONDS
    assert watches.poll() == [(pipe[0], select.EPOLLIN)]
    assert watches.refused == 0
    watches.unregister(pipe[0])
    assert watches.poll(0) == []
    watches.close()


def test_accepted_and_refused_descriptors_are_waited_for_together(kernel: type[Epoll], pipe: tuple[int, int]) -> None:
    """One descriptor is in epoll, and one was refused."""
    other = os.pipe()
    watches = Watches()
    watches.register(pipe[0], select.EPOLLIN)
    kernel.room = 0
    watches.register(other[0], select.EPOLLIN)
    for ends in (pipe, other):
        os.write(ends[1], b"x")
        assert watches.poll() == [(ends[0], select.EPOLLIN)]
        os.read(ends[0], 1)
    watches.modify(other[0], 0)
    os.write(other[1], b"x")
    assert watches.poll(0) == []
    watches.modify(other[0], select.EPOLLIN)
    assert watches.poll(0) == [(other[0], select.EPOLLIN)]
    watches.unregister(other[0])
    assert watches.poll(0) == []
    watches.close()
    os.close(other[0])
    os.close(other[1])


def test_poll_replaces_an_epoll_that_cannot_be_created(
    kernel: type[Epoll], pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a free descriptor for epoll, poll(2) is used until there is one."""
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    kernel.creates = False
    watches = Watches()
    watches.register(pipe[0], select.EPOLLIN)
    watches.modify(pipe[0], select.EPOLLIN)
    os.write(pipe[1], b"x")
    assert watches.poll() == [(pipe[0], select.EPOLLIN)]
    kernel.creates = True
    now += RETRY_SECONDS
    assert watches.poll() == [(pipe[0], select.EPOLLIN)]
    assert watches.refused == 0
    watches.close()


def test_closed_descriptor_is_forgotten(kernel: type[Epoll]) -> None:
    """As by epoll; otherwise every wait would return at once."""
    kernel.room = 0
    reader, writer = os.pipe()
    watches = Watches()
    watches.register(reader, select.EPOLLIN)
    os.close(reader)
    os.close(writer)
    assert watches.poll(0) == []
    assert watches.refused == 0
    watches.close()


def test_other_errors_are_raised(kernel: type[Epoll], pipe: tuple[int, int]) -> None:
    """A bug of ours is not hidden."""
    kernel.room, kernel.error = 0, errno.EPERM
    watches = Watches()
    with pytest.raises(PermissionError):
        watches.register(pipe[0], select.EPOLLIN)
    watches.close()


@pytest.mark.parametrize("act", ["modify", "unregister"])
def test_failed_change_takes_effect(
    kernel: type[Epoll], pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    """A registration that epoll could not change is not reported, and is removed later."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    watches = Watches()
    watches.register(pipe[0], select.EPOLLIN)
    kernel.fails = True
    if act == "modify":
        watches.modify(pipe[0], 0)
    else:
        watches.unregister(pipe[0])
    os.write(pipe[1], b"x")
    assert watches.poll(0) == []
    assert pauses, "it would be reported again and again"
    kernel.fails = False
    pauses.clear()
    assert watches.poll(0) == []
    if act == "modify":
        watches.modify(pipe[0], select.EPOLLIN)
    else:
        watches.register(pipe[0], select.EPOLLIN)
    assert watches.poll(0) == [(pipe[0], select.EPOLLIN)]
    assert not pauses
    watches.close()


def test_reused_number_is_another_descriptor(kernel: type[Epoll], pipe: tuple[int, int]) -> None:
    """A descriptor was closed while epoll could not remove it. The next one with this number is reported."""
    watches = Watches()
    reader, writer = os.pipe()
    watches.register(reader, select.EPOLLIN)
    kernel.fails = True
    watches.unregister(reader)
    kernel.fails = False
    os.close(reader)
    os.dup2(pipe[0], reader)
    watches.register(reader, select.EPOLLIN)
    os.write(pipe[1], b"x")
    assert watches.poll(0) == [(reader, select.EPOLLIN)]
    watches.close()
    os.close(reader)
    os.close(writer)
