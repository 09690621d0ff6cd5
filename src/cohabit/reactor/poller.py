"""Wait for descriptors and timers, and call their owners.

Descriptors are waited for with epoll, and with poll(2) where epoll has no room. epoll_ctl(2) fails with ENOSPC if the
user has no watches left (fs.epoll.max_user_watches counts those of one uid on the whole machine), and with ENOMEM;
epoll_create1(2) fails without a free descriptor. A pipe that is not watched is a service that blocks, or an error that
is not read. poll(2) needs neither a watch nor a descriptor. So it waits for every descriptor that epoll refuses,
together with epoll's own descriptor, and a registration never fails. epoll is retried at later waits, at most once a
second; the loop does not wake up for that.
"""

from __future__ import annotations

import select
import time

from cohabit.engine.timers import Timers
from cohabit.reactor.shortage import RETRY_SECONDS, is_shortage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST_WAIT_SECONDS = 86_400.0  # epoll_wait(2) takes milliseconds as an int: at most 24 days
GAP_SECONDS = 0.5  # a wait that ends so much too late was no wait
_SHORTEST_PART_SECONDS = 0.25
_PAUSE_SECONDS = 0.1  # the longest pause if no call has room and a wait would return at once


def is_ready(poll: select.poll, seconds: float) -> bool | None:
    """Wait for descriptors at the end of the container, outside the loop. None: the system has no room for a wait."""
    try:
        return bool(poll.poll(max(0.0, seconds) * 1000))
    except OSError as error:
        if not is_shortage(error):
            raise
        time.sleep(min(max(0.0, seconds), _PAUSE_SECONDS))
        return None


