"""A daemon puts itself in the background: here is found out which process is the service from then on.

Asked when a service's process has ended with 0 and left somebody behind. The pid file says, if there is one;
but a file is only a claim, so it counts when it names a process of the service's own tree whose end we would be
told, that is, a child of ours. Without one, or when it is wrong, the answer is the one process that has made
itself a session of its own (daemon(3), daemon(7)) and has us as its parent. If there are several, we do not guess.

Nothing is remembered here. The parent may end before its child has made that session, has forked once more, or has
written the pid file (nginx does so), and nothing tells when it has; so whoever asks must ask again, for a bounded
time. What is read is another's: never waited for, never more than a page, never shown.
"""

from __future__ import annotations

import _stat as stat

from cohabit.reactor.linux import os
from cohabit.reactor.processes import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.plan.model import Service
    from cohabit.reactor.processes.tree import Trees

_LARGEST = 4096  # bytes; PostgreSQL's has eight lines, of which the first is the pid
_LONGEST_PID = 10  # digits


def find_daemon(service: Service, trees: Trees) -> tuple[int, str]:
    """(pid of the service's new main process or 0, why that is not what its pid file says or "").

    With words and a pid at once the pid is a guess, to be taken only when the file stays wrong.
    """
    why = ""
    if service.pid_file:
        path = service.pid_file
        if not path.startswith("/") and service.working_dir:
            path = f"{service.working_dir}/{path}"
        try:
            pid = _read(path)
            _check(pid, service.name, trees)
        except ValueError as error:
            why = f"cannot use the pid_file {service.pid_file}: {error}"
        except OSError as error:
            why = f"cannot use the pid_file {service.pid_file}: {(error.strerror or 'unreadable').lower()}"
        else:
            return pid, ""
    pids = _in_the_background(service.name, trees)
    if len(pids) > 1 and not why:
        words = ", ".join(str(pid) for pid in pids)
        why = f"cannot tell which of the processes that it left behind is the main one: {words} (name its pid_file)"
    return (pids[0] if len(pids) == 1 else 0), why


def _in_the_background(key: str, trees: Trees) -> list[int]:
    found = (proc.look(pid) for pid in trees.orphans_of(key))
    return [process.pid for process in found if process and process.lives and process.session not in trees.sessions]


def _read(path: str) -> int:
    """The number in the file's first line. Raises OSError, and ValueError for whatever it is instead."""
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)  # not the thing itself: to open a device may already do something
    try:
        status = os.fstat(place)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a file")
        if status.st_size == 0:  # the kernel's own files are empty too, so they are never read
            raise ValueError("it is empty")
        if status.st_size > _LARGEST:
            raise ValueError(f"it has {status.st_size} bytes, which no pid has")
        fd = os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(place)
    try:
        word = os.read(fd, _LARGEST).partition(b"\n")[0].strip()
    finally:
        os.close(fd)
    if not word.isdigit() or len(word) > _LONGEST_PID:
        raise ValueError("its first line is not a number")
    return int(word)


def _check(pid: int, key: str, trees: Trees) -> None:
    """Raises ValueError for a process that cannot be the service's main one."""
    process = proc.look(pid) if pid > 0 else None
    if process is None or not process.lives:
        raise ValueError(f"there is no process {pid}")
    if trees.owner(pid) != key:
        raise ValueError(f"process {pid} is not one of this service's")
    if process.parent != os.getpid():
        raise ValueError(f"process {pid} has another parent, who alone is told its end")
