"""Tracking limits: a mark that a process inherits, cannot lose by accident, and that anybody may read.

Each process tree gets a range of values of its own, and its processes the highest of them as their hard limit of
RLIMIT_RSS. Linux has ignored that limit since 2.4.30 (getrlimit(2)). It survives fork, exec, setsid, a change of user,
`env -i` and pam_limits, and /proc/PID/limits shows it to everybody, without CAP_SYS_PTRACE. A range rather than one
value, so that a cohabit that runs inside a service can divide the range of that service among its own.

A process can lower its limit, also to a value in the range of another tree; one with CAP_SYS_RESOURCE can raise it.
So the limit tells which tree an orphan belongs to, and never what a process is allowed to do (docs/adr/0010).

A range is never used twice: a process that outlives its tree unseen must not be taken for a member of a later one.
"""

from __future__ import annotations

import resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

_LOWEST = 1 << 62  # bytes: far above what anybody sets as a limit, and within what setrlimit takes
_BEYOND = 1 << 63
_SPAN = 1 << 24  # values for each tree; in a tree that a cohabit divides again, one value for each


class TrackingLimits:
    """Which tree has which range. `span` is 0 where no ranges can be had: our own hard limit is lower than all."""

    def __init__(self, hard_limit: int | None = None) -> None:
        """hard_limit: our own, in bytes; None to ask the kernel."""
        own = resource.getrlimit(resource.RLIMIT_RSS)[1] if hard_limit is None else hard_limit
        self.lowest, self.beyond, self.span = _ranges_below(own)
        self._used = 0  # how many ranges have been given away
        self._ranges: dict[str, int] = {}  # key of a tree -> its range's number
        self._keys: dict[int, str] = {}

    def limit(self, key: str) -> int | None:
        """The hard limit of this tree's processes, in bytes; None if no ranges can be had or none is left."""
        number = self._ranges.get(key)
        if number is None:
            number = self._used
            if not self.span or self.lowest + (number + 1) * self.span > self.beyond:
                return None
            self._used += 1
            self._ranges[key] = number
            self._keys[number] = key
        return self.lowest + (number + 1) * self.span - 1

    def owner(self, hard_limit: int) -> str | None:
        """The key of the tree whose range holds this limit, None if there is no such tree."""
        if not self.lowest <= hard_limit < self.beyond:
            return None
        return self._keys.get((hard_limit - self.lowest) // self.span)

    def forget(self, key: str) -> None:
        """Nothing of this tree lives, and it does not come back under this key."""
        number = self._ranges.pop(key, None)
        if number is not None:
            del self._keys[number]

    def to_plain(self) -> dict[str, Any]:
        """Plain values for from_plain."""
        return {"bounds": (self.lowest, self.beyond, self.span), "used": self._used, "ranges": self._ranges}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Self:
        """The same ranges again."""
        limits = cls(0)
        limits.lowest, limits.beyond, limits.span = plain["bounds"]
        limits._used, limits._ranges = plain["used"], plain["ranges"]
        limits._keys = {number: key for key, number in limits._ranges.items()}
        return limits


def step(hard_limit: int | None) -> Callable[[], None]:
    """What a child does to be tracked. Where that fails, it is attributed by what else it carries."""

    def track() -> None:
        try:
            if hard_limit is not None:
                resource.setrlimit(resource.RLIMIT_RSS, (hard_limit, hard_limit))
        except (OSError, ValueError):
            return

    return track


def _ranges_below(own: int) -> tuple[int, int, int]:
    """(lowest value, the value beyond the highest, span) of the ranges that we may give; (0, 0, 0) for none."""
    if own == resource.RLIM_INFINITY:
        return _LOWEST, _BEYOND, _SPAN
    if own >= _LOWEST and own % _SPAN == _SPAN - 1:  # the highest of a range: we run in a tree of another cohabit
        return own + 1 - _SPAN, own, 1
    return 0, 0, 0
