"""When a daemon puts itself in the background, find which process is the service's main one from then on.

Asked when a service's process has ended with 0 and left processes behind. If there is a pid file, it says; but a file
is only a claim. It counts when it names a child of ours that started in this run, that no other service owns, and
that whoever can have written the file may speak for: the service's own user for its own processes, root for any.
Without a pid file, the answer is the one process of the service's tree that leads no session of ours
(daemon(3), daemon(7)) and that certainly is the service's, or runs as its user. If there are several, none is guessed.

Nothing is remembered here. The parent may end before its child has made that session, has forked once more, or has
written the pid file (nginx does so), and nothing tells when it has; so the caller must ask again, for a bounded time.
"""

from __future__ import annotations

from cohabit.reactor.linux import os
from cohabit.reactor.processes import pid_file, proc
from cohabit.reactor.processes.tree import UNATTRIBUTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.plan.model import Service
    from cohabit.reactor.processes.pid_file import PidFile
    from cohabit.reactor.processes.tree import Trees

_SHOWN_MAX = 5  # processes in one message


def find_daemon(service: Service, trees: Trees, began: int) -> tuple[int, str]:
    """(pid of the service's new main process or 0, why that is not what its pid file says or "").

    began: when this run of the service was started, in clock ticks since the boot. With words and a pid at once the pid
    is what is found without the file, to be taken only when the file stays wrong.
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
    pids = _in_the_background(service.name, trees)
    own = [pid for pid in pids if trees.speaks_for(service.name, pid, uid)]
    if len(own) == 1 and len(pids) == 1:
        return own[0], why
    if pids and not why:
        which = "more than one process is in the background" if len(pids) > 1 else "it runs as another user"
        why = f"cannot tell which process is the main one now: {which}: {_shown(pids)} (name its pid_file)"
    return 0, why


def unattributed(trees: Trees, began: int) -> list[int]:
    """Processes that no service owns, and that turned up since then."""
    found = (proc.look(pid) for pid in trees.orphans_of(UNATTRIBUTED))
    return [one.pid for one in found if one and one.lives and one.start >= began]


def appeared(pids: list[int]) -> str:
    """A warning about them, after a service ended well."""
    return (
        f"its command ended with 0, and what cannot be attributed to any service is in the background since: "
        f"{_shown(pids)} (if that is this service's daemon: name its pid_file, or start it in the foreground)"
    )


def _shown(pids: list[int]) -> str:
    words = [f"{pid} ({proc.name(pid) or 'gone'})" for pid in pids[:_SHOWN_MAX]]
    return ", ".join(words) + (", …" if len(pids) > _SHOWN_MAX else "")


def _in_the_background(key: str, trees: Trees) -> list[int]:
    found = (proc.look(pid) for pid in trees.orphans_of(key))
    return [one.pid for one in found if one and one.lives and not trees.sessions.started_by_us(one.session)]


def _check(claim: PidFile, key: str, trees: Trees, began: int, uid: int) -> None:
    """Raises ValueError for a process that cannot be the service's main one, or for which the file proves nothing."""
    pid = claim.pid
    process = proc.look(pid) if pid > 0 else None
    if process is None or not process.lives:
        raise ValueError(f"there is no process {pid}")
    owner = trees.owner(pid)
    if owner != key and (owner != UNATTRIBUTED or process.parent != os.getpid()):
        raise ValueError(f"process {pid} is not one of this service's")
    if process.parent != os.getpid():
        raise ValueError(f"process {pid} has another parent, which alone is told its end")
    if process.start < began:
        raise ValueError(f"process {pid} was there before this run of the service began")
    users, groups = proc.users(pid), proc.groups(pid)
    if claim.by(set()):
        return
    if owner == key and (trees.speaks_for(key, pid, uid) or (len(users) == 1 and claim.by(users, groups))):
        return
    if users == {uid} and claim.by(users):
        return
    raise ValueError(
        f"process {pid} is not certain to be this service's, and users other than root could have written the file "
        "(keep it in a directory that only root may write)"
    )
