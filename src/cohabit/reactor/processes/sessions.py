"""Which process tree a session belongs to.

A session is inherited. A process can leave it for a new one, but cannot enter another (setsid(2)). So a process in a
session of ours is a process of ours, whatever its user, environment and limits are. But the session's number may be
reused once its leader has been reaped and no member is left, and the kernel does not report when the last member ends.
A member that started before the leader was reaped is certain. A later one may be in another session with the same
number; it needs the tracking limit (tracking.py) as well.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from cohabit.reactor.processes.proc import Process


class _Session:
    """key: the tree. started_by_us: whether we started its leader.

    reaped: clock ticks since the boot when the leader was reaped, or None.
    """

    __slots__ = ("key", "reaped", "started_by_us")

    def __init__(self, key: str, *, started_by_us: bool, reaped: int | None = None) -> None:
        self.key = key
        self.started_by_us = started_by_us
        self.reaped = reaped


class Sessions:
    """The sessions of the processes that we started and of the daemons that we adopted."""

    def __init__(self) -> None:
        self._sessions: dict[int, _Session] = {}

    def add(self, number: int, key: str, *, started_by_us: bool) -> None:
        """Add the session that a leader of this tree leads."""
        self._sessions[number] = _Session(key, started_by_us=started_by_us)

    def reaped(self, number: int, ticks: int) -> None:
        """Note that the leader of a session is being reaped. ticks: clock ticks since the boot, before that."""
        session = self._sessions.get(number)
        if session is not None and session.reaped is None:  # else another process has had the pid since
            session.reaped = ticks

    def end(self, key: str) -> None:
        """Forget the tree's sessions whose leader was reaped: no process is left in them."""
        for number in self.of(key):
            if self._sessions[number].reaped is not None:
                del self._sessions[number]

    def owner(self, process: Process) -> str | None:
        """Return the tree whose session a process is in; None if it is in none, or if that is not certain."""
        session = self._sessions.get(process.session)
        if session is None or (session.reaped is not None and process.start >= session.reaped):
            return None
        return session.key

    def key(self, number: int) -> str | None:
        """Return the tree that a session of this number belonged to. Without /proc, nothing more is known."""
        session = self._sessions.get(number)
        return session.key if session else None

    def started_by_us(self, number: int) -> bool:
        """Whether the leader of this session is, or was, a process that we started."""
        return number in self._sessions and self._sessions[number].started_by_us

    def of(self, key: str, *, leaderless: bool = False) -> list[int]:
        """Return the numbers of a tree's sessions. leaderless: only those whose leader was reaped."""
        found = [(number, session) for number, session in self._sessions.items() if session.key == key]
        return [number for number, session in found if session.reaped is not None or not leaderless]

    def trees(self) -> set[str]:
        """Return the keys of all trees that have a session."""
        return {session.key for session in self._sessions.values()}

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for from_plain."""
        return {
            "sessions": [(n, one.key, one.started_by_us, one.reaped) for n, one in self._sessions.items()],
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Self:
        """Restore the sessions that to_plain returned."""
        sessions = cls()
        for number, key, started_by_us, reaped in plain["sessions"]:
            sessions._sessions[number] = _Session(key, started_by_us=started_by_us, reaped=reaped)
        return sessions
