"""A system call made by a child, for calls such as listen(2) after which the kernel stores the caller's identity."""

from __future__ import annotations

import errno
import select

from cohabit.reactor import signals
from cohabit.reactor.linux import os
from cohabit.reactor.processes.spawn import exit_code, fork_to

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from cohabit.plan.model import Credentials

_CHILD_SECONDS = 2.0


def in_child(act: Callable[[], object], identity: Credentials | None) -> None:
    """Call `act` in a child that ends at once, with a user's identity as far as the kernel permits.

    Only the effective identity is the user's: a process with that real or saved uid could be stopped by the user
    (SIGSTOP). Raises OSError, also if the child does not end in time.
    """
    ended, held = os.pipe2(os.O_CLOEXEC)
    try:
        pid = fork_to(lambda: _act_as(act, identity), held)
    except OSError:
        os.close(ended)
        raise
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    in_time = poll.poll(_CHILD_SECONDS * 1000)
    os.close(ended)
    if not in_time:
        os.kill(pid, signals.KILL)  # the loop reaps it
        raise OSError(errno.ETIMEDOUT, f"the child that makes this system call did not end within {_CHILD_SECONDS:g} s")
    code = exit_code(os.waitpid(pid, 0)[1])
    if code:
        raise OSError(code, os.strerror(code))


def _act_as(act: Callable[[], object], identity: Credentials | None) -> NoReturn:
    """Call `act` with a user's effective identity if permitted; the exit code is the errno."""
    code = errno.EINVAL
    try:
        if identity is not None:
            try:
                os.setgroups(identity.groups)
                os.setegid(identity.gid)
                os.seteuid(identity.uid)
            except PermissionError:
                pass  # the caller is still another process than process 1
        act()
        code = 0
    except OSError as error:
        code = error.errno or errno.EINVAL
    finally:
        os._exit(code)
