"""The children that follow the log files of services: one for each service with `log_files` (follower.py).

A child is started before the service, and the service waits for it: what is in the files then is not output of the
service, and everything after it is. The child stays until the service is gone or has other files, so the lines of all
its runs are read. When a run ends, its end is reported after its last lines. These waits have limits: a file system
that does not answer delays a service by seconds, and never process 1.
"""

from __future__ import annotations

import select
import time

from cohabit.plan.record import from_plain
from cohabit.reactor.logs.follower import Follower
from cohabit.reactor.poller import is_ready
from cohabit.units import format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cohabit.plan.model import Service
    from cohabit.reactor.context import Context, Ended
    from cohabit.reactor.logs.follower import Positions
    from cohabit.reactor.logs.reader import Reader

_TIMER, _READ_TIMER, _END_TIMER = "log files", "last log lines", "end of follower"
_READY_SECONDS_MAX = 5.0
_READ_SECONDS_MAX = 1.0


class Followers:
    """All children, by service. report_ended(): called when the output of a run that has ended may be complete."""

    def __init__(self, context: Context, reader: Reader, report_ended: Callable[[], None]) -> None:
        self._context = context
        self._reader = reader
        self._report_ended = report_ended
        self._current: dict[str, Follower] = {}
        self._running: dict[int, Follower] = {}  # by number, until it has ended
        self._positions: dict[str, dict[str, Positions]] = {}  # of services whose child has ended
        self._starts: dict[str, Callable[[], None]] = {}  # services that wait for their child
        self._reads: dict[str, bool] = {}  # services whose last lines are waited for; True: no more
        self._count = 0
        self._closing = False

    # --- a start -------------------------------------------------------------------------------------

    def follow(self, service: Service, go_on: Callable[[], None]) -> bool:
        """Follow the files of a service that is to be started. False: go_on() is called later, to try again.

        Raises OSError: no room for a child.
        """
        name, follower = service.name, self._current.get(service.name)
        if follower is not None and _is_for(follower, service):
            if follower.ready:
                return True
        elif follower is not None:
            self._end(follower)  # with other files or another user: the next one starts when it has ended
        elif not service.log_files or self._closing:
            return True
        else:
            self._start(service)
        if name not in self._starts:
            deadline = time.monotonic() + _READY_SECONDS_MAX
            self._context.poller.call_at((_TIMER, name), deadline, lambda: self._not_ready(name))
        self._starts[name] = go_on
        return False

    def cancel(self, name: str) -> None:
        """The start of a service is over: it does not wait any more."""
        if self._starts.pop(name, None) is not None:
            self._context.poller.cancel((_TIMER, name))

    def _start(self, service: Service) -> None:
        self._count += 1
        follower = Follower(self._context, self._reader, service, self._count, self._on_event)
        follower.start(self._positions.get(service.name, {}))
        self._current[service.name] = self._running[follower.number] = follower

    def _not_ready(self, name: str) -> None:
        """The file system does not answer. The service does not wait for it, and the child still does."""
        follower = self._current.get(name)
        waited = format_duration(_READY_SECONDS_MAX)
        self._context.log("warning", name, f"cannot open its log files yet: no answer within {waited} (starting it)")
        if follower is not None and not follower.ending:
            follower.ready = True
        elif follower is not None:
            del self._current[name]  # it is killed, which the kernel may delay
        self._starts.pop(name)()

    def _on_event(self, follower: Follower) -> None:
        name = follower.service.name
        if follower.ended:
            self._running.pop(follower.number, None)
            self._context.poller.cancel((_END_TIMER, str(follower.number)))
            if self._current.get(name) is follower:
                del self._current[name]
                self._positions[name] = follower.positions()
        go_on = self._starts.get(name)
        if go_on is not None and (follower.ready or follower.ended):
            self.cancel(name)
            go_on()
        if name in self._reads and follower.is_complete():
            self._stop_waiting(name)

    # --- the end of a run ----------------------------------------------------------------------------

    def has_read(self, name: str) -> bool:
        """Whether the lines of a run that has ended are read. False: report_ended() is called later, to ask again."""
        follower = self._current.get(name)
        if name not in self._reads and follower is not None and follower.ask():
            self._reads[name] = False
            deadline = time.monotonic() + _READ_SECONDS_MAX
            self._context.poller.call_at((_READ_TIMER, name), deadline, lambda: self._stop_waiting(name))
        return self._reads.get(name, True)

    def _stop_waiting(self, name: str) -> None:
        """The files are read, or cannot be read in time: report the end of the run."""
        self._context.poller.cancel((_READ_TIMER, name))
        self._reads[name] = True
        self._report_ended()
        del self._reads[name]

    # --- the end of a service, or of all -------------------------------------------------------------

    def forget(self, name: str) -> None:
        """The service is in no plan any more."""
        follower = self._current.pop(name, None)
        if follower is not None:
            self._end(follower)
        self._positions.pop(name, None)

    def close(self) -> None:
        """No service is running any more: end all children when they have read everything."""
        self._closing = True
        for follower in list(self._running.values()):
            self._end(follower)

    def _end(self, follower: Follower) -> None:
        if not follower.ending:
            self._kill_later(follower)
            follower.end()

    def _kill_later(self, follower: Follower) -> None:
        deadline = time.monotonic() + _READ_SECONDS_MAX
        self._context.poller.call_at((_END_TIMER, str(follower.number)), deadline, follower.process.kill)

    def finish(self, seconds_left: Callable[[], float]) -> None:
        """Wait for the last lines, at the end of the container. What the pipes hold then is read with the others."""
        self.close()
        while (busy := [each for each in self._running.values() if each.process.output >= 0]) and seconds_left() > 0:
            poll = select.poll()
            for follower in busy:
                poll.register(follower.process.output, select.POLLIN)
                for stream in follower.streams():
                    poll.register(stream.fd, select.POLLIN)
            if not is_ready(poll, min(seconds_left(), _READ_SECONDS_MAX)):
                break
            for follower in busy:
                follower.process.read()
                self._reader.drain_service(follower.service.name)

    # --- re-execution --------------------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """The descriptors that must stay open across the exec."""
        return [fd for each in self._running.values() for fd in each.descriptors()]

    def tasks(self) -> dict[str, Ended]:
        """The keys of the running children, and what must be called when they end."""
        running = [each.process for each in self._running.values() if each.process.running]
        return {process.key: process.ended for process in running}

    def to_plain(self) -> dict[str, Any]:
        """The whole state. Starts are tried again, and ends are reported again, after a re-execution."""
        return {
            "count": self._count,
            "closing": self._closing,
            "followers": [each.to_plain() for each in self._running.values()],
            "current": {name: each.number for name, each in self._current.items()},
            "positions": self._positions,
        }

    def restore(self, plain: dict[str, Any]) -> None:
        """Take over the state from to_plain(), after the streams."""
        self._count, self._closing, self._positions = plain["count"], plain["closing"], plain["positions"]
        for state in plain["followers"]:
            follower = Follower(
                self._context, self._reader, from_plain(state["service"]), state["number"], self._on_event
            )
            follower.restore(state)
            self._running[follower.number] = follower
            if follower.ending:
                self._kill_later(follower)
        self._current = {name: self._running[number] for name, number in plain["current"].items()}


def _is_for(follower: Follower, service: Service) -> bool:
    """Whether it follows the files that the service has now, as the user that the service has."""
    followed = follower.service
    fields = ("log_files", "user", "logging", "multiline_pattern")
    return not follower.ending and all(getattr(followed, each) == getattr(service, each) for each in fields)
