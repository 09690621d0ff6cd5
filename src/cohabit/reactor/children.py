"""The processes that we start, from fork to reaping, and the orphans that come to us.

Here is the one place that waits for children. A start becomes one fact at the end of its exec (Spawned), or,
when the exec failed, one fact at the child's end (SpawnFailed): so no fact ever speaks of a process that has
not been reaped, and Exited never comes before Spawned. The loader is a child like the services, under a name
that no service can have; its answer is a Plan or the problems of the file.
"""

from __future__ import annotations

import marshal
import select
import sys
import time

from cohabit.engine import events
from cohabit.errors import EXIT_BUG, EXIT_SYSTEM
from cohabit.plan.record import from_plain
from cohabit.reactor import limits, signals, spawn
from cohabit.reactor.child import Start
from cohabit.reactor.linux import DEV_NULL, PACKAGE, environment, os
from cohabit.reactor.tree import MARK_SERVICE, MARK_SUPERVISOR, Trees, send
from cohabit.units import describe_exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.engine.events import Event
    from cohabit.plan.model import Service
    from cohabit.reactor.output import Output
    from cohabit.reactor.signals import Given

_REAP_AT_ONCE = 2000  # reaped per turn, so that a flood of orphans cannot starve the services
_ANSWER_READ = 65_536
_LOADER = "\0loader"


class Starting:
    """A child whose exec is not confirmed: its error pipe, and what came out of it (None: nothing yet)."""

    __slots__ = ("errors", "message", "pid", "start")

    def __init__(self, start: Start, pid: int, errors: int) -> None:
        self.start = start
        self.pid = pid
        self.errors = errors
        self.message: bytes | None = None


