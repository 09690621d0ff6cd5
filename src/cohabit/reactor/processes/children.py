"""The processes that we start, from fork to reaping, and the orphans that come to us.

Here is the one place that waits for children. There are three kinds: the main process of a service; a hook of
it, which lives in the same tree; and tasks of ours (a probe's command, the loader, the clock), each a tree of
its own under a key that no service can have. A main process becomes one fact at the end of its exec (Spawned),
or, when the exec failed, one fact at the child's end (SpawnFailed): so no fact ever speaks of a process that
has not been reaped, and Exited never comes before Spawned. A task's end is told to whoever launched it.

What a service's process finds when it starts is starts.py's; whose process an orphan is, tree.py's.
"""

from __future__ import annotations

import select
import time

from cohabit.engine import events
from cohabit.reactor import pid1, signals
from cohabit.reactor.linux import os
from cohabit.reactor.processes import proc, spawn, tracking
from cohabit.reactor.processes.cgroup import Cgroups, delegated
from cohabit.reactor.processes.daemon import appeared, find_daemon, unattributed
from cohabit.reactor.processes.oom import OutOfMemory
from cohabit.reactor.processes.proc import send
from cohabit.reactor.processes.tree import Trees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cohabit.engine.events import Event
    from cohabit.plan.model import Service
    from cohabit.reactor.poller import Registry
    from cohabit.reactor.processes.child import SpawnSpec

    Ended = Callable[[int, str], None]

_ECANCELED = 125
_REAP_AT_ONCE = 2000  # reaped per turn, so that a flood of orphans cannot starve the services
HOOK = "\0hook"  # after the service's name: the key of its hook
_KILLED = 128 + signals.KILL
_DAEMON_SECONDS = 0.25  # from a parent's end to its daemon's setsid it takes much less
_PID_FILE_SECONDS = 5.0
_REPORTS_MAX = 20  # names of unattributed orphans
_UNATTRIBUTED = (
    "process {pid} ({name}) has lost its parent and cannot be attributed to a service: it is left alone until the "
    "container stops (it comes from `docker exec`, or has left its service's session, cgroup and tracking limit; said "
    "once per command)"
)
_DAEMON_PAUSE_SECONDS = 0.002  # before the second look; each further pause is as long as all before it


class Process:
    """A child of ours. key: its service's name, with a suffix for a hook; or a task's key.

    errors: the pipe that says why its exec failed, -1 once that is settled; message: what came out of it, None
    as long as that is not known. ended: whom to tell of a task's end. asked: it was told to end.
    """

    __slots__ = ("asked", "ended", "errors", "key", "message", "pid", "start")

    def __init__(self, key: str, pid: int, errors: int, start: SpawnSpec | None, ended: Ended | None) -> None:
        self.key = key
        self.pid = pid
        self.errors = errors
        self.message: bytes | None = None
        self.start = start
        self.ended = ended
        self.asked = False

    @property
    def tree(self) -> str:
        """What its descendants belong to."""
        return self.key.removesuffix(HOOK)


