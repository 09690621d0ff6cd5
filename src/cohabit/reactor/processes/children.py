"""The processes that we start, from fork to reaping, and the orphans that become our children.

This is the only module that waits for children. There are three kinds: the main process of a service; a hook of the
service, in the same tree; and tasks (a probe's command, the loader, the clock), each with a tree of its own under a
key that cannot be a service's name. A main process causes one event at the end of its exec (Spawned) or, if the exec
failed, one event when the child is reaped (SpawnFailed). So Exited and SpawnFailed always refer to a process that has
been reaped, and Exited never comes before Spawned. The end of a task is reported to the caller of `launch`.

launcher.py prepares what a service's process finds when it starts; tree.py decides which tree an orphan belongs to.
"""

from __future__ import annotations

import errno
import select
import time

from cohabit.engine import events
from cohabit.errors import EXIT_SYSTEM
from cohabit.plan.reason_text import text_of
from cohabit.reactor import pid1, signals
from cohabit.reactor.linux import os
from cohabit.reactor.processes import proc, spawn, start_failure, tracking
from cohabit.reactor.processes.cgroup import Cgroups, delegated
from cohabit.reactor.processes.daemon import find_daemon, unattributed, unattributed_warning
from cohabit.reactor.processes.oom import OutOfMemory
from cohabit.reactor.processes.proc import send
from cohabit.reactor.processes.tree import Trees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cohabit.engine.events import Event
    from cohabit.plan.model import Service
    from cohabit.plan.reason import Reason
    from cohabit.reactor.context import Ended
    from cohabit.reactor.poller import Poller
    from cohabit.reactor.processes.child import SpawnSpec


_REAPED_MAX = 2000  # per turn, so that a flood of orphans cannot starve the services
OUTLASTING = "\0\0"  # prefix of the keys of tasks that a sweep does not wait for, because they write its last messages
HOOK = "\0hook"  # suffix of a service's name: the key of its hook
_KILLED = 128 + signals.KILL
_DAEMON_SECONDS = 0.25  # a daemon calls setsid much sooner after its parent's end
_PID_FILE_SECONDS = 5.0
_REPORTS_MAX = 20  # commands of unattributed orphans that are reported
_UNATTRIBUTED = (
    "process {pid} ({name}) has lost its parent and cannot be attributed to a service: it is left alone until the "
    "container stops (it may come from `docker exec`, or have left its service's session, cgroup and tracking limit; "
    "reported once per command)"
)
_DAEMON_PAUSE_SECONDS = 0.002  # before the second attempt; each later pause is as long as all before it


class Process:
    """A child of ours. key: its service's name, with a suffix for a hook; or a task's key.

    errors: the pipe that reports a failed exec, -1 once the outcome is known; message: what the child wrote to it, None
    before that. ended: callback for a task's end. stop_requested: it was sent a signal to stop.
    """

    __slots__ = ("ended", "errors", "key", "message", "pid", "start", "stop_requested")

    def __init__(self, key: str, pid: int, errors: int, start: SpawnSpec | None, ended: Ended | None) -> None:
        self.key = key
        self.pid = pid
        self.errors = errors
        self.message: bytes | None = None
        self.start = start
        self.ended = ended
        self.stop_requested = False

    @property
    def tree(self) -> str:
        """The key of the tree that its descendants belong to."""
        return self.key.removesuffix(HOOK)


