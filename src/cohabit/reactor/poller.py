"""Waiting for descriptors: epoll, and poll(2) for those that epoll has no room for.

epoll_ctl(2) fails with ENOSPC when the user has no watches left (fs.epoll.max_user_watches counts those of one uid on
the whole machine) and with ENOMEM; epoll_create1(2) fails without a free descriptor. A pipe that is not watched is a
service that blocks, or an error that nobody reads. poll(2) needs neither a watch nor a descriptor: whatever epoll
refuses is waited for by poll(2), together with epoll's own descriptor. So a registration does not fail, however little
room there is. epoll is tried again at later waits, at most once a second; no wake-up is made for that.
"""

from __future__ import annotations

import select
import time

from cohabit.reactor.shortage import RETRY_SECONDS, is_shortage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Registry(Protocol):
        """What the parts of the reactor need of a Poller; select.epoll has it, too."""

        def register(self, fd: int, eventmask: int, /) -> None:
            """Report this descriptor from now on."""

        def modify(self, fd: int, eventmask: int, /) -> None:
            """Report it for other events."""

        def unregister(self, fd: int, /) -> None:
            """Report it no more; to be called before it is closed."""


_PAUSE_SECONDS = 0.1  # the longest one, where no call has room and a wait would end at once


class _Epoll:
    """An epoll that says whether it had room, instead of raising OSError.

    No kernel needs memory to change or remove what is registered. Where that fails all the same (a seccomp filter, a
    fault injector), the descriptor is stale: not reported, and removed when it next turns up.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._stale: set[int] = set()
        self.fd = self._epoll.fileno()
        self.close = self._epoll.close

    def add(self, fd: int, eventmask: int) -> bool:
        """Report it; False where there is no room."""
        if fd in self._stale and not self._drop(fd):
            return False
        return self._has_room(lambda: self._epoll.register(fd, eventmask))

    def change(self, fd: int, eventmask: int) -> bool:
        """Report it for other events; False where there is no room: then it is not reported at all."""
        done = self._has_room(lambda: self._epoll.modify(fd, eventmask))
        if not done:
            self._stale.add(fd)
        return done

    def remove(self, fd: int) -> None:
        """Report it no more."""
        if not self._has_room(lambda: self._epoll.unregister(fd)):
            self._stale.add(fd)

    def wait(self, seconds: float | None) -> list[tuple[int, int]]:
        """What is ready."""
        ready = self._epoll.poll(seconds)
        stale = [fd for fd, _ in ready if fd in self._stale] if self._stale else ()
        if not stale:
            return ready
        if [fd for fd in stale if not self._drop(fd)]:
            time.sleep(_PAUSE_SECONDS)  # it would be reported again at once
        return [(fd, events) for fd, events in ready if fd not in stale]

    def _drop(self, fd: int) -> bool:
        try:
            done = self._has_room(lambda: self._epoll.unregister(fd))
        except OSError:  # it was closed, and so removed, meanwhile
            done = True
        if done:
            self._stale.discard(fd)
        return done

    @staticmethod
    def _has_room(call: Callable[[], None]) -> bool:
        try:
            call()
        except OSError as error:
            if not is_shortage(error):
                raise
            return False
        return True


def _new_epoll() -> _Epoll | None:
    try:
        return _Epoll()
    except OSError as error:
        if not is_shortage(error):
            raise
        return None


class Poller:
    """Level-triggered, as epoll is by default."""

    def __init__(self) -> None:
        self._epoll = _new_epoll()
        self._refused: dict[int, int] = {}  # descriptor -> events
        self._retry_at = 0.0

    @property
    def refused(self) -> int:
        """How many descriptors poll(2) waits for at present, since epoll has no room for them."""
        return len(self._refused)

    def register(self, fd: int, eventmask: int, /) -> None:
        """Report this descriptor from now on."""
        if self._epoll is None or not self._epoll.add(fd, eventmask):
            self._refuse(fd, eventmask)

    def modify(self, fd: int, eventmask: int, /) -> None:
        """Report it for other events. 0: for its end only."""
        if fd in self._refused or self._epoll is None or not self._epoll.change(fd, eventmask):
            self._refuse(fd, eventmask)

    def unregister(self, fd: int, /) -> None:
        """Report it no more; to be called before it is closed."""
        if self._refused.pop(fd, None) is None and self._epoll is not None:
            self._epoll.remove(fd)

    def poll(self, seconds: float | None = None, /) -> list[tuple[int, int]]:
        """Wait for events; seconds: how long at most, None for ever."""
        if self._epoll is None or self._refused:
            self._try_again()
        if self._epoll is None or self._refused:
            return self._poll_both(seconds)
        return self._epoll.wait(seconds)

    def close(self) -> None:
        """Let go of epoll."""
        self._refused.clear()
        if self._epoll is not None:
            self._epoll.close()

    def _refuse(self, fd: int, eventmask: int) -> None:
        if not self._refused:
            self._retry_at = time.monotonic() + RETRY_SECONDS
        self._refused[fd] = eventmask

    def _try_again(self) -> None:
        """Give epoll what it had no room for, as far as it takes it now."""
        now = time.monotonic()
        if now < self._retry_at:
            return
        self._retry_at = now + RETRY_SECONDS
        self._epoll = self._epoll or _new_epoll()
        for fd, events in list(self._refused.items()):
            if self._epoll is None or not self._epoll.add(fd, events):
                return
            del self._refused[fd]

    def _poll_both(self, seconds: float | None) -> list[tuple[int, int]]:
        poll = select.poll()
        for fd, events in self._refused.items():
            poll.register(fd, events)
        epoll = self._epoll
        if epoll is not None:
            poll.register(epoll.fd, select.POLLIN)
        try:
            # Rounded up: poll(2) counts milliseconds, and a wait that ends before its deadline is a busy loop.
            found = poll.poll(None if seconds is None else int(seconds * 1000) + (seconds > 0))
        except OSError as error:
            if not is_shortage(error):
                raise
            time.sleep(_PAUSE_SECONDS if seconds is None else min(seconds, _PAUSE_SECONDS))
            found = [] if epoll is None else [(epoll.fd, select.POLLIN)]
        ready: list[tuple[int, int]] = []
        for fd, events in found:
            if epoll is not None and fd == epoll.fd:
                ready += epoll.wait(0)
            elif events & select.POLLNVAL:  # closed and not unregistered: epoll forgets such a one, too
                del self._refused[fd]
            else:
                ready.append((fd, events))
        return ready


class Group:
    """Descriptors in an outer poller that can be paused and resumed together.

    They are in an epoll of their own, which the outer one watches; those that it has no room for are watched by the
    outer one itself, and are not paused.
    """

    def __init__(self, outer: Registry) -> None:
        self._outer = outer
        self._epoll = _new_epoll()
        self._outside: set[int] = set()
        if self._epoll is not None:
            outer.register(self._epoll.fd, select.EPOLLIN)

    def register(self, fd: int) -> None:
        """Report this descriptor when it can be read."""
        if self._epoll is None or not self._epoll.add(fd, select.EPOLLIN):
            self._outer.register(fd, select.EPOLLIN)
            self._outside.add(fd)

    def unregister(self, fd: int) -> None:
        """Report it no more."""
        if fd in self._outside:
            self._outside.remove(fd)
            self._outer.unregister(fd)
        elif self._epoll is not None:
            self._epoll.remove(fd)

    def owns(self, fd: int) -> bool:
        """Whether an event of the outer poller is for this group."""
        return fd in self._outside or (self._epoll is not None and fd == self._epoll.fd)

    def ready(self, fd: int) -> list[int]:
        """The descriptors that an event of the outer poller on `fd` stands for."""
        if fd in self._outside or self._epoll is None:
            return [fd]
        return [source for source, _ in self._epoll.wait(0)]

    def pause(self) -> None:
        """Report none of them for a while."""
        if self._epoll is not None:
            self._outer.modify(self._epoll.fd, 0)

    def resume(self) -> None:
        """Report them again."""
        if self._epoll is not None:
            self._outer.modify(self._epoll.fd, select.EPOLLIN)

    def close(self) -> None:
        """Let go of the epoll of its own."""
        if self._epoll is not None:
            self._epoll.close()