class Children:
    """All children. tell(fact) is how the loop learns what became of them."""

    def __init__(self, given: Given, epoll: select.epoll, output: Output, tell: Callable[[Event], None]) -> None:
        self.given = given
        self.trees = Trees(f"{os.getpid()}-{time.time_ns()}")
        self.pids: dict[str, int] = {}  # service -> leader, from fork to reaping
        self.starting: dict[str, Starting] = {}
        self.sweeping = False  # everybody has to go; the last one's end is a fact
        self.ended: list[tuple[str, int]] = []  # (service, exit code) of leaders that are reaped and not yet told
        self.haunted: set[str] = set()  # services whose leader is gone and whose orphans live
        self._epoll = epoll
        self._output = output
        self._tell = tell
        self._answer = b""
        self._answer_fd = -1
        self._error_fds: dict[int, str] = {}
        self.limits: tuple[int, int] | None = None
        self._environment = {name: value for name, value in environment().items() if name != "NOTIFY_SOCKET"}
        self._null = os.open(DEV_NULL, os.O_RDWR | os.O_CLOEXEC)

    # --- starting ------------------------------------------------------------------------------------

    def make_room(self, services: int) -> None:
        """Let the kernel give us descriptors for this many services."""
        self.limits = limits.make_room(services)

    def start(self, service: Service) -> None:
        """Fork a child that becomes the service's command, or tell at once why that cannot be."""
        try:
            uid = service.user.uid if service.user else None
            stdout, stderr = self._output.open(service.name, service.driver, uid)
        except OSError as error:
            self._tell(events.SpawnFailed(service.name, spawn.no_room(error), EXIT_SYSTEM))
            return
        try:
            self._fork(service.name, self.describe(service, (self._null, stdout, stderr)))
        except OSError as error:
            self._tell(events.SpawnFailed(service.name, spawn.no_room(error), EXIT_SYSTEM))
        finally:
            os.close(stdout)
            os.close(stderr)

    def describe(self, service: Service, stdio: tuple[int, ...] = ()) -> Start:
        """A service as its child needs it: the whole environment, and numbers instead of names."""
        environment = dict(self._environment)
        user = service.user
        if user is not None:
            environment.update({"HOME": user.home or "/"})
            environment.update({"USER": user.name, "LOGNAME": user.name} if user.name else {})
        for name, value in service.environment.items():
            if value is None:
                environment.pop(name, None)
            else:
                environment[name] = value
        environment[MARK_SERVICE] = service.name
        environment[MARK_SUPERVISOR] = self.trees.supervisor
        start = Start(service.command, environment, self.given, stdio=stdio)
        start.directory, start.identity = service.working_dir, user
        if self.limits is not None:
            given = self.limits
            start.before_exec = lambda: limits.give_back(given)
        return start

    def _fork(self, name: str, start: Start) -> None:
        pid, errors = spawn.spawn(start)
        self.pids[name] = pid
        self.trees.started(name, pid)
        self.watch_start(name, Starting(start, pid, errors))

    def watch_start(self, name: str, starting: Starting) -> None:
        """Wait for the outcome of an exec."""
        self.starting[name] = starting
        if starting.errors >= 0:
            self._error_fds[starting.errors] = name
            self._epoll.register(starting.errors, select.EPOLLIN)

    # --- events --------------------------------------------------------------------------------------

    def owns(self, fd: int) -> bool:
        """Whether an event on this descriptor is for us."""
        return fd in self._error_fds or fd == self._answer_fd

    def handle(self, fd: int) -> None:
        """A child's exec has an outcome, or the loader says something."""
        if fd == self._answer_fd:
            self._read_answer()
            return
        name = self._error_fds[fd]
        if self._outcome(self.starting[name]) != b"":
            return  # not known yet, or it failed: then its end will tell
        del self.starting[name]
        if name != _LOADER:
            self._tell(events.Spawned(name, self.pids[name]))

    def _outcome(self, starting: Starting) -> bytes | None:
        """What the error pipe said: b"" when the exec succeeded, None as long as that is not known."""
        if starting.message is None:
            starting.message = spawn.exec_errors(starting.errors)
            if starting.message is not None:
                del self._error_fds[starting.errors]
                self._epoll.unregister(starting.errors)
                os.close(starting.errors)
                starting.errors = -1
        return starting.message

    def reap(self) -> None:
        """Everybody who has ended: our own give facts, orphans just go."""
        orphans = False
        for _ in range(_REAP_AT_ONCE):
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                pid = 0
                if self.sweeping:
                    self._tell(events.Swept())
            if pid == 0:
                break
            name = self.trees.reaped(pid)
            if name is None:
                orphans = True
            else:
                self.ended.append((name, spawn.exit_code(status)))
        else:
            os.kill(os.getpid(), signals.CHLD)  # there may be more: after the others had their turn
        if self.ended or (orphans and self.haunted):
            self._tell_ended()

    def _tell_ended(self) -> None:
        alive = self.trees.services_with_orphans([name for name, _ in self.ended if name != _LOADER])
        while self.ended:
            name, code = self.ended.pop(0)
            pid = self.pids.pop(name)
            starting = self.starting.pop(name, None)
            if starting is not None and self._outcome(starting):
                self._never_ran(name, starting)
                continue
            if name == _LOADER:
                self._loader_ended(code)
                continue
            if starting is not None:
                self._tell(events.Spawned(name, pid))
            self._output.drain_service(name)
            self._tell(events.Exited(name, code, name in alive))
            if name in alive:
                self.haunted.add(name)
            else:
                self.trees.ended(name)
        for name in self.haunted - alive:
            self.haunted.discard(name)
            self.trees.ended(name)
            self._output.drain_service(name)
            self._tell(events.TreeGone(name))

    def _never_ran(self, name: str, starting: Starting) -> None:
        self.trees.ended(name)
        why, code = spawn.failure(starting.start, starting.message or b"")
        if name == _LOADER:
            self._tell(events.LoadFailed((f"cannot read the file: the loader cannot start: {why}",), EXIT_SYSTEM))
        else:
            self._tell(events.SpawnFailed(name, why, code))

    # --- signals -------------------------------------------------------------------------------------

    def signal(self, name: str, number: int) -> None:
        """To the leader, followed by CONT: whoever is stopped must hear it too, as systemd does."""
        pid = self.pids.get(name)
        if pid is not None and send(pid, number) and number != signals.KILL:
            send(pid, signals.CONT)

    def sweep(self, number: int) -> None:
        """To everybody who is left; Swept is told when nobody is."""
        self.sweeping = True
        self.trees.signal_everybody(number)
        self.reap()

    # --- the loader ----------------------------------------------------------------------------------

    def start_loader(self, request: str) -> None:
        """Have the file read by a child of its own, with site-packages, which process 1 does without."""
        argv = (sys.executable, "-I", f"{PACKAGE}/config/__main__.py", "plan", request)
        reader, writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(reader, False)
        self._answer, self._answer_fd = b"", reader
        self._epoll.register(reader, select.EPOLLIN)
        try:
            self._fork(_LOADER, Start(argv, self._environment, self.given, stdio=(0, writer, 2)))
        except OSError as error:
            self._tell(events.LoadFailed((f"cannot read the file: {spawn.no_room(error)}",), EXIT_SYSTEM))
        finally:
            os.close(writer)

    def forget_loader(self) -> None:
        """After a re-execution: a former life's loader answers nobody. It ends as any orphan."""
        pid = self.pids.pop(_LOADER, None)
        self.starting.pop(_LOADER, None)
        self.ended = [(name, code) for name, code in self.ended if name != _LOADER]
        if pid is not None and self.trees.reaped(pid) is not None:
            send(pid, signals.KILL)

    def abandon_loader(self) -> None:
        """Its answer is not wanted any more."""
        self.signal(_LOADER, signals.KILL)

    def _read_answer(self) -> None:
        try:
            while data := os.read(self._answer_fd, _ANSWER_READ):
                self._answer += data
        except BlockingIOError:
            return
        self._epoll.unregister(self._answer_fd)
        os.close(self._answer_fd)
        self._answer_fd = -1

    def _loader_ended(self, code: int) -> None:
        """The answer is complete when the loader has ended."""
        self.trees.ended(_LOADER)
        if self._answer_fd >= 0:
            self._read_answer()
        if code != 0:
            how = describe_exit(code)
            why = f"cannot read the file: the loader ended with {how} (its words are above; please report it)"
            self._tell(events.LoadFailed((why,), EXIT_BUG))
            return
        answer = marshal.loads(self._answer)  # noqa: S302 - from our own loader, never from a user
        self._answer = b""
        for line in answer["warnings"]:
            self._output.say("", line)
        if answer["plan"] is None:
            self._tell(events.LoadFailed(tuple(answer["problems"]), answer["exit_code"]))
        else:
            self._tell(events.Loaded(from_plain(answer["plan"])))