class Children:
    """All children. tell(fact) is how the loop learns what became of a service's; drain(service) comes before.

    say(level, service, text): a line for people.
    """

    def __init__(
        self,
        epoll: Registry,
        tell: Callable[[Event], None],
        say: Callable[[str, str, str], None],
        drain: Callable[[str], None],
    ) -> None:
        self.trees = Trees(f"{os.getpid()}-{time.time_ns()}", Cgroups() if pid1.is_process_1() or delegated() else None)
        self.processes: dict[str, Process] = {}
        self.sweeping = False  # everybody has to go; the last one's end is a fact
        self.ended: list[tuple[Process, int]] = []  # with exit codes: reaped and not yet told
        self._began: dict[str, int] = {}  # service -> when its run was started, in clock ticks since the boot
        self._daemons: dict[str, tuple[float, float]] = {}  # ended well, others live: when to look, how long
        self.lingering: set[str] = set()  # services whose main process is gone and of which something lives
        self._reported: set[str] = set()  # names of orphans that were not attributed
        self._out_of_memory = OutOfMemory()
        self._services: dict[str, Service] = {}
        self._by_pid: dict[int, Process] = {}
        self._by_fd: dict[int, Process] = {}
        self._epoll = epoll
        self._tell = tell
        self._say = say
        self._drain = drain

    # --- starting ------------------------------------------------------------------------------------

    def start_main(self, service: Service, start: SpawnSpec) -> int:
        """Fork the main process of a service; returns its pid. Raises OSError when the machine has no room for it."""
        self._services[service.name] = service
        self.lingering.discard(service.name)
        self._began[service.name] = proc.boot_ticks()
        return self._fork(service.name, start, None)

    def start_hook(self, service: Service, start: SpawnSpec) -> int:
        """Fork a hook of a service, at most one at a time; returns its pid. Raises OSError."""
        self._services[service.name] = service
        pid = self._fork(service.name + HOOK, start, None)
        if service.name not in self.processes and service.name not in self._daemons:
            self.lingering.discard(service.name)  # one before the start: whom the last one left is ended with the rest
        return pid

    def launch(self, key: str, start: SpawnSpec, ended: Ended) -> None:
        """Fork a task; `ended(exit code, why its exec failed or "")` comes once, when it was reaped. Raises OSError.

        Once everybody has to go there are no new ones: nobody would tell them.
        """
        if self.sweeping:
            raise OSError(_ECANCELED, "the container is stopping")
        start.environment.update(self.trees.variables(key))
        self._fork(key, start, ended)

    def kill(self, key: str) -> None:
        """End a task with all that it started."""
        process = self.processes.get(key)
        if process is not None:
            self.trees.signal(key, signals.KILL)
            send(process.pid, signals.KILL)

    def _fork(self, key: str, start: SpawnSpec, ended: Ended | None) -> int:
        tree = key.removesuffix(HOOK)
        start.cgroup, start.track = self.trees.entrance(tree), tracking.step(self.trees.limits.limit(tree))
        errors, told = spawn.error_pipe()
        self._epoll.register(errors, select.EPOLLIN)  # before the fork: no child whose pipe is not watched
        try:
            pid = spawn.fork(start, told)
        except OSError:
            self._epoll.unregister(errors)
            os.close(errors)
            raise
        process = Process(key, pid, errors, start, ended)
        self.trees.started(process.tree, pid)
        self._add(process)
        return pid

    def _add(self, process: Process) -> None:
        self.processes[process.key] = self._by_pid[process.pid] = process
        if process.errors >= 0:
            self._by_fd[process.errors] = process

    # --- events --------------------------------------------------------------------------------------

    def owns(self, fd: int) -> bool:
        """Whether an event on this descriptor is for us."""
        return fd in self._by_fd

    def handle(self, fd: int) -> None:
        """A child's exec has an outcome. If it failed, the child's end will tell."""
        process = self._by_fd[fd]
        if self._outcome(process) == b"":
            self._executing(process)

    def _outcome(self, process: Process) -> bytes | None:
        """What the error pipe said: b"" when the exec succeeded, None as long as that is not known."""
        if process.message is None:
            process.message = spawn.exec_errors(process.errors)
            if process.message is not None:
                del self._by_fd[process.errors]
                self._epoll.unregister(process.errors)
                os.close(process.errors)
                process.errors = -1
        return process.message

    def _executing(self, process: Process) -> None:
        process.start = None
        if process.ended is None and process.key == process.tree:
            self._tell(events.Spawned(process.key, process.pid))

    def reap(self) -> None:
        """Reap every process that has ended, and attribute the orphans that came meanwhile."""
        orphans = False
        ticks = proc.boot_ticks()
        for _ in range(_REAP_AT_ONCE):
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                pid = status = 0
                if self.sweeping:
                    self._tell(events.Swept())
            if pid == 0:
                break
            process = self._by_pid.get(pid)
            if os.WIFSTOPPED(status):
                self._stopped(process, os.WSTOPSIG(status))
                continue
            self.trees.reaped(pid, ticks)
            if process is None:
                orphans = True
            else:
                del self._by_pid[pid]
                self.ended.append((process, spawn.exit_code(status)))
        else:
            os.kill(os.getpid(), signals.CHLD)  # there may be more: after the others had their turn
        if not self.sweeping:
            with_orphans = self.trees.with_orphans()
            self._report_unattributed()
            if self.ended or (orphans and self.lingering):
                self._tell_ended(with_orphans)
        elif self.ended:
            self._tell_ended(set())

    @staticmethod
    def _stopped(process: Process | None, number: int) -> None:
        """By ^Z at the terminal, where nobody is above who could ever continue it: as if nothing had been.

        Whom the terminal stops because he is in the background (TTIN, TTOU) would only try again, and again.
        """
        if process is not None and number == signals.TSTP:
            send(-process.pid, signals.CONT)

    # --- ends ----------------------------------------------------------------------------------------

    def _report_unattributed(self) -> None:
        """A line for each command of which an orphan was not attributed, for the first ones of them."""
        for pid in self.trees.unreported:
            name = proc.name(pid)
            if name and name not in self._reported and len(self._reported) < _REPORTS_MAX:
                self._reported.add(name)
                self._say("warning", "", _UNATTRIBUTED.format(pid=pid, name=name))
        self.trees.unreported.clear()

    def _tell_ended(self, with_orphans: set[str]) -> None:
        alive = with_orphans | set(self.trees.leaders.values())
        while self.ended:
            process, code = self.ended.pop(0)
            if self.processes.get(process.key) is process:
                del self.processes[process.key]
            why = self._why_it_never_ran(process)
            if why:
                code = why[1]
            elif process.start is not None and not process.ended:
                self._executing(process)
            words = why[0] if why else ""
            if process.ended is not None:
                self._task_ended(process, process.ended, code, words, alive)
            elif process.key != process.tree:
                self._hook_ended(process.tree, code, words, orphans=process.tree in alive)
            elif why:
                self.never_ran(process.key, words, code)
            else:
                self._main_ended(process, code, orphans=process.key in alive)
        for name in self.lingering - alive:
            self.lingering.discard(name)
            self.trees.ended(name)
            self._drain(name)
            self._tell(events.TreeGone(name))

    def hook_never_ran(self, name: str, why: str, code: int) -> None:
        """A hook of a service could not be forked."""
        self._hook_ended(name, code, why, orphans=self.trees.lives(name))

    def never_ran(self, name: str, why: str, code: int) -> None:
        """The main process of a service could not be started; its hooks may have left somebody behind."""
        orphans = self.trees.lives(name)
        self._tell(events.SpawnFailed(name, why, code, orphans))
        if orphans:
            self.lingering.add(name)
        else:
            self.trees.ended(name)

    def _why_it_never_ran(self, process: Process) -> tuple[str, int] | None:
        if process.start is None or not self._outcome(process):
            return None
        return spawn.failure(process.start, process.message or b"")

    def _task_ended(self, process: Process, ended: Ended, code: int, why: str, alive: set[str]) -> None:
        if process.key not in self.processes:  # else there is a new one of the name already
            if process.key in alive:
                self.trees.signal(process.key, signals.KILL)
            self.trees.ended(process.key)
        ended(code, why)

    def _hook_ended(self, name: str, code: int, why: str, *, orphans: bool) -> None:
        left = orphans and name not in self.processes and name not in self._daemons
        if left:
            self.lingering.add(name)
        elif not orphans:
            self.trees.ended(name)
        self._drain(name)
        self._tell(events.HookEnded(name, code, f"could not be started: {why}" if why else "", left))

    def _main_ended(self, process: Process, code: int, *, orphans: bool) -> None:
        name = process.key
        service = self._services.get(name)
        self._drain(name)
        by_itself = code == 0 and not process.asked and not self.sweeping
        strays = unattributed(self.trees, self._began.get(name, 0)) if by_itself and service and not orphans else []
        if strays and service and not service.pid_file and not service.job:
            self._say("warning", name, appeared(strays))
        started = self.trees.sessions.started_by_us(process.pid)  # else it was the daemon itself
        named = service is not None and service.pid_file and (orphans or strays or started)
        if by_itself and service and (named or (orphans and not service.job)):
            now = time.monotonic()
            self._daemons[name] = (now, now + _patience(service))
            self.due(now)
        else:
            killed = code == _KILLED and not process.asked and name not in self.trees.being_killed
            self._tell_exited(name, code, orphans=orphans, out_of_memory=killed and self._out_of_memory.killed_one())

    def _tell_exited(self, name: str, code: int, *, orphans: bool, out_of_memory: bool = False) -> None:
        self._tell(events.Exited(name, code, orphans, out_of_memory))
        if orphans:
            self.lingering.add(name)
        else:
            self.trees.ended(name)

    # --- who put himself in the background ------------------------------------------------------------

    def deadline(self) -> float | None:
        """Monotonic seconds at which it is worth looking again for a daemon."""
        return min((moment for moment, _ in self._daemons.values()), default=None)

    def due(self, now: float) -> None:
        """Look for the daemons that services left when they ended well.

        Between its parent's end and its setsid(2) a daemon looks like anybody whom the service left behind, and
        its pid file comes when it likes; the kernel tells of neither.
        """
        for name, (moment, until) in list(self._daemons.items()):
            if moment > now:
                continue
            service = self._services[name]
            pid, why = find_daemon(service, self.trees, self._began.get(name, 0))
            if (why or not pid) and now < until and self._may_appear(service):
                pause = min(_DAEMON_PAUSE_SECONDS + (now - (until - _patience(service))), until - now)
                self._daemons[name] = (now + pause, until)
                continue
            del self._daemons[name]
            if why:
                self._say("warning", name, why)
            if pid and self.adopt(name, pid):
                self._tell(events.Daemonised(name, pid))
            else:
                self._tell_exited(name, 0, orphans=self.trees.lives(name))

    def _may_appear(self, service: Service) -> bool:
        """Whether the daemon of a service may still make itself known."""
        strays = service.pid_file and unattributed(self.trees, self._began.get(service.name, 0))
        return bool(strays) or self.trees.lives(service.name)

    def adopt(self, name: str, pid: int) -> bool:
        """Another process of its tree is a service's main one from now on; False if its end would not be told us."""
        before = self.processes.get(name)
        if pid in self._by_pid or not self.trees.adopt(name, pid):  # its hook stays a hook
            return False
        if before is not None:
            self._by_pid.pop(before.pid, None)
        process = Process(name, pid, -1, None, None)
        process.message = b""
        self._add(process)
        return True

    # --- signals -------------------------------------------------------------------------------------

    def signal(self, name: str, number: int) -> None:
        """To the main process, or to the hook that runs before there is one.

        Its stop signal is followed by CONT: whoever is stopped must hear it too, as systemd does.
        """
        service = self._services.get(name)
        ends = service is None or number in (signals.KILL, service.stop_signal)
        if ends and name in self._daemons:  # no time for questions
            del self._daemons[name]
            self._tell_exited(name, 0, orphans=self.trees.lives(name))
            return
        process = self.processes.get(name) or self.processes.get(name + HOOK)
        if process is None:
            return
        process.asked = process.asked or ends
        if send(process.pid, number) and ends and number != signals.KILL:
            send(process.pid, signals.CONT)

    def forget(self, name: str) -> None:
        """A service is in no Plan any more, and nothing of it lives."""
        self._services.pop(name, None)
        self._began.pop(name, None)

    def sweep(self, number: int) -> None:
        """To everybody who is left; Swept is told when nobody is."""
        self.sweeping = True
        self.trees.signal_everybody(number)
        self.reap()

    # --- crossing a re-execution ---------------------------------------------------------------------

    def to_plain(self) -> dict[str, Any]:
        """Who there is."""
        everybody = [(p, -1) for p in self.processes.values() if p.pid in self._by_pid] + self.ended
        return {
            "processes": [(p.key, p.pid, p.errors, p.message, p.ended is not None, code) for p, code in everybody],
            "lingering": sorted(self.lingering),
            "daemons": self._daemons,
            "began": self._began,
            "sweeping": self.sweeping,
            "out_of_memory": self._out_of_memory.count,
            "trees": self.trees.to_plain(),
        }

    def descriptors(self) -> list[int]:
        """What must stay open across the exec."""
        return list(self._by_fd)

    def restore(self, plain: dict[str, Any], tasks: dict[str, Ended]) -> None:
        """Take over where to_plain was called. tasks: those that go on, by their keys; others are killed."""
        self.lingering, self.sweeping = set(plain["lingering"]), plain["sweeping"]
        self._daemons, self._began = plain["daemons"], plain["began"]
        self._out_of_memory.count = plain["out_of_memory"]
        self.trees = Trees.from_plain(plain["trees"])
        for key, pid, errors, message, task, code in plain["processes"]:
            process = Process(key, pid, errors, None, tasks.get(key, _nobody) if task else None)
            process.message = message
            if code >= 0:
                if not task or key in tasks:
                    self.ended.append((process, code))
                continue
            if errors >= 0:
                os.set_inheritable(errors, False)
                self._epoll.register(errors, select.EPOLLIN)
            self._add(process)
            if task and key not in tasks:
                self.kill(key)

    def meet(self, services: dict[str, Service], describe: Callable[[Service, tuple[str, ...]], SpawnSpec]) -> None:
        """After restore: whose processes these are, for the words about a start that fails."""
        self._services = services
        for process in (*self.processes.values(), *(process for process, _ in self.ended)):
            service = services.get(process.tree)
            if service is not None and process.ended is None and process.message != b"":
                process.start = describe(service, service.command)

    def knows(self, name: str) -> bool:
        """Whether something of this service is still expected."""
        ended = any(process.tree == name for process, _ in self.ended)
        here = name in self.processes or name + HOOK in self.processes
        return ended or here or name in self.lingering or name in self._daemons


def _patience(service: Service) -> float:
    return _PID_FILE_SECONDS if service.pid_file else _DAEMON_SECONDS


def _nobody(_code: int, _why: str) -> None:
    """Whom a task's end is told when a re-execution came in between."""
