"""The loop of process 1: wait, gather events, let the engine step, carry out its effects. One thread.

There is one epoll wait. It has a timeout only if the engine or a part has a deadline: with nothing to do, process 1
does not wake up. Signals arrive through a pipe (the "self-pipe trick"; signal.set_wakeup_fd), so they are events like
all others. signalfd(2) needs no signal handlers but needs ctypes. A pidfd per child would identify the child that
ended, but there is none for an orphan; so SIGCHLD and waitpid(-1) are used for all. Stop requests are handled first,
so that a service that ended by a TERM to the whole container counts as stopping, not as crashed.

children.py handles child processes, reexecution_state.py what is kept across a re-execution.
"""

from __future__ import annotations

import gc
import select
import sys
import time

from cohabit.api import protocol
from cohabit.control import RUNTIME_DIR
from cohabit.engine import effects, events
from cohabit.engine.supervisor import Supervisor
from cohabit.reactor import pid1, signals
from cohabit.reactor.clock import Clock
from cohabit.reactor.control.opening import Opening
from cohabit.reactor.control.requests import Requests
from cohabit.reactor.control.server import Control
from cohabit.reactor.health import notify
from cohabit.reactor.health.log_match import LogMatches
from cohabit.reactor.health.notification_fd import NotificationFds
from cohabit.reactor.health.notify import Notify
from cohabit.reactor.health.probes import Probes
from cohabit.reactor.launcher import Launcher
from cohabit.reactor.linux import PACKAGE, environment, os, python_environment
from cohabit.reactor.loader import Loader
from cohabit.reactor.logs.exit_reason import LINES_MAX, exit_reason_text, write_termination_log
from cohabit.reactor.logs.multiline_assembler import MultilineAssembler
from cohabit.reactor.logs.output import Output
from cohabit.reactor.logs.recent_lines import OURSELVES
from cohabit.reactor.logs.sink import Sink
from cohabit.reactor.poller import Poller
from cohabit.reactor.processes import spawn, tree
from cohabit.reactor.processes.child import SpawnSpec
from cohabit.reactor.processes.children import Children
from cohabit.reactor.rundir import RuntimeDirectory
from cohabit.reactor.sockets import Sockets
from cohabit.units import describe_exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event
    from cohabit.plan.model import Plan
    from cohabit.reactor.signals import InheritedSignals

