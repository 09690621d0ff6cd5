"""Transitions: the one source of the history of a service, of the events on the control socket, and of its counters."""

from __future__ import annotations

from cohabit.engine.machine import AT_REST, BACKOFF, EXITED, FATAL, STARTING, STOPPED
from cohabit.plan.record import Record, from_plain, to_plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.plan.reason import Reason

    Entry = tuple[float, str, Reason | None, int | None, str, int, bool, int]

_ENTRIES_KEPT = 32  # enough for six crashes in a row
# Events besides the states.
READY, UNHEALTHY, HEALTHY_AGAIN, WANTED = "ready", "unhealthy", "healthy", "wanted"
SPAWNED = "spawned"  # its command runs, and its state is still STARTING (`startup`)
IS_PAUSED, UNPAUSED = "paused", "unpaused"
CHANGED = "changed"  # its files have changed, and it is restarted
_START_COMPLETE = (EXITED, FATAL, STOPPED)  # events that complete a start; READY does, too, if it lasts
_STABLE_SECONDS = 10.0  # a run that ends earlier is a part of the start; Docker resets its back-off after such a run


class Transition(Record):
    """One change of a service, or of the container.

    service: its name, "" for the container. time: monotonic seconds. event: the state that was entered, or another
    event. before, after: the states, the same if it is another event; "" for the container. pid: of its main process,
    0 if there is none. expected: False if it is a failure. reason, code: if a run has ended, why, and its exit code.
    tries: failed starts in a row, of a service with `startup` (STARTING, BACKOFF, FATAL).
    """

    service: str
    time: float
    event: str
    before: str = ""
    after: str = ""
    pid: int = 0
    expected: bool = True
    reason: Reason | None = None
    code: int | None = None
    tries: int = 0

    @property
    def ends_run(self) -> bool:
        """Whether its last process has ended."""
        return self.before not in AT_REST and self.after in AT_REST

    @property
    def entry(self) -> Entry:
        """The same in a history."""
        return (self.time, self.event, self.reason, self.code, self.before, self.pid, self.expected, self.tries)


class History:
    """What a service has done.

    entries: the last events, (time, state or other event, reason or None, exit code or None, state before it, pid,
    expected, tries), as in Transition.
    timeline: the events of its first start, (time, event), the first 31 and the last.
    since: when the current state was entered.
    starts: how often its command ran. restarts: how often its restart policy started it again. exits: the ends of its
    runs, by the kind of the reason. These three are counters: they never decrease.
    """

    __slots__ = ("entries", "exits", "restarts", "since", "starts", "timeline")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.timeline: list[tuple[float, str]] = []
        self.since: float | None = None
        self.starts = 0
        self.restarts = 0
        self.exits: dict[str, int] = {}

    def add(self, transition: Transition, *, job: bool = False) -> None:
        """Add a transition: to the entries, to the timeline while the first start is under way, and to the counters.

        job: its start is complete when it has ended.
        """
        time, event = transition.time, transition.event
        self.entries = [*self.entries[1 - _ENTRIES_KEPT :], transition.entry]
        if event == WANTED if not self.timeline else self._is_starting(time, job=job):
            self.timeline = [*self.timeline[: _ENTRIES_KEPT - 1], (time, event)]
        if transition.before != transition.after:
            self.since = time
            self._count(transition)

    def _is_starting(self, now: float, *, job: bool) -> bool:
        """Whether the first start was under way before the event of this moment."""
        time, event = self.timeline[-1]
        return event not in _START_COMPLETE and (event != READY or job or now - time < _STABLE_SECONDS)

    def _count(self, transition: Transition) -> None:
        if transition.before == STARTING and transition.pid:
            self.starts += 1
        if transition.after == STARTING and transition.before == BACKOFF:
            self.restarts += 1
        if transition.ends_run and transition.reason is not None:
            kind = transition.reason.kind
            self.exits = {**self.exits, kind: self.exits.get(kind, 0) + 1}

    def to_plain(self) -> dict[str, Any]:
        """The re-execution state, as plain values."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        plain["entries"] = entries_to_plain(self.entries)
        return plain

    @classmethod
    def restored(cls, plain: dict[str, Any]) -> History:
        """The inverse of to_plain."""
        history = cls()
        for name in cls.__slots__:
            if name in plain:
                setattr(history, name, plain[name])
        history.entries = entries_from_plain(history.entries)
        return history


def entries_to_plain(entries: list[Entry]) -> list[Any]:
    """The entries of a history for the re-execution state."""
    return [(time, event, to_plain(reason), *rest) for time, event, reason, *rest in entries]


def entries_from_plain(plain: list[Any]) -> list[Entry]:
    """The inverse of entries_to_plain."""
    return [(time, event, from_plain(reason), *rest) for time, event, reason, *rest in plain]