class Children:
    """All children of this process.

    emit(event): what became of a service's processes. drain(service): called before its end is reported, to read its
    remaining output. say(level, service, text): a log line.
    """

    def __init__(
        self,
        poller: Poller,
        emit: Callable[[Event], None],
        say: Callable[[str, str, str], None],
        drain: Callable[[str], None],
    ) -> None:
        self.trees = Trees(f"{os.getpid()}-{time.time_ns()}", Cgroups() if pid1.is_process_1() or delegated() else None)
        self.processes: dict[str, Process] = {}
        self.sweeping = False  # the final sweep: everything is ended, and Swept reports that no child is left
        self.ended: list[tuple[Process, int]] = []  # with exit codes: reaped and not reported yet
        self._started_at: dict[str, int] = {}  # service -> start of its run, clock ticks since the boot
        self._daemons: dict[str, float] = {}  # moved to the background: until when its daemon is searched
        self.lingering: set[str] = set()  # services without a main process, with running processes
        self._reported: set[str] = set()  # commands of unattributed orphans
        self._out_of_memory = OutOfMemory()
        self._services: dict[str, Service] = {}
        self._by_pid: dict[int, Process] = {}
        self._poller = poller
        self._emit = emit
        self._say = say
        self._drain = drain

    # --- starting ------------------------------------------------------------------------------------

    def start_main(self, service: Service, start: SpawnSpec) -> int:
        """Fork the main process of a service; returns its pid. Raises OSError if the system has no room for it."""
        self._services[service.name] = service
        self.lingering.discard(service.name)
        self._started_at[service.name] = proc.boot_ticks()
        return self._fork(service.name, start, None)

    def start_hook(self, service: Service, start: SpawnSpec) -> int:
        """Fork a hook of a service, at most one at a time; returns its pid. Raises OSError."""
        self._services[service.name] = service
        pid = self._fork(service.name + HOOK, start, None)
        if service.name not in self.processes and service.name not in self._daemons:
            self.lingering.discard(service.name)  # pre_start: what the last hook left is ended with the rest
        return pid

    def launch(self, key: str, start: SpawnSpec, ended: Ended) -> None:
        """Fork a task. Raises OSError.

        `ended(exit code, why its exec failed or "")` is called once, after the task was reaped. Once the sweep has
        begun, no other task than an outlasting one is started: the sweep would not signal it.
        """
        if self.sweeping and not key.startswith(OUTLASTING):
            raise OSError(errno.ECANCELED, "the container is stopping")
        start.environment.update(self.trees.variables(key))
        self._fork(key, start, ended)

    def kill(self, key: str) -> None:
        """Kill a task and its descendants."""
        process = self.processes.get(key)
        if process is not None:
            self.trees.signal(key, signals.KILL)
            send(process.pid, signals.KILL)

    def _fork(self, key: str, start: SpawnSpec, ended: Ended | None) -> int:
        tree = key.removesuffix(HOOK)
        start.cgroup, start.track = self.trees.entrance(tree), tracking.step(self.trees.limits.limit(tree))
        errors, writer = spawn.error_pipe()
        process = Process(key, 0, errors, start, ended)
        self._watch(process)  # before the fork: every child's pipe is watched
        try:
            process.pid = spawn.fork(start, writer)
        except OSError:
            self._poller.remove(errors)
            os.close(errors)
            raise
        self.trees.started(process.tree, process.pid)
        self.processes[process.key] = self._by_pid[process.pid] = process
        return process.pid

    def _watch(self, process: Process) -> None:
        """Wait for the outcome of its exec.

        It is reported before anything else that is ready: the service may write of its readiness before we close our
        end of the pipe, and the engine ignores the readiness of what has not started.
        """
        self._poller.add(process.errors, select.EPOLLIN, lambda _: self._exec_ended(process), first=True)

    # --- events --------------------------------------------------------------------------------------

    def _exec_ended(self, process: Process) -> None:
        """The outcome of a child's exec is known. A failure is reported when the child has been reaped."""
        if self._outcome(process) == b"":
            self._executing(process)

    def _outcome(self, process: Process) -> bytes | None:
        """Read the error pipe: b"" if the exec succeeded, None if that is not known yet."""
        if process.message is None:
            process.message = spawn.exec_errors(process.errors)
            if process.message is not None:
                self._poller.remove(process.errors)
                os.close(process.errors)
                process.errors = -1
        return process.message

    def _executing(self, process: Process) -> None:
        process.start = None
        if process.ended is None and process.key == process.tree:
            self._emit(events.Spawned(process.key, process.pid))

    def reap(self) -> None:
        """Reap all processes that have ended, and attribute the orphans that have appeared."""
        orphans = False
        ticks = proc.boot_ticks()
        for _ in range(_REAPED_MAX):
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                pid = status = 0
                if self.sweeping:
                    self._emit(events.Swept())
            if pid == 0:
                if self.sweeping and self._only_outlasting():
                    self._emit(events.Swept())
                break
            process = self._by_pid.get(pid)
            if os.WIFSTOPPED(status):
                _continue(process, os.WSTOPSIG(status))
                continue
            self.trees.reaped(pid, ticks)
            if process is None:
                orphans = True
            else:
                del self._by_pid[pid]
                self.ended.append((process, spawn.exit_code(status)))
        else:
            os.kill(os.getpid(), signals.CHLD)  # there may be more: reap them in the next turn
        if not self.sweeping:
            with_orphans = self.trees.keys_with_orphans()
            self._report_unattributed()
            if self.ended or (orphans and self.lingering):
                self._report_ended(with_orphans)
        elif self.ended:
            self._report_ended(set())

    def _only_outlasting(self) -> bool:
        """Whether outlasting tasks are the only children left. False if that cannot be seen (no /proc)."""
        pids = {process.pid for process in self._by_pid.values() if process.key.startswith(OUTLASTING)}
        return self.trees.has_proc and bool(pids) and pids == set(self.trees.children())

    # --- ends ----------------------------------------------------------------------------------------

    def _report_unattributed(self) -> None:
        """Log one line per command of unattributed orphans, up to _REPORTS_MAX commands."""
        for pid in self.trees.unreported:
            name = proc.name(pid)
            if name and name not in self._reported and len(self._reported) < _REPORTS_MAX:
                self._reported.add(name)
                self._say("warning", "", _UNATTRIBUTED.format(pid=pid, name=name))
        self.trees.unreported.clear()

    def _report_ended(self, with_orphans: set[str]) -> None:
        alive = with_orphans | set(self.trees.leaders.values())
        while self.ended:
            process, code = self.ended.pop(0)
            if self.processes.get(process.key) is process:
                del self.processes[process.key]
            failure = self._exec_failure(process)
            code = failure.code or code if failure else code
            if failure is None and process.start is not None and not process.ended:
                self._executing(process)
            if process.ended is not None:
                self._task_ended(process, process.ended, code, failure, alive)
            elif process.key != process.tree:
                self._hook_ended(process.tree, code, failure, orphans=process.tree in alive)
            elif failure:
                self.report_start_failure(process.key, failure)
            else:
                self._main_ended(process, code, orphans=process.key in alive)
        for name in self.lingering - alive:
            self.lingering.discard(name)
            self.trees.ended(name)
            self._drain(name)
            self._emit(events.TreeGone(name))

    def report_hook_failure(self, name: str, cause: Reason) -> None:
        """Report that a hook of a service could not be forked."""
        self._hook_ended(name, EXIT_SYSTEM, cause, orphans=self.trees.lives(name))

    def report_start_failure(self, name: str, cause: Reason) -> None:
        """Report that the main process of a service could not be started. Its hooks may have left processes behind."""
        orphans = self.trees.lives(name)
        self._emit(events.SpawnFailed(name, cause, orphans))
        if orphans:
            self.lingering.add(name)
        else:
            self.trees.ended(name)

    def _exec_failure(self, process: Process) -> Reason | None:
        if process.start is None or not self._outcome(process):
            return None
        return start_failure.exec_failure(process.start, process.message or b"")

    def _task_ended(self, process: Process, ended: Ended, code: int, failure: Reason | None, alive: set[str]) -> None:
        if process.key not in self.processes:  # else a new task has the key already
            if process.key in alive:
                self.trees.signal(process.key, signals.KILL)
            self.trees.ended(process.key)
        ended(code, text_of(failure))

    def _hook_ended(self, name: str, code: int, failure: Reason | None, *, orphans: bool) -> None:
        left = orphans and name not in self.processes and name not in self._daemons
        if left:
            self.lingering.add(name)
        elif not orphans:
            self.trees.ended(name)
        self._drain(name)
        self._emit(events.HookEnded(name, code, failure, left))

    def _main_ended(self, process: Process, code: int, *, orphans: bool) -> None:
        name = process.key
        service = self._services.get(name)
        self._drain(name)
        normal_exit = code == 0 and not process.stop_requested and not self.sweeping
        pids: list[int] = []
        if normal_exit and service and not orphans:
            pids = unattributed(self.trees, self._started_at.get(name, 0))
        if pids and service and not service.pid_file and not service.job:
            self._say("warning", name, unattributed_warning(pids))
        started = self.trees.sessions.started_by_us(process.pid)  # else it was the daemon itself
        awaits_pid_file = service is not None and service.pid_file and (orphans or pids or started)
        if normal_exit and service and (awaits_pid_file or (orphans and not service.job)):
            self._daemons[name] = time.monotonic() + _daemon_timeout_seconds(service)
            self._search_daemon(name)
        else:
            killed = code == _KILLED and not process.stop_requested and name not in self.trees.being_killed
            self._report_exited(name, code, orphans=orphans, out_of_memory=killed and self._out_of_memory.killed_one())

    def _report_exited(self, name: str, code: int, *, orphans: bool, out_of_memory: bool = False) -> None:
        self._emit(events.Exited(name, code, orphans, out_of_memory))
        if orphans:
            self.lingering.add(name)
        else:
            self.trees.ended(name)

    # --- daemons -------------------------------------------------------------------------------------

    def _search_daemon(self, name: str) -> None:
        """Find the daemon of a service whose command has ended with 0.

        No event reports that a daemon has called setsid(2) or has written its pid file. Before the setsid it looks like
        any process that the service left behind. So the attempts are repeated until a timeout.
        """
        now, until, service = time.monotonic(), self._daemons[name], self._services[name]
        pid, why = find_daemon(service, self.trees, self._started_at.get(name, 0))
        if (why or not pid) and now < until and self._may_appear(service):
            pause = min(_DAEMON_PAUSE_SECONDS + (now - (until - _daemon_timeout_seconds(service))), until - now)
            self._search_at(name, now + pause)
            return
        del self._daemons[name]
        if why:
            self._say("warning", name, why)
        if pid and self.adopt(name, pid):
            self._emit(events.Daemonised(name, pid))
        else:
            self._report_exited(name, 0, orphans=self.trees.lives(name))

    def _search_at(self, name: str, when: float) -> None:
        self._poller.call_at(("daemon", name), when, lambda: self._search_daemon(name))

    def _may_appear(self, service: Service) -> bool:
        """Whether the daemon of a service may still be found."""
        pids = service.pid_file and unattributed(self.trees, self._started_at.get(service.name, 0))
        return bool(pids) or self.trees.lives(service.name)

    def adopt(self, name: str, pid: int) -> bool:
        """Make another process of the tree the service's main process; False if we would not see its end."""
        before = self.processes.get(name)
        if pid in self._by_pid or not self.trees.adopt(name, pid):  # a hook does not become the main process
            return False
        if before is not None:
            self._by_pid.pop(before.pid, None)
        process = Process(name, pid, -1, None, None)
        process.message = b""
        self.processes[process.key] = self._by_pid[process.pid] = process
        return True

    # --- signals -------------------------------------------------------------------------------------

    def signal(self, name: str, number: int) -> None:
        """Send a signal to the main process, or to the hook that runs before there is one.

        After the stop signal, CONT is sent: a stopped process must receive the stop signal too, as with systemd.
        """
        service = self._services.get(name)
        ends = service is None or number in (signals.KILL, service.stop_signal)
        if ends and name in self._daemons:  # stop looking for the daemon
            del self._daemons[name]
            self._poller.cancel(("daemon", name))
            self._report_exited(name, 0, orphans=self.trees.lives(name))
            return
        process = self.processes.get(name) or self.processes.get(name + HOOK)
        if process is None:
            return
        process.stop_requested = process.stop_requested or ends
        if send(process.pid, number) and ends and number != signals.KILL:
            send(process.pid, signals.CONT)

    def forget(self, name: str) -> None:
        """Forget a service that is in no Plan any more and of which nothing is running."""
        self._services.pop(name, None)
        self._started_at.pop(name, None)

    def sweep(self, number: int) -> None:
        """Send a signal to every remaining process. The event Swept follows when none is left."""
        self.sweeping = True
        self.trees.signal_all(number)
        self.reap()

    # --- re-execution --------------------------------------------------------------------------------

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for restore."""
        processes = [(p, -1) for p in self.processes.values() if p.pid in self._by_pid] + self.ended
        return {
            "processes": [(p.key, p.pid, p.errors, p.message, p.ended is not None, code) for p, code in processes],
            "lingering": sorted(self.lingering),
            "daemons": self._daemons,
            "began": self._started_at,
            "sweeping": self.sweeping,
            "out_of_memory": self._out_of_memory.count,
            "trees": self.trees.to_plain(),
        }

    def _unreported(self) -> list[Process]:
        return [*self.processes.values(), *(process for process, _ in self.ended)]

    def descriptors(self) -> list[int]:
        """Return the descriptors that must stay open across the exec."""
        return [process.errors for process in self._unreported() if process.errors >= 0]

    def restore(self, plain: dict[str, Any], tasks: dict[str, Ended]) -> None:
        """Restore what to_plain returned. tasks: callbacks of tasks that continue, by key; others are killed."""
        self.lingering, self.sweeping = set(plain["lingering"]), plain["sweeping"]
        self._daemons, self._started_at = plain["daemons"], plain["began"]
        for name in self._daemons:
            self._search_at(name, 0.0)
        self._out_of_memory.count = plain["out_of_memory"]
        self.trees = Trees.from_plain(plain["trees"])
        for key, pid, errors, message, task, code in plain["processes"]:
            process = Process(key, pid, errors, None, tasks.get(key, _ignore_end) if task else None)
            process.message = message
            if code >= 0:
                if not task or key in tasks:
                    self.ended.append((process, code))
                continue
            if errors >= 0:
                os.set_inheritable(errors, False)
                self._watch(process)
            self.processes[process.key] = self._by_pid[process.pid] = process
            if task and key not in tasks:
                self.kill(key)

    def attach_services(
        self, services: dict[str, Service], describe: Callable[[Service, tuple[str, ...]], SpawnSpec]
    ) -> None:
        """After restore: connect processes with their services, for the messages about an exec that fails."""
        self._services = services
        for process in self._unreported():
            service = services.get(process.tree)
            if service is not None and process.ended is None and process.message != b"":
                process.start = describe(service, service.command)

    def knows(self, name: str) -> bool:
        """Whether an event about this service's processes is still to come."""
        ended = any(process.tree == name for process, _ in self.ended)
        running = name in self.processes or name + HOOK in self.processes
        return ended or running or name in self.lingering or name in self._daemons


def _daemon_timeout_seconds(service: Service) -> float:
    return _PID_FILE_SECONDS if service.pid_file else _DAEMON_SECONDS


def _continue(process: Process | None, number: int) -> None:
    """Continue a process that ^Z at the terminal has stopped: no shell is there that could continue it.

    A process that was stopped because it is in the background (TTIN, TTOU) would only try again and again.
    """
    if process is not None and number == signals.TSTP:
        send(-process.pid, signals.CONT)


def _ignore_end(_code: int, _why: str) -> None:
    """Callback for the end of a task whose caller did not survive a re-execution."""