STATE_VERSION = 7  # of the re-execution state: increase it with each incompatible change
_LONGEST_WAIT_SECONDS = 86_400.0  # epoll_wait(2) takes milliseconds as an int: at most 24 days
_NOT_FOR_SERVICES = ("WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
_SUCCESSOR = "\0successor"
_LAST_SECONDS = 0.1  # for the line that reports discarded output
_DRAIN_SECONDS = 1.0  # at the end, for the reader of our stdout; longer if the total is not used up


def successor_command() -> tuple[str, ...]:
    """Return the command that checks whether the installed program starts and can take over."""
    return (sys.executable, "-I", "-S", "-X", f"cohabit-takes-over={STATE_VERSION}", f"{PACKAGE}/__main__.py")


class Loop:
    """All state of process 1. run() returns the container's exit code."""

    def __init__(
        self, given: InheritedSignals, request: str, *, quiet: bool = False, wake_up: tuple[int, int] | None = None
    ) -> None:
        """wake_up: the pipe of the previous program or loop, so that a re-execution needs no new descriptor."""
        self.given = given
        self.request = request
        self.quiet = quiet
        self.engine = Supervisor()
        self.facts: list[Event] = []
        self.effects: list[Effect] = []  # not carried out yet; the first one is being carried out
        self.successor: str | None = ""  # None: being checked; else why it cannot take over, or ""
        self.replace = False  # replace our program by the installed one
        self.stepping = False  # the engine is handling the first event
        self.errors_at: list[float] = []  # monotonic seconds of internal errors
        self.shortages_at: list[float] = []  # monotonic seconds of shortages that no part handled
        self.epoll = Poller()
        self._exit_code: int | None = None
        self.wake_up = wake_up or os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for fd in self.wake_up:
            os.set_inheritable(fd, False)
        self._wake_up_reader, writer = self.wake_up
        self.epoll.register(self._wake_up_reader, select.EPOLLIN)
        self._mask = signals.listen(signals.STOP_SIGNALS | {signals.CHLD, signals.HUP, signals.REEXECUTE}, writer)
        self._build()

    def _build(self) -> None:
        """Create the parts. Each owns its descriptors; some have deadlines."""
        variables = environment()
        self._notify_socket = variables.pop("NOTIFY_SOCKET", "")  # of our own supervisor, never for services
        for name in _NOT_FOR_SERVICES:
            variables.pop(name, None)
        python_env = python_environment(variables)
        emit, say, epoll = self.emit, self.say, self.epoll
        stdout, stderr = Sink(1), Sink(2)
        self.output = Output(epoll, stdout, stdout if stderr.identity == stdout.identity else stderr)
        stdout.on_lost = self._on_stdout_lost
        stdout.on_full, stderr.on_full = self._on_full("stdout"), self._on_full("stderr")
        self.children = Children(epoll, emit, say, self.output.drain_service)
        self.output.destinations.launch = launch = self.children.launch
        self.multiline = self.output.multiline = MultilineAssembler(
            self.given, python_env, epoll, self.output, launch=launch, say=say
        )
        self.sockets = Sockets()
        self.launcher = Launcher(self.given, variables, self.children, self.output, say)
        self.loader = Loader(
            self.given, python_env, epoll, self.children,
            prepare=self.sockets.prepare, warn=lambda line: self.output.say("warning", "", line), emit=emit,
        )  # fmt: skip
        kill = self.children.kill
        self.probes = Probes(epoll, describe=self.launcher.describe, launch=launch, kill=kill, emit=emit)
        self.directory = RuntimeDirectory(given=variables.get(RUNTIME_DIR, ""))
        self.notify = Notify(epoll, self.directory, emit=self._notified, say=say, speaks_for=self._speaks_for)
        self.notification_fds = NotificationFds(epoll, emit)
        self.log_matches = LogMatches(self.given, python_env, epoll, self.output, launch=launch, kill=kill, emit=emit)
        self.clock = Clock(self.given, python_env, epoll, launch=launch, kill=kill, emit=emit, say=say)
        self.launcher.sockets, self.launcher.notify = self.sockets, self.notify
        self.launcher.notification_fds, self.launcher.log_matches = self.notification_fds, self.log_matches
        self.requests = Requests(
            self.engine, self.children, self.output, describe=self.launcher.describe,
            replace=self._check_successor, replacing=lambda: self.successor,
        )  # fmt: skip
        self.control = Control(
            epoll, self.directory,
            ask=self.requests.ask, feed=self.facts.extend, backlog=self.requests.backlog,
            is_followed=self._on_subscription,
        )  # fmt: skip
        self._parts = (
            self.output, self.multiline, self.probes, self.notify, self.notification_fds, self.log_matches,
            self.children, self.loader, self.clock, self.control,
        )  # fmt: skip
        self.opening = Opening(self.control, say)
        self._timed = (
            self.output, self.multiline, self.probes, self.children, self.clock, self.control, self.notify,
            self.launcher, self.opening,
        )  # fmt: skip

    # --- the loop ------------------------------------------------------------------------------------

    def start(self) -> None:
        """The first turn of a new process: start the loader."""
        if not pid1.is_process_1() and not pid1.become_subreaper():
            self.say("warning", "", pid1.CANNOT_REAP)
        if lost := pid1.environment_lost():
            self.say("warning", "", lost)
        if not tree.proc_is_ours():
            self.say("warning", "", tree.NO_PROC)
        elif not self.children.trees.limits.span:
            self.say("warning", "", tree.NO_LIMITS)
        self.opening.begin()
        self.loader.start(self.request, {})

    def run(self) -> int | None:
        """Run until the engine exits; returns the exit code, or None if a new program is to replace this one.

        Any exception raised here is an internal error.
        """
        self.replace = False
        gc.freeze()  # objects of the start are permanent
        gc.enable()
        signals.set_mask(self._mask)
        self.children.reap()  # what ended before SIGCHLD had a handler
        while True:
            self._feed()
            self.control.poll_waiters()
            if self._exit_code is not None or (self.replace and not self.engine.reading):
                return self._exit_code
            self._gather(self._wait())

    def _wait(self) -> list[tuple[int, int]]:
        deadlines = [part.deadline() for part in (self.engine, *self._timed)]
        moments = [moment for moment in deadlines if moment is not None]
        seconds = max(0.0, min(moments) - time.monotonic()) if moments else None
        return self.epoll.poll(None if seconds is None else min(seconds, _LONGEST_WAIT_SECONDS))

    def _gather(self, ready: list[tuple[int, int]]) -> None:
        """Turn ready descriptors into events for the engine.

        Starts come first: a service may report its readiness before we close our end of the pipe that reports its exec.
        """
        woken = False
        for fd, _ in sorted(ready, key=lambda entry: not self.children.owns(entry[0])):
            if fd == self._wake_up_reader:
                woken = True
                continue
            for part in self._parts:
                if part.owns(fd):
                    part.handle(fd)
                    break
        if woken or signals.noted:
            self.signalled(self.arrived())
        now = time.monotonic()
        for each in self._timed:
            each.due(now)
        deadline = self.engine.deadline()
        if deadline is not None and deadline <= now:
            self.facts.append(events.Due())

    def arrived(self) -> set[int]:
        """Return the numbers of the signals that have arrived since the last call."""
        numbers: set[int] = set()
        noted = signals.noted.copy()  # their bytes are in the pipe, unless it had no memory for them
        try:
            while data := os.read(self._wake_up_reader, 512):
                numbers.update(data)
        except BlockingIOError:
            pass
        numbers |= noted
        signals.noted.difference_update(numbers)
        return numbers

    def signalled(self, numbers: set[int]) -> None:
        """Turn signals into events for the engine."""
        requests = numbers & signals.STOP_SIGNALS
        if requests:  # signals that arrive together are one request
            self.facts.insert(0, events.StopRequested(min(requests)))
        if signals.HUP in numbers:
            self.facts.append(events.ReloadRequested())
        if signals.REEXECUTE in numbers:
            self._check_successor()
        if signals.CHLD in numbers:
            self.children.reap()

    def _check_successor(self) -> None:
        """Before our program is replaced: check that the installed one can take over our state."""
        self.successor = None
        try:
            start = SpawnSpec(successor_command(), python_environment(), self.given)
            self.children.launch(_SUCCESSOR, start, self._successor_checked)
        except OSError as error:
            self.no_successor(spawn.no_room(error))

    def _successor_checked(self, code: int, why: str) -> None:
        if code == 0 and self._exit_code is None:
            self.successor, self.replace = "", True
        else:
            self.no_successor(why or f"the installed program cannot take over: it ended with {describe_exit(code)}")

    def no_successor(self, why: str) -> None:
        """Report that our program is not replaced."""
        self.successor = f"cannot re-execute: {why} (nothing was changed)"
        self.say("error", "", self.successor)

    def _feed(self) -> None:
        """Pass events to the engine and carry out its effects, until there are no more of both.

        An item leaves its queue after it has been handled: an internal error loses none (reexecution_state.py).
        """
        while (self.facts or self.effects) and self._exit_code is None:
            while self.effects and self._exit_code is None:
                self._perform(self.effects[0])
                del self.effects[0]
            if self.facts:
                self.stepping = True
                self.effects = self.engine.step(self.facts[0], time.monotonic())
                del self.facts[0]
                self.stepping = False
                self.requests.publish_news(self.control)

    # --- effects -------------------------------------------------------------------------------------

    def _perform(self, effect: Effect) -> None:
        match effect:
            case effects.Spawn(service):
                self.launcher.start(service)
            case effects.RunHook(service, stage, number):
                self.launcher.run_hook(service, stage, number)
            case effects.Signal(name, number):
                self.launcher.give_up(name, number)
                self.children.signal(name, number)
            case effects.SignalTree(name, number):
                self.launcher.give_up(name)
                self.children.trees.signal(name, number)
            case effects.Ask(service):
                self.probes.ask(service, time.monotonic())
            case effects.StopAsking(name):
                self.probes.stop(name)
                self.launcher.stop_listening(name)
            case effects.Sweep(number):
                self.clock.set([])
                self.multiline.close()
                self.output.destinations.stop_tasks()
                self.children.sweep(number)
            case effects.Report(level, name, text):
                self.say(level, name, text)
            case effects.Prepare(plan):
                self._prepare(plan)
            case effects.Load(scale, required):
                self.loader.start(self.request, scale, required)
            case effects.Forget(name):
                self.children.forget(name)
                self.notify.close(name)
                self.output.forget(name)
                self.output.mask.keep(self._secret_paths(self.engine.plan))
            case effects.AllReady():
                notify.notify_supervisor(self._notify_socket, "READY=1\nSTATUS=all services are ready")
            case effects.Exit(code, reason, cause):
                self._exit(code, reason, cause)

    def _prepare(self, plan: Plan) -> None:
        self.output.name_services(list(plan.services), plan.logging)
        self.launcher.hides = plan.mask
        if plan.mask:
            try:
                problems = self.output.hide(self._secret_paths(plan))
            except OSError as error:  # no room now: the start of each service reads its own secrets again
                problems = [f"cannot hide the secrets yet: {error.strerror} (no service starts before they are read)"]
            for problem in problems:
                self.say("warning", "", problem)
        else:
            self.output.mask.forget()
        self.launcher.make_room(len(plan.services))
        self.control.group = plan.control_gid
        self.set_schedules(plan)

    @staticmethod
    def _secret_paths(plan: Plan | None) -> dict[str, None]:
        """Return the paths of the secrets to hide, each once."""
        services = plan.services.values() if plan and plan.mask else ()
        return dict.fromkeys(path for service in services for path in service.secret_paths())

    def set_schedules(self, plan: Plan) -> None:
        """Use the schedules of this Plan from now on."""
        self.clock.set([(name, service.schedule) for name, service in plan.services.items() if service.schedule])

    def _notified(self, message: events.Notified) -> None:
        if message.main_pid and not self.children.adopt(message.service, message.main_pid):
            message = message.replace(main_pid=0)
        self.emit(message)

    def emit(self, event: Event) -> None:
        """Queue an event for the engine. Its texts may contain a secret: a probe's output or a status, for example."""
        if self.output.mask.texts:
            texts = {name: text for name, text in vars(event).items() if isinstance(text, str) and name != "service"}
            hidden = {name: self.output.mask.hide_text(text) for name, text in texts.items()}
            if hidden != texts:
                event = event.replace(**hidden)
        self.facts.append(event)

    def _speaks_for(self, service: str, pid: int, uid: int) -> bool | None:
        return self.children.trees.speaks_for(service, pid, uid)  # the trees are replaced after a re-execution

    def _on_subscription(self) -> None:
        """A client has started or stopped following logs."""
        subscriptions = [each for *_, each in self.control.listeners("logs")]
        if not subscriptions:
            self.output.follow(None)
        elif any(each.every for each in subscriptions):
            self.output.follow(self._publish_lines)
        else:
            names = frozenset(name for each in subscriptions for name in each.services)
            self.output.follow(self._publish_lines, names)

    def _publish_lines(self, service: str, stream: str, moment: float, lines: bytes) -> None:
        self.control.publish("logs", service, protocol.record(service, stream, moment, lines))

    def say(self, level: str, service: str, text: str) -> None:
        """Write a log line of our own. Problems of the file are shown without a prefix: editors jump to them."""
        if level == "info" and self.quiet:
            return
        if level == "problem":
            self.output.say("error", "", text)
        else:
            self.output.say(level, OURSELVES, f"{service}: {text}" if service else text)

    def _on_stdout_lost(self, why: str) -> None:
        self.say("warning", "", f"our stdout is closed: {why} (output is discarded from now on)")

    def _on_full(self, stream: str) -> Callable[[str], None]:
        def on_full(why: str) -> None:
            text = f"cannot write to our {stream}: {why} (trying again every second; blocking services wait)"
            self.say("warning", "", text if why else f"our {stream} can be written again")

        return on_full

    def _exit(self, code: int, reason: str, cause: str) -> None:
        self.loader.abandon()
        text = ""
        if reason:
            last_lines = self.output.recent_lines.last_lines(cause, LINES_MAX)
            text = exit_reason_text(reason, code, cause, last_lines)
            text = self.output.mask.hide_text(text)
            self.say("info" if code == 0 else "error", "", text)
            write_termination_log(text)
        deadline = max(time.monotonic() + _DRAIN_SECONDS, self.engine.drain_until)
        unread = self.output.finish(lambda: max(0.0, deadline - time.monotonic()))
        if unread:
            lost = f"{unread} bytes of output were discarded: they were not read in time"
            write_termination_log(f"{text}\n{lost}")
            self.say("warning", "", lost)
            self.output.finish(lambda: max(_LAST_SECONDS, deadline - time.monotonic()))
        self.control.close()
        self.sockets.close()
        self.directory.remove()
        self.children.trees.close()
        self._exit_code = code
