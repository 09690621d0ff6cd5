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
from cohabit.reactor.processes.daemon import unattributed, unattributed_warning
from cohabit.reactor.processes.daemon_search import DaemonSearch
from cohabit.reactor.processes.oom import OutOfMemory
from cohabit.reactor.processes.proc import send
from cohabit.reactor.processes.signaller import Signaller
from cohabit.reactor.processes.started import HOOK, Process
from cohabit.reactor.processes.tree import Trees
from cohabit.units import exit_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cohabit.engine.events import Event
    from cohabit.plan.model import Service
    from cohabit.plan.reason import Reason
    from cohabit.reactor.context import Ended, Forked
    from cohabit.reactor.poller import Poller
    from cohabit.reactor.processes.child import SpawnSpec


_REAPED_MAX = 2000  # per turn, so that a flood of orphans cannot starve the services
OUTLASTING = "\0\0"  # prefix of the keys of tasks that a sweep does not wait for, because they write its last messages
_KILLED = 128 + signals.KILL
_REPORTS_MAX = 20  # commands of unattributed orphans that are reported
_UNATTRIBUTED = (
    "process {pid} ({name}) has lost its parent and cannot be attributed to a service: it is left alone until the "
    "container stops (it may come from `docker exec`, or have left its service's session, cgroup and tracking limit; "
    "reported once per command)"
)

# A stop of everything may reach the services before us: a platform that signals all processes, children first (Heroku),
# or kill(-1) in a script. A death by a stop signal that we did not send is reported so much later, or as soon as we are
# asked to stop: it is part of that request then, not a crash.
_STOPPED_WITH = frozenset(128 + number for number in signals.STOP_SIGNALS)
_HELD_SECONDS = 0.2


