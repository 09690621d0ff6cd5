"""Whether a job-control shell is above us. `init` loads this only when the terminal has stopped its command.

A shell notices that a process group stops if it is the parent of one of its processes, is in the same session and in
another group (credentials(7)). An init such as tini is in that place too, with `docker run -it --init`, and never
continues what has stopped. They differ in their own TSTP: a shell ignores or catches it, because ^Z must not stop the
shell. Inits block it: they receive signals with sigwait(3).
"""

from __future__ import annotations

from cohabit.reactor import signals
from cohabit.reactor.linux import os
from cohabit.reactor.processes import proc

_ANCESTORS_MAX = 10_000


def has_shell() -> bool:
    """Whether a shell would notice that our process group stops. True without /proc: then the kernel decides."""
    if not proc.is_ours():
        return True
    ours, session, pid = os.getpgrp(), os.getsid(0), os.getppid()
    for _ in range(_ANCESTORS_MAX):
        try:
            if pid <= 0 or os.getsid(pid) != session:
                return False
            if os.getpgid(pid) != ours:
                return _survives_stop_key(pid)
        except OSError:
            return False
        process = proc.read_process(pid)
        if process is None:
            return False
        pid = process.parent
    return False


def _survives_stop_key(pid: int) -> bool:
    status = proc.read(f"/proc/{pid}/status")
    blocked, ignored, caught = (
        int(status.partition(field)[2].partition(b"\n")[0] or b"0", 16)
        for field in (b"\nSigBlk:", b"\nSigIgn:", b"\nSigCgt:")
    )
    return bool((ignored | caught) & ~blocked & 1 << (signals.TSTP - 1))
