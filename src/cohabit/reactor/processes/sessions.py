"""Which process tree a session belongs to.

A session is inherited and can only be left for a new one, never entered (setsid(2)): so a process in a session of ours
is a process of ours, whatever its user, environment and limits are. But its number may be given again: not as long as
the process that leads it has not been reaped, and not as long as a member lives, of which the kernel does not tell us.
A member that started before the leader was reaped is one for sure. One that started later may be in a session of
somebody else with the same number; then its tracking limit (tracking.py) has to say so, too.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from cohabit.reactor.processes.proc import Process


class _Session:
    """key: the tree. started_by_us: its leader is. reaped: clock ticks since the boot when that was reaped, or None."""

    __slots__ = ("key", "reaped", "started_by_us")

    def __init__(self, key: str, *, started_by_us: bool, reaped: int | None = None) -> None:
        self.key = key
        self.started_by_us = started_by_us
        self.reaped = reaped


class Sessions:
    """The sessions of the processes that we started, and of the daemons that we adopted."""

    def __init__(self) -> None:
        self._sessions: dict[int, _Session] = {}

    def add(self, number: int, key: str, *, started_by_us: bool) -> None:
        """A leader of this tree leads a session of its own."""
        self._sessions[number] = _Session(key, started_by_us=started_by_us)

    def reaped(self, number: int, ticks: int) -> None:
        """The leader of a session is being reaped; ticks: clock ticks since the boot, before that."""
        session = self._sessions.get(number)
        if session is not None and session.reaped is None:  # else another process had the number meanwhile
            session.reaped = ticks

    def end(self, key: str) -> None:
        """No process of this tree lives but in sessions whose leader does."""
        for number in self.of(key):
            if self._sessions[number].reaped is not None:
                del self._sessions[number]

    def owner(self, process: Process) -> str | None:
        """The tree whose session a process is in, None if it is in none or that is not certain."""
        session = self._sessions.get(process.session)
        if session is None or (session.reaped is not None and process.start >= session.reaped):
            return None
        return session.key

    def key(self, number: int) -> str | None:
        """The tree that a session of this number was of, as far as that is known without /proc."""
        session = self._sessions.get(number)
        return session.key if session else None

    def started_by_us(self, number: int) -> bool:
        """Whether a process that we started leads, or led, this session."""
        return number in self._sessions and self._sessions[number].started_by_us

    def of(self, key: str, *, leaderless: bool = False) -> list[int]:
        """The numbers of a tree's sessions; leaderless: only of those whose leader was reaped."""
        found = [(number, session) for number, session in self._sessions.items() if session.key == key]
        return [number for number, session in found if session.reaped is not None or not leaderless]

    def trees(self) -> set[str]:
        """Every tree that has a session."""
        return {session.key for session in self._sessions.values()}

    def to_plain(self) -> dict[str, Any]:
        """Plain values for from_plain."""
        return {
            "sessions": [(n, one.key, one.started_by_us, one.reaped) for n, one in self._sessions.items()],
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Self:
        """The same sessions again."""
        sessions = cls()
        for number, key, started_by_us, reaped in plain["sessions"]:
            sessions._sessions[number] = _Session(key, started_by_us=started_by_us, reaped=reaped)
        return sessions