class Children:
    """All children of this process.

    emit(event): what became of a service's processes. drain(service, whole): called before its end is reported, to
    read its remaining output; False if whole, and some of it is still to come: report_ended() must be called later.
    say(level, service, text): a log line.
    """

    def __init__(
        self,
        poller: Poller,
        emit: Callable[[Event], None],
        say: Callable[[str, str, str], None],
        drain: Callable[[str, bool], bool],
    ) -> None:
        self.trees = Trees(f"{os.getpid()}-{time.time_ns()}", Cgroups() if pid1.is_process_1() or delegated() else None)
        self.processes: dict[str, Process] = {}
        self.ended: list[tuple[Process, int]] = []  # with exit codes: reaped and not reported yet
        self.started_at: dict[str, int] = {}  # service -> start of its run, clock ticks since the boot
        self.daemons = DaemonSearch(self)
        self.signaller = Signaller(self)
        self.lingering: set[str] = set()  # services without a main process, with running processes
        self._reported: set[str] = set()  # commands of unattributed orphans
        self._out_of_memory = OutOfMemory()
        self.services: dict[str, Service] = {}
        self._by_pid: dict[int, Process] = {}
        self.poller = poller
        self.emit = emit
        self.say = say
        self._drain = drain

    # --- starting ------------------------------------------------------------------------------------

    def start_main(self, service: Service, start: SpawnSpec) -> int:
        """Fork the main process of a service; returns its pid. Raises OSError if the system has no room for it."""
        self.services[service.name] = service
        self.lingering.discard(service.name)
        self.started_at[service.name] = proc.boot_ticks()
        return self._fork(service.name, start, None)

    def start_hook(self, service: Service, start: SpawnSpec) -> int:
        """Fork a hook of a service, at most one at a time; returns its pid. Raises OSError."""
        self.services[service.name] = service
        pid = self._fork(service.name + HOOK, start, None)
        if service.name not in self.processes and service.name not in self.daemons.until:
            self.lingering.discard(service.name)  # pre_start: what the last hook left is ended with the rest
        return pid

    def launch(self, key: str, start: SpawnSpec, ended: Ended, forked: Forked = None) -> None:
        """Fork a task. Raises OSError. forked: (pid, read end of its error pipe) if that has been done.

        `ended(exit code, why its exec failed or "")` is called once, after the task was reaped. Once the sweep has
        begun, no other task than an outlasting one is started: the sweep would not signal it.
        """
        if self.signaller.sweeping and not key.startswith(OUTLASTING):
            raise OSError(errno.ECANCELED, "the container is stopping")
        start.environment.update(self.trees.variables(key))
        self._fork(key, start, ended, forked)

    def kill(self, key: str) -> None:
        """Kill a task and its descendants."""
        process = self.processes.get(key)
        if process is not None:
            self.trees.signal(key, signals.KILL)
            send(process.pid, signals.KILL)

    def _fork(self, key: str, start: SpawnSpec, ended: Ended | None, forked: Forked = None) -> int:
        tree = key.removesuffix(HOOK)
        if forked is None:
            start.cgroup = self.trees.entrance(tree)
            start.first = ((tracking.STEP, tracking.step(self.trees.limits.limit(tree))), *start.first)
        errors, writer = (forked[1], -1) if forked is not None else spawn.error_pipe()
        process = Process(key, 0, errors, start, ended)
        self._watch(process)  # before the fork: every child's pipe is watched
        try:
            process.pid = forked[0] if forked is not None else spawn.fork(start, writer)
        except OSError:
            self.poller.remove(errors)
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
        self.poller.add(process.errors, select.EPOLLIN, lambda _: self._exec_ended(process), first=True)

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
                self.poller.remove(process.errors)
                os.close(process.errors)
                process.errors = -1
        return process.message

    def _executing(self, process: Process) -> None:
        process.start = None
        if process.ended is None and process.key == process.tree:
            self.emit(events.Spawned(process.key, process.pid))

    def reap(self) -> None:
        """Reap all processes that have ended, and attribute the orphans that have appeared."""
        orphans = False
        ticks = proc.boot_ticks()
        for _ in range(_REAPED_MAX):
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                pid = status = 0
                if self.signaller.sweeping:
                    self.emit(events.Swept())
            if pid == 0:
                if self.signaller.sweeping and (self._only_outlasting() or self.signaller.only_unreachable()):
                    self.emit(events.Swept())
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
                process.by_signal = os.WIFSIGNALED(status)
                self.ended.append((process, spawn.exit_code(status)))
        else:
            os.kill(os.getpid(), signals.CHLD)  # there may be more: reap them in the next turn
        if not self.signaller.sweeping:
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
                self.say("warning", "", _UNATTRIBUTED.format(pid=pid, name=name))
        self.trees.unreported.clear()

    def _report_ended(self, with_orphans: set[str]) -> None:
        alive = with_orphans | set(self.trees.leaders.values())
        for process, status in self.ended[:]:
            if self._is_held(process, status) or not self._is_read(process):
                continue
            self.ended.remove((process, status))
            if self.processes.get(process.key) is process:
                del self.processes[process.key]
            failure = self._exec_failure(process)
            code = failure.code or status if failure else status
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
            if self._drain(name, not self.signaller.sweeping):
                self.lingering.discard(name)
                self.trees.ended(name)
                self.emit(events.TreeGone(name))

    def report_ended(self) -> None:
        """Report the ends that are known."""
        self._report_ended(self.trees.keys_with_orphans())

    def is_running(self, process: Process) -> bool:
        """Whether it was not reaped yet: else its pid may be another process's."""
        return self._by_pid.get(process.pid) is process

    def _is_held(self, process: Process, code: int) -> bool:
        """Whether the end of a service is to be reported later (_HELD_SECONDS)."""
        if (
            code not in _STOPPED_WITH
            or process.signalled
            or self.signaller.sweeping
            or process.key not in self.services
        ):
            return False
        now = time.monotonic()
        if not process.held_until:
            process.held_until = now + _HELD_SECONDS
            self.poller.call_at(("held", process.key), process.held_until, self.report_ended)
        return now < process.held_until

    def _is_read(self, process: Process) -> bool:
        """Whether the output of a service that has ended is read, so that its end can be reported."""
        if process.key not in self.services or process.message or self.signaller.sweeping:
            return True
        return self._drain(process.key, True)

    def report_hook_failure(self, name: str, cause: Reason) -> None:
        """Report that a hook of a service could not be forked."""
        self._hook_ended(name, EXIT_SYSTEM, cause, orphans=self.trees.lives(name))

    def report_start_failure(self, name: str, cause: Reason) -> None:
        """Report that the main process of a service could not be started. Its hooks may have left processes behind."""
        orphans = self.trees.lives(name)
        self.emit(events.SpawnFailed(name, cause, orphans))
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
        left = orphans and name not in self.processes and name not in self.daemons.until
        if left:
            self.lingering.add(name)
        elif not orphans:
            self.trees.ended(name)
        self._drain(name, False)
        self.emit(events.HookEnded(name, code, failure, left))

    def _main_ended(self, process: Process, code: int, *, orphans: bool) -> None:
        name = process.key
        service = self.services.get(name)
        self._drain(name, False)
        normal_exit = code == 0 and not process.stop_requested and not self.signaller.sweeping
        pids: list[int] = []
        if normal_exit and service and not orphans:
            pids = unattributed(self.trees, self.started_at.get(name, 0))
        if pids and service and not service.pid_file and not service.job:
            self.say("warning", name, unattributed_warning(service, pids))
        started = self.trees.sessions.started_by_us(process.pid)  # else it was the daemon itself
        awaits_pid_file = service is not None and service.pid_file and (orphans or pids or started)
        if normal_exit and service and (awaits_pid_file or (orphans and not service.job)):
            self.daemons.begin(service)
        else:
            killed = code == _KILLED and not process.stop_requested and name not in self.trees.being_killed
            memory = killed and self._out_of_memory.killed_one()
            self.report_exited(name, code, orphans=orphans, out_of_memory=memory, by_signal=process.by_signal)

    def report_exited(
        self, name: str, code: int, *, orphans: bool, out_of_memory: bool = False, by_signal: bool = False
    ) -> None:
        """Report that the main process of a service has ended, and whether it left processes behind."""
        self.emit(events.Exited(name, code, orphans, out_of_memory, by_signal))
        if orphans:
            self.lingering.add(name)
        else:
            self.trees.ended(name)

    # --- daemons -------------------------------------------------------------------------------------

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

    def forget(self, name: str) -> None:
        """Forget a service that is in no Plan any more and of which nothing is running."""
        self.services.pop(name, None)
        self.started_at.pop(name, None)

    # --- re-execution --------------------------------------------------------------------------------

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for restore."""
        processes = [(p, -1) for p in self.processes.values() if p.pid in self._by_pid] + self.ended
        return {
            "processes": [(p.key, p.pid, p.errors, p.message, p.ended is not None, code) for p, code in processes],
            "lingering": sorted(self.lingering),
            "daemons": self.daemons.until,
            "began": self.started_at,
            "sweeping": self.signaller.sweeping,
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
        self.lingering, self.signaller.sweeping = set(plain["lingering"]), plain["sweeping"]
        self.started_at = plain["began"]
        self.daemons.resume(plain["daemons"])
        self._out_of_memory.count = plain["out_of_memory"]
        self.trees = Trees.from_plain(plain["trees"])
        for key, pid, errors, message, task, code in plain["processes"]:
            process = Process(key, pid, errors, None, tasks.get(key, _ignore_end) if task else None)
            process.message = message
            if code >= 0:
                process.by_signal = exit_signal(code) is not None
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
        self.services = services
        for process in self._unreported():
            service = services.get(process.tree)
            if service is not None and process.ended is None and process.message != b"":
                process.start = describe(service, service.command)

    def knows(self, name: str) -> bool:
        """Whether an event about this service's processes is still to come."""
        ended = any(process.tree == name for process, _ in self.ended)
        running = name in self.processes or name + HOOK in self.processes
        return ended or running or name in self.lingering or name in self.daemons.until


def _continue(process: Process | None, number: int) -> None:
    """Continue a process that ^Z at the terminal has stopped: no shell is there that could continue it.

    A process that was stopped because it is in the background (TTIN, TTOU) would only try again and again.
    """
    if process is not None and number == signals.TSTP:
        send(-process.pid, signals.CONT)


def _ignore_end(_code: int, _why: str) -> None:
    """Callback for the end of a task whose caller did not survive a re-execution."""
