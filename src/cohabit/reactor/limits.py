"""Open files: process 1 may need more than it was given, the services get what was given.

Two pipes per service and one more while it starts: 500 services need 1,500 descriptors, and the usual soft
limit is 1,024 (getrlimit(2)). The soft limit is raised only if the plan needs it, never the hard one, and
each child gets the first one back, since some programs walk over all possible descriptors.
"""

from __future__ import annotations

import resource

_PER_SERVICE = 3
_OWN = 64


def make_room(services: int) -> tuple[int, int] | None:
    """Raise the soft limit if this many services need it; returns what a child must get back, or None."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = services * _PER_SERVICE + _OWN
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return None
    most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return soft, hard


def give_back(limits: tuple[int, int]) -> None:
    """In a child: the limits as they were given to us."""
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