class _Epoll:
    """An epoll whose methods return False if there is no room, instead of raising OSError.

    No kernel needs memory to change or remove a registration. If that fails nevertheless (a seccomp filter, a fault
    injector), the descriptor is stale: it is not reported, and it is removed when it next has an event.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._stale: set[int] = set()
        self.fd = self._epoll.fileno()
        self.close = self._epoll.close

    def add(self, fd: int, eventmask: int) -> bool:
        """Register a descriptor; False if there is no room."""
        if fd in self._stale and not self._drop(fd):
            return False
        return self._has_room(lambda: self._epoll.register(fd, eventmask))

    def change(self, fd: int, eventmask: int) -> bool:
        """Change its events; False if there is no room: then it is not reported at all."""
        done = self._has_room(lambda: self._epoll.modify(fd, eventmask))
        if not done:
            self._stale.add(fd)
        return done

    def remove(self, fd: int) -> None:
        """Unregister it."""
        if not self._has_room(lambda: self._epoll.unregister(fd)):
            self._stale.add(fd)

    def wait(self, seconds: float | None) -> list[tuple[int, int]]:
        """Return (descriptor, events) of the ready ones."""
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
        except OSError:  # it was closed meanwhile, and so removed
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


class Watches:
    """The descriptors that are waited for: level-triggered, as epoll is by default."""

    def __init__(self) -> None:
        self._epoll = _new_epoll()
        self._refused: dict[int, int] = {}  # descriptor -> events
        self._retry_at = 0.0

    @property
    def refused(self) -> int:
        """The number of descriptors for which epoll has no room at present, and which poll(2) waits for."""
        return len(self._refused)

    def register(self, fd: int, eventmask: int, /) -> None:
        """Report events of this descriptor."""
        if self._epoll is None or not self._epoll.add(fd, eventmask):
            self._refuse(fd, eventmask)

    def modify(self, fd: int, eventmask: int, /) -> None:
        """Change the events that are reported. 0: only hang-ups and errors."""
        if fd in self._refused or self._epoll is None or not self._epoll.change(fd, eventmask):
            self._refuse(fd, eventmask)

    def unregister(self, fd: int, /) -> None:
        """Stop reporting this descriptor; call it before the descriptor is closed."""
        if self._refused.pop(fd, None) is None and self._epoll is not None:
            self._epoll.remove(fd)

    def poll(self, seconds: float | None = None, /) -> list[tuple[int, int]]:
        """Wait for events; returns (descriptor, events) of each ready one. seconds: None for no timeout."""
        if self._epoll is None or self._refused:
            self._retry_refused()
        if self._epoll is None or self._refused:
            return self._poll_both(seconds)
        return self._epoll.wait(seconds)

    def close(self) -> None:
        """Close epoll."""
        self._refused.clear()
        if self._epoll is not None:
            self._epoll.close()

    def _refuse(self, fd: int, eventmask: int) -> None:
        if not self._refused:
            self._retry_at = time.monotonic() + RETRY_SECONDS
        self._refused[fd] = eventmask

    def _retry_refused(self) -> None:
        """Register the refused descriptors with epoll, until it refuses one again."""
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
            elif events & select.POLLNVAL:  # closed without unregister: epoll forgets it, too
                del self._refused[fd]
            else:
                ready.append((fd, events))
        return ready


class Poller:
    """Descriptors and timers, each with a callback: the loop does not know whose they are.

    A callback of a descriptor is called with it, once for each wait in which it is ready (also with an error or a
    hang-up). A callback that raises ends the wait: what was not reported is still ready at the next one.

    Gaps. Process 1 may not run for a time, and the services with it: in a paused container, on a machine that was
    suspended or has no processor time left. It sees that from a wait that ends too late, and from a turn of the loop
    that takes too long. Then a deadline for others (`patient`) must not be missed: it is postponed by the whole time
    that may have been the gap. To keep that time short, and to see a gap that ends before the deadline, a wait for it
    lasts half of the time that is left at most. These wake-ups are few: each wait is half of the one before.
    """

    def __init__(self) -> None:
        self._watches = Watches()
        self._callbacks: dict[int, tuple[Callable[[int], None]]] = {}  # in a tuple: each registration is an object
        self._first: set[int] = set()
        self._timers = Timers()
        self._calls: dict[tuple[str, str], Callable[[], None]] = {}
        self._patient: set[tuple[str, str]] = set()
        self._returned_at = time.monotonic()  # from the last wait
        self._gap = (0.0, 0.0)

    # --- descriptors ---------------------------------------------------------------------------------

    def add(self, fd: int, eventmask: int, callback: Callable[[int], None], *, first: bool = False) -> None:
        """Report events of this descriptor. first: before those that are not, if they are ready together."""
        self._watches.register(fd, eventmask)
        self._callbacks[fd] = (callback,)
        if first:
            self._first.add(fd)

    def modify(self, fd: int, eventmask: int) -> None:
        """Change the events that are reported. 0: only hang-ups and errors."""
        self._watches.modify(fd, eventmask)

    def remove(self, fd: int) -> None:
        """Stop reporting this descriptor; call it before the descriptor is closed."""
        del self._callbacks[fd]
        self._first.discard(fd)
        self._watches.unregister(fd)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until a descriptor is ready or a timer is due, and report the descriptors. False if none was ready.

        seconds: wait no longer. A callback is not called if an earlier one has removed its descriptor, not even if a
        new descriptor has the same number.
        """
        began, deadline = time.monotonic(), self._timers.next()
        if deadline is not None:
            left = min(max(0.0, deadline - began), _LONGEST_WAIT_SECONDS)
            if self._patient and left > _SHORTEST_PART_SECONDS:
                left = max(left / 2, _SHORTEST_PART_SECONDS)
            seconds = left if seconds is None else min(seconds, left)
        ready = self._watches.poll(seconds)
        self._look_for_gap(began, seconds)
        if self._first:
            ready.sort(key=lambda entry: entry[0] not in self._first)
        registered = [(fd, self._callbacks.get(fd)) for fd, _ in ready]
        for fd, registration in registered:
            if registration is not None and self._callbacks.get(fd) is registration:
                registration[0](fd)
        return bool(ready)

    # --- gaps ----------------------------------------------------------------------------------------

    def _look_for_gap(self, began: float, seconds: float | None) -> None:
        turn, self._returned_at = began - self._returned_at, time.monotonic()
        waited = self._returned_at - began
        late = 0.0 if seconds is None else waited - seconds
        least = (turn if turn >= GAP_SECONDS else 0.0) + (late if late >= GAP_SECONDS else 0.0)
        if least:
            most = (turn if turn >= GAP_SECONDS else 0.0) + (waited if late >= GAP_SECONDS else 0.0)
            self._gap = (self._gap[0] + least, self._gap[1] + most)

    def take_gap(self) -> tuple[float, float] | None:
        """The time in which process 1 did not run since the last call, at least and at most; None if there is none.

        The patient timers are postponed by it.
        """
        if not self._gap[1]:
            return None
        gap, self._gap = self._gap, (0.0, 0.0)
        for key in self._patient:
            when = self._timers.get(key)
            if when is not None:
                self._timers.set(key, when + gap[1])
        return gap

    # --- timers --------------------------------------------------------------------------------------

    def call_at(
        self, key: tuple[str, str], when: float | None, callback: Callable[[], None], *, patient: bool = False
    ) -> None:
        """Call back at this time (monotonic seconds); None cancels it. A key (part, name) has one timer.

        patient: it is the time that others have for something, so that a gap does not count.
        """
        if when is None:
            self.cancel(key)
            return
        self._timers.set(key, when)
        self._calls[key] = callback
        if patient:
            self._patient.add(key)

    def cancel(self, key: tuple[str, str]) -> None:
        """Do not call back, if it was to be."""
        self._timers.set(key, None)
        self._calls.pop(key, None)
        self._patient.discard(key)

    def time_of(self, key: tuple[str, str]) -> float | None:
        """The time of a timer; None if there is no such timer."""
        return self._timers.get(key)

    def deadline(self) -> float | None:
        """The time of the first timer; None if there is none."""
        return self._timers.next()

    def run_timers(self, now: float) -> None:
        """Call back for the timers that are due, each once: not for those that a callback sets or cancels."""
        for key in list(self._timers.due(now)):
            if self._timers.get(key) is None and (callback := self._calls.pop(key, None)) is not None:
                self._patient.discard(key)
                callback()

    def close(self) -> None:
        """Close epoll. The descriptors stay open."""
        self._callbacks.clear()
        self._watches.close()


