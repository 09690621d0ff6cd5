"""Resource limits, nice, oom_score_adj, umask and capabilities of a process.

Process 1 itself may need more open files than its soft limit allows: 500 services need about 3,000 descriptors
(output, readiness, a probe or a start), and the usual soft limit is 1,024 (getrlimit(2)). The soft limit is raised
only if the plan needs it, the hard limit never. Each child gets the original soft limit back, because some programs
walk over all possible descriptors.

The settings of a service become steps that its child executes between fork and exec (child.py). Each step has a text
for the message if it fails.
"""

from __future__ import annotations

import errno
import resource

from cohabit.plan.model import Limits
from cohabit.reactor.linux import os
from cohabit.reactor.processes import privileges

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cohabit.reactor.processes.child import Step

_PER_SERVICE = 6  # two of output, two of readiness, one or two of a probe or a start
_OWN = 192  # including the clients of the control socket
_NOTHING = Limits()
STEP_AMBIENT = "give it its ambient capabilities"


def make_room(services: int) -> tuple[int, int] | None:
    """Raise the soft limit if this many services need it; returns the limits to restore in a child, or None."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = services * _PER_SERVICE + _OWN
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return None
    most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return soft, hard


def give_back(limits: tuple[int, int]) -> None:
    """In a child: restore the original limits."""
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def steps(
    limits: Limits, given: tuple[int, int] | None = None, *, ambient: bool = True
) -> tuple[list[Step], list[Step]]:
    """Return the steps of a child before it switches to its user, and after. given: the value that make_room returned.

    Raising a limit and emptying the bounding set need privileges that the user does not have. The capabilities are
    dropped last, because switching to the user needs some of them. ambient: it runs as the user who has the ambient
    capabilities.
    """
    before: list[Step] = []
    after: list[Step] = []
    if given is not None:
        before.append(("restore its limits", lambda: give_back(given)))
    if limits == _NOTHING:
        return before, after
    adjustment, nice, umask, dropped = limits.oom_score_adj, limits.nice, limits.umask, limits.cap_drop
    if adjustment is not None:
        before.append((f"set its oom_score_adj to {adjustment}", lambda: _write("oom_score_adj", adjustment)))
    if nice is not None:
        before.append((f"set its nice to {nice}", lambda: _set_nice(nice)))
    if limits.ulimits:
        before.append(("set its ulimits", lambda: _set_ulimits(limits.ulimits)))
    if umask is not None:
        before.append(("set its umask", lambda: os.umask(umask)))
    if dropped:
        before.append(("drop its capabilities", lambda: privileges.drop_from_bounding_set(dropped)))
        after.append(("drop its capabilities", lambda: privileges.drop(dropped)))
    if ambient and limits.ambient:
        before.append((STEP_AMBIENT, privileges.keep_for_user))
        after.append((STEP_AMBIENT, lambda: privileges.make_ambient(limits.ambient)))
    if limits.no_new_privileges:
        after.append(("forbid it new privileges", privileges.forbid_new))
    return before, after


def without_ambient(after: Sequence[Step], step: Step) -> list[Step]:
    """The steps after the switch with another one that runs as the user, without the ambient capabilities."""
    names = [name for name, _ in after]
    at = names.index(STEP_AMBIENT) if STEP_AMBIENT in names else len(names)
    return [*after[:at], step, *after[at:]]


def _set_ulimits(ulimits: tuple[tuple[int, int, int], ...]) -> None:
    """Set each soft and hard limit. Of `rss`, only the soft limit is set: the hard one is the tracking limit."""
    for number, soft, hard in ulimits:
        try:
            resource.setrlimit(number, _below_tracking_limit(soft) if number == resource.RLIMIT_RSS else (soft, hard))
        except ValueError:  # Python's exception for EPERM and EINVAL
            raise PermissionError(
                errno.EPERM, f"{_name(number)} {soft}:{hard} is more than the container permits"
            ) from None


def _below_tracking_limit(soft: int) -> tuple[int, int]:
    hard = resource.getrlimit(resource.RLIMIT_RSS)[1]
    return (hard if soft < 0 or 0 <= hard < soft else soft), hard


def _name(number: int) -> str:
    """Return the key of a limit in the file: nofile for RLIMIT_NOFILE."""
    names = [name for name in dir(resource) if name.startswith("RLIMIT_") and getattr(resource, name) == number]
    return names[0].removeprefix("RLIMIT_").lower() if names else str(number)


def _set_nice(nice: int) -> None:
    """Set nice for the process and its session: if the kernel groups by session, only that one counts (sched(7))."""
    os.setpriority(os.PRIO_PROCESS, 0, nice)
    try:
        _write("autogroup", nice)
    except OSError:
        return  # no autogroups in this kernel, or a change too soon after the last one


def _write(file: str, number: int) -> None:
    fd = os.open(f"/proc/self/{file}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, str(number).encode())
    finally:
        os.close(fd)
