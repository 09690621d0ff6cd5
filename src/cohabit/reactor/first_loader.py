"""The first loader: it is started before most of process 1 is imported, so that both take place at the same time.

Each needs 50 to 100 ms, and neither needs the other. So this module imports only what a fork needs. The Loader of the
loop takes the child over (loader.py), and reports what has become of it.
"""

from __future__ import annotations

from cohabit.program import packed, program
from cohabit.reactor.linux import os, python_environment, services_environment
from cohabit.reactor.processes import spawn
from cohabit.reactor.side_process import Started, spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cohabit.reactor.signals import InheritedSignals


def arguments(
    request: str, scale: Mapping[str, int | None] | None = None, asked: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Return the command of a loader that makes a Plan of this packed request (config/load.py)."""
    return program("loader", "plan", request, packed(scale or {}), packed(asked))


def start(given: InheritedSignals, request: str) -> Started | None:
    """Fork a loader. None if the system has no room for it: the Loader tries again, and reports it."""
    ends: tuple[int, ...] = ()
    try:
        ends = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(ends[0], False)
        wanted = spec(arguments(request), python_environment(services_environment()), given, stdio=(0, ends[1], 2))
        pid, errors = spawn.spawn(wanted)
    except OSError:
        for fd in ends:
            os.close(fd)
        return None
    os.close(ends[1])
    return Started(wanted, pid, errors, ends[0])
