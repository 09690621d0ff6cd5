"""Find the process that continues a service as a daemon, after the service's command has moved to the background.

Used after a service's main process has ended with 0 and left processes behind. If the service has a pid file, the
file names the daemon. But a pid file is only a claim. It counts if it names a child of ours that started in this run
and that no other service owns, and if every possible author of the file may speak for that process: the service's
user for the service's own processes, root for any. Without a pid file, the daemon is the one process of the service's
tree that is in no session of ours (daemon(3), daemon(7)) and that certainly belongs to the service or runs as its
user. If there are several, none is chosen.

Nothing is stored here. The parent may end before its child has created its session, has forked again, or has written
the pid file (nginx does so). No event reports any of these, so the caller must call again, for a bounded time.
"""

from __future__ import annotations

from cohabit.plan.file_words import word
from cohabit.reactor.linux import os
from cohabit.reactor.processes import pid_file, proc
from cohabit.reactor.processes.tree import UNATTRIBUTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.plan.model import Service
    from cohabit.reactor.processes.pid_file import PidFile
    from cohabit.reactor.processes.tree import Trees

_LISTED_MAX = 5  # processes in one message


def find_daemon(service: Service, trees: Trees, began: int) -> tuple[int, str]:
    """Return (pid of the service's new main process or 0, why its pid file cannot be used or "").

    began: clock ticks since the boot at which this run of the service was started. If both values are set, the pid was
    found without the pid file: use it only if the pid file stays invalid.
    """
    why = ""
    uid = service.user.uid if service.user else os.geteuid()
    if service.pid_file:
        path = service.pid_file
        if not path.startswith("/") and service.working_dir:
            path = f"{service.working_dir}/{path}"
        try:
            found = pid_file.read(path)
            _check(found, service.name, trees, began, uid)
        except ValueError as error:
            why = f"cannot use the pid_file {service.pid_file}: {error}"
        except OSError as error:
            why = f"cannot use the pid_file {service.pid_file}: {(error.strerror or 'unreadable').lower()}"
        else:
            return found.pid, ""
    pids = _background_processes(service.name, trees)
    accepted = [pid for pid in pids if trees.speaks_for(service.name, pid, uid)]
    if len(accepted) == 1 and len(pids) == 1:
        return accepted[0], why
    if pids and not why:
        which = "more than one process is in the background" if len(pids) > 1 else "it runs as another user"
        hint = word("daemon", supervisord=service.startup is not None)
        why = f"cannot determine the main process: {which}: {_list(pids)} ({hint})"
    return 0, why


def unattributed(trees: Trees, began: int) -> list[int]:
    """Return the processes that belong to no service and have started since then."""
    found = (proc.read_process(pid) for pid in trees.orphans_of(UNATTRIBUTED))
    return [one.pid for one in found if one and one.lives and one.start >= began]


def unattributed_warning(service: Service, pids: list[int]) -> str:
    """Return a warning that names them, after a service has ended normally."""
    return (
        f"its command ended with 0, and processes that started during its run cannot be attributed to a service: "
        f"{_list(pids)} (if this is its daemon: {word('daemon', supervisord=service.startup is not None)})"
    )


def _list(pids: list[int]) -> str:
    names = [f"{pid} ({proc.name(pid) or 'gone'})" for pid in pids[:_LISTED_MAX]]
    return ", ".join(names) + (", …" if len(pids) > _LISTED_MAX else "")


def _background_processes(key: str, trees: Trees) -> list[int]:
    found = (proc.read_process(pid) for pid in trees.orphans_of(key))
    ours = os.getsid(0)  # of a service with setsid: false
    return [
        one.pid
        for one in found
        if one and one.lives and one.session != ours and not trees.sessions.started_by_us(one.session)
    ]


def _check(claim: PidFile, key: str, trees: Trees, began: int, uid: int) -> None:
    """Raise ValueError if the process cannot be the service's main one, or if the file proves nothing about it."""
    pid = claim.pid
    process = proc.read_process(pid) if pid > 0 else None
    if process is None or not process.lives:
        raise ValueError(f"there is no process {pid}")
    owner = trees.owner(pid)
    if owner != key and (owner != UNATTRIBUTED or process.parent != os.getpid()):
        raise ValueError(f"process {pid} is not one of this service's")
    if process.parent != os.getpid():
        raise ValueError(f"process {pid} is not a child of cohabit, which would not see its end")
    if process.start < began:
        raise ValueError(f"process {pid} was started before this run of the service")
    users, groups = proc.users(pid), proc.groups(pid)
    if claim.by(set()):
        return
    if owner == key and (trees.speaks_for(key, pid, uid) or (len(users) == 1 and claim.by(users, groups))):
        return
    if users == {uid} and claim.by(users):
        return
    raise ValueError(
        f"process {pid} may not belong to this service, and users other than root could have written the file "
        "(put it into a directory that only root can write)"
    )
