"""The loop of process 1: wait, gather facts, let the engine step, carry out its effects. One thread.

There is one epoll wait and it has no timeout unless the engine or a probe named a deadline: with nothing to
do, process 1 does not wake. Signals arrive through a pipe (the "self-pipe trick"; signal.set_wakeup_fd), so
they are events like all others. signalfd(2) would do without handlers but needs ctypes; a pidfd per child
would say whose end it was, but orphans are not ours to have opened one for, so SIGCHLD and waitpid(-1) do for
all. Requests to stop are fed first, so that a service that died of a platform-wide TERM is seen as stopping,
not as crashed.

What is special about children is in children.py, what crosses a re-execution in handover.py.
"""

from __future__ import annotations

import gc
import select
import time

from cohabit.engine import effects, events
from cohabit.engine.supervisor import Supervisor
from cohabit.reactor import pid1, signals, tree
from cohabit.reactor.children import Children
from cohabit.reactor.lastword import last_word, write_termination_log
from cohabit.reactor.linux import os
from cohabit.reactor.output import Output
from cohabit.reactor.probes import Probes
from cohabit.reactor.sink import Sink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event
    from cohabit.reactor.signals import Given

_DRAIN_SECONDS = 1.0  # at the very end, for whoever still reads our stdout; more if the total is not used up


class Loop:
    """Everything that process 1 holds. run() returns the container's exit code."""

    def __init__(self, given: Given, request: str, *, quiet: bool = False) -> None:
        self.request = request
        self.quiet = quiet
        self.engine = Supervisor()
        self.facts: list[Event] = []
        self.effects: list[Effect] = []  # what the engine wants and has not got yet; the first one is under way
        self.stepping = False  # the engine is dealing with the first fact
        self.errors_at: list[float] = []  # monotonic seconds of internal errors
        self.epoll = select.epoll()
        self._exit_code: int | None = None
        self._woken, waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.epoll.register(self._woken, select.EPOLLIN)
        self._mask = signals.listen(signals.STOP_SIGNALS | {signals.CHLD, signals.HUP}, waker)
        stdout = Sink(1)
        stderr = Sink(2)
        self.output = Output(self.epoll, stdout, stdout if stderr.identity == stdout.identity else stderr)
        stdout.on_lost = self._stdout_lost
        self.probes = Probes(self.epoll, lambda name: self.facts.append(events.ProbePassed(name)))
        self.children = Children(given, self.epoll, self.output, self.facts.append)

    # --- the loop ------------------------------------------------------------------------------------

    def start(self) -> None:
        """The first turn of a new life: have the file read."""
        if not pid1.is_process_1() and not pid1.become_subreaper():
            self.say("warning", "", pid1.CANNOT_REAP)
        if lost := pid1.environment_lost():
            self.say("warning", "", lost)
        if not tree.proc_is_ours():
            self.say("warning", "", tree.NO_PROC)
        self.children.start_loader(self.request)

    def run(self) -> int:
        """Until the engine says Exit. Any exception that leaves here is an internal error."""
        gc.freeze()  # what the start left is there to stay
        gc.enable()
        signals.set_mask(self._mask)
        self.children.reap()  # what ended before SIGCHLD had a handler
        while self._exit_code is None:
            self._feed()
            if self._exit_code is None:
                self._gather(self._wait())
        return self._exit_code

    def _wait(self) -> list[tuple[int, int]]:
        deadlines = [moment for moment in (self.engine.deadline(), self.probes.deadline()) if moment is not None]
        return self.epoll.poll(max(0.0, min(deadlines) - time.monotonic()) if deadlines else None)

    def _gather(self, ready: list[tuple[int, int]]) -> None:
        """From descriptors to facts."""
        now = time.monotonic()
        woken = False
        for fd, _ in ready:
            if fd == self._woken:
                woken = True
            elif self.output.owns(fd):
                self.output.handle(fd)
            elif self.probes.owns(fd):
                self.probes.handle(fd, now)
            elif self.children.owns(fd):
                self.children.handle(fd)
        if woken:
            self.signalled(self.arrived())
        self.probes.due(now)
        deadline = self.engine.deadline()
        if deadline is not None and deadline <= now:
            self.facts.append(events.Due())

    def arrived(self) -> set[int]:
        """Numbers of the signals that came since the last look."""
        numbers: set[int] = set()
        try:
            while data := os.read(self._woken, 512):
                numbers.update(data)
        except BlockingIOError:
            pass
        return numbers

    def signalled(self, numbers: set[int]) -> None:
        """From signals to facts."""
        requests = numbers & signals.STOP_SIGNALS
        if requests:  # several at once are one request; a second one comes later
            self.facts.insert(0, events.StopRequested(min(requests)))
        if signals.HUP in numbers:
            self.say("warning", "", "SIGHUP: reload is not supported yet; nothing was changed")
        if signals.CHLD in numbers:
            self.children.reap()

    def _feed(self) -> None:
        """Facts to the engine, effects to the world, until neither brings more.

        Each leaves its queue when it has been dealt with: an internal error loses none (handover.py).
        """
        while self.facts or self.effects:
            while self.effects:
                self._perform(self.effects[0])
                del self.effects[0]
            if self.facts:
                self.stepping = True
                self.effects = self.engine.step(self.facts[0], time.monotonic())
                del self.facts[0]
                self.stepping = False

    # --- effects -------------------------------------------------------------------------------------

    def _perform(self, effect: Effect) -> None:
        match effect:
            case effects.Spawn(service):
                self.children.start(service)
            case effects.Signal(name, number):
                self.children.signal(name, number)
            case effects.SignalTree(name, number):
                self.children.trees.signal(name, number)
            case effects.StartProbe(service):
                self.probes.start(service, time.monotonic())
            case effects.StopProbe(name):
                self.probes.stop(name)
            case effects.Sweep(number):
                self.children.sweep(number)
            case effects.Report(level, name, text):
                self.say(level, name, text)
            case effects.Prepare(plan):
                self.output.name_services(list(plan.services))
                self.children.make_room(len(plan.services))
            case effects.Exit(code, word, culprit):
                self._leave(code, word, culprit)

    def say(self, level: str, service: str, text: str) -> None:
        """A line of our own for people. Problems of the file are shown as they are: editors jump to them."""
        if level == "info" and self.quiet:
            return
        if level == "problem":
            self.output.say("", text)
        else:
            self.output.say("cohabit", f"{service}: {text}" if service else text)

    def _stdout_lost(self, why: str) -> None:
        self.say("warning", "", f"our stdout is closed ({why}): from here on, output is discarded")

    def _leave(self, code: int, word: str, culprit: str) -> None:
        self.children.abandon_loader()
        text = ""
        if word:
            text = last_word(word, code, culprit, self.output.tail(culprit))
            self.say("info" if code == 0 else "error", "", text)
            write_termination_log(text)
        deadline = max(time.monotonic() + _DRAIN_SECONDS, self.engine.drain_until)
        unread = self.output.finish(lambda: max(0.0, deadline - time.monotonic()))
        if unread:
            write_termination_log(f"{text}\n{unread} bytes of output were discarded: nobody read them")
        self._exit_code = code