class Group:
    """Descriptors of a poller that can be paused and resumed together. callback(fds) is called with those ready.

    They are in an epoll of their own, which the poller watches. Descriptors that it has no room for are watched by the
    poller itself, and are not paused.
    """

    def __init__(self, poller: Poller, callback: Callable[[list[int]], None]) -> None:
        self._poller = poller
        self._callback = callback
        self._epoll = _new_epoll()
        self._outside: set[int] = set()
        if self._epoll is not None:
            poller.add(self._epoll.fd, select.EPOLLIN, self._report)

    def add(self, fd: int) -> None:
        """Report this descriptor when it is readable."""
        if self._epoll is None or not self._epoll.add(fd, select.EPOLLIN):
            self._poller.add(fd, select.EPOLLIN, self._report)
            self._outside.add(fd)

    def remove(self, fd: int) -> None:
        """Stop reporting this descriptor."""
        if fd in self._outside:
            self._outside.remove(fd)
            self._poller.remove(fd)
        elif self._epoll is not None:
            self._epoll.remove(fd)

    def _report(self, fd: int) -> None:
        if fd in self._outside or self._epoll is None:
            self._callback([fd])
        else:
            self._callback([source for source, _ in self._epoll.wait(0)])

    def pause(self) -> None:
        """Stop reporting all of them until resume()."""
        if self._epoll is not None:
            self._poller.modify(self._epoll.fd, 0)

    def resume(self) -> None:
        """Report them again."""
        if self._epoll is not None:
            self._poller.modify(self._epoll.fd, select.EPOLLIN)

    def close(self) -> None:
        """Close the group's own epoll."""
        if self._epoll is not None:
            self._poller.remove(self._epoll.fd)
            self._epoll.close()
