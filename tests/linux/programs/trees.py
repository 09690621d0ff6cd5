"""trees.py SOURCE [cgroups]: runs process trees; each line of stdin is a Python expression, answered by its repr.

Available names: `trees`, `start(key, command...)`, `reap()`, `gone(key)`, `find(service)`, `commands(pids)`,
`living(word)`, `cross()` and `Service`.
"""

import marshal
import os
import resource
import sys
import time

sys.path.insert(0, sys.argv[1])

from cohabit.plan.model import Service
from cohabit.reactor import pid1, signals
from cohabit.reactor.processes import proc
from cohabit.reactor.processes.cgroup import Cgroups
from cohabit.reactor.processes.daemon import find_daemon
from cohabit.reactor.processes.tree import Trees

signals.block_all()
if not pid1.is_process_1():
    pid1.become_subreaper()
trees = Trees(f"{os.getpid()}-{time.time_ns()}", Cgroups() if "cgroups" in sys.argv else None)


def start(key: str, *command: str) -> int:
    """Start a main process."""
    entrance, limit = trees.entrance(key), trees.limits.limit(key)
    assert limit is not None
    pid = os.fork()
    if pid == 0:
        try:
            if entrance:
                os.makedirs(os.path.dirname(entrance), exist_ok=True)
                fd = os.open(entrance, os.O_WRONLY)
                os.write(fd, b"0")
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_RSS, (limit, limit))
            os.setsid()
            signals.set_mask(())
            os.close(0)
            os.execvpe(command[0], command, {**os.environ, **trees.variables(key)})
        finally:
            os._exit(127)
    trees.started(key, pid)
    return pid


def reap() -> set[str]:
    """Reap ended processes; return the keys of trees with orphans."""
    while True:
        ticks = proc.boot_ticks()
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if pid == 0:
            break
        trees.reaped(pid, ticks)
    return trees.keys_with_orphans()


def gone(key: str) -> bool:
    """Wait until no process of a tree is alive, as a loop does that is woken by CHLD."""
    while key in reap() or key in trees.leaders.values():
        if signals.wait_for({signals.CHLD}, 10.0) is None:
            return False
    trees.ended(key)
    return True


def find(service: Service, *, refused: bool = False) -> tuple[int, str]:
    """Wait for the service's process to end, then search for its daemon. refused: until its pid file is refused."""
    while service.name in trees.leaders.values():
        signals.wait_for({signals.CHLD}, 10.0)
        reap()
    deadline = time.monotonic() + 3
    while True:
        pid, why = find_daemon(service, trees, 0)
        if (pid and bool(why) == refused) or time.monotonic() > deadline:
            return pid, why
        signals.wait_for({signals.CHLD}, 0.002)
        reap()


def commands(pids: list[int]) -> list[str]:
    """The last arguments of their command lines, sorted."""
    return sorted(proc.read(f"/proc/{pid}/cmdline").decode().rstrip("\0").rpartition("\0")[2] for pid in pids)


def living(word: str) -> list[int]:
    """The living processes with this text in their command line."""
    return [
        process.pid
        for process in proc.all_processes()
        if process.lives and word.encode() in proc.read(f"/proc/{process.pid}/cmdline").split(b"\0")
    ]


def cross() -> bool:
    """Drop everything but the re-execution state; True if the restored state is the same."""
    global trees  # noqa: PLW0603 - expressions use one name
    plain = marshal.dumps(trees.to_plain())
    trees = Trees.from_plain(marshal.loads(plain))  # noqa: S302 - our own data
    return marshal.dumps(trees.to_plain()) == plain


print("ready", flush=True)
for line in sys.stdin:
    print(repr(eval(line)), flush=True)  # noqa: S307 - the test writes it
trees.close()
