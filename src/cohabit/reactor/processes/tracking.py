"""Tracking limits: a value that processes inherit and cannot lose by accident, and that every process may read.

Each process tree gets a range of values. The hard limit of RLIMIT_RSS of its processes is the highest value of the
range. Linux has ignored that limit since 2.4.30 (getrlimit(2)). It survives fork, exec, setsid, a change of user,
`env -i` and pam_limits, and /proc/PID/limits shows it to every user, without CAP_SYS_PTRACE. A tree has a range
instead of a single value so that a cohabit inside a service can divide the range of that service among its own trees.

A process can lower its limit, also to a value in the range of another tree; with CAP_SYS_RESOURCE it can raise it.
So the limit shows which tree an orphan belongs to, and never what a process is allowed to do (docs/adr/0010).

A range is never reused: a process that outlives its tree unnoticed must not be taken for a member of a later one.
"""

from __future__ import annotations

import resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

STEP = "set its tracking limit"
_LOWEST = 1 << 62  # bytes: far above any real limit, and valid for setrlimit
_BEYOND = 1 << 63
_SPAN = 1 << 24  # values per tree; one value per tree when a cohabit divides the range of its own tree


class TrackingLimits:
    """The ranges of all trees. `span` is 0 if there are none: our own hard limit is below all of them."""

    def __init__(self, hard_limit: int | None = None) -> None:
        """hard_limit: our own, in bytes; None to read it from the kernel."""
        own = resource.getrlimit(resource.RLIMIT_RSS)[1] if hard_limit is None else hard_limit
        self.lowest, self.beyond, self.span = _ranges_below(own)
        self._used = 0  # number of ranges assigned so far
        self._ranges: dict[str, int] = {}  # key of a tree -> number of its range
        self._keys: dict[int, str] = {}

    def limit(self, key: str) -> int | None:
        """Return the hard limit of this tree's processes, in bytes; None if no range is available."""
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
        """Return the key of the tree whose range contains this limit, or None."""
        if not self.lowest <= hard_limit < self.beyond:
            return None
        return self._keys.get((hard_limit - self.lowest) // self.span)

    def forget(self, key: str) -> None:
        """Forget a tree of which nothing is running and whose key is not used again."""
        number = self._ranges.pop(key, None)
        if number is not None:
            del self._keys[number]

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for from_plain."""
        return {"bounds": (self.lowest, self.beyond, self.span), "used": self._used, "ranges": self._ranges}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Self:
        """Restore the ranges that to_plain returned."""
        limits = cls(0)
        limits.lowest, limits.beyond, limits.span = plain["bounds"]
        limits._used, limits._ranges = plain["used"], plain["ranges"]
        limits._keys = {number: key for key, number in limits._ranges.items()}
        return limits


def step(hard_limit: int | None) -> Callable[[], None]:
    """Return what a child calls to set its limit. If that fails, the child is attributed by its other evidence."""

    def track() -> None:
        try:
            if hard_limit is not None:
                resource.setrlimit(resource.RLIMIT_RSS, (hard_limit, hard_limit))
        except (OSError, ValueError):
            return

    return track


def _ranges_below(own: int) -> tuple[int, int, int]:
    """Return (lowest value, the value above the highest, span) of the ranges that we may assign; (0, 0, 0) for none."""
    if own == resource.RLIM_INFINITY:
        return _LOWEST, _BEYOND, _SPAN
    if own >= _LOWEST and own % _SPAN == _SPAN - 1:  # the highest value of a range: we run in a tree of another cohabit
        return own + 1 - _SPAN, own, 1
    return 0, 0, 0
