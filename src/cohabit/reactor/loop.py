"""The loop of process 1: wait, gather events, let the engine step, carry out its effects. One thread.

There is one wait (poller.py). It has a timeout only if a timer is set: with nothing to do, process 1 does not wake up.
Every part registers its descriptors and timers itself (parts.py); the engine has one timer, its deadline. In each turn,
ready descriptors come first, then signals (signal_pipe.py), then timers. Stop requests go to the front of the queue, so
that a service that ended by a TERM to the whole container counts as stopping, not as crashed. A time in which process 1
itself did not run (poller.py) is the first event of all.

performing.py carries out effects, reexecution_state.py has what is kept across a re-execution.
"""

from __future__ import annotations

import gc
import time

from cohabit.engine import events, main_log
from cohabit.engine.supervisor import Supervisor
from cohabit.plan.model import OWN_NAME
from cohabit.plan.reason import Reason
from cohabit.reactor import pid1, signal_senders, signals
from cohabit.reactor.forwarding import Forwarding
from cohabit.reactor.linux import os
from cohabit.reactor.parts import Parts
from cohabit.reactor.performing import Performer
from cohabit.reactor.poller import Poller
from cohabit.reactor.processes import tree
from cohabit.reactor.signal_pipe import SignalPipe
from cohabit.units import format_duration, signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event
    from cohabit.reactor.side_process import Started
    from cohabit.reactor.signals import InheritedSignals

_STOP_PART_SECONDS = 1.0  # the longest wait for the end of a grace period: so precisely a gap in it is known
_GAPS_LOGGED_SECONDS = 60.0  # so that a machine that is always too busy does not fill the log
_ENGINE = ("engine", "")  # key of its timer


class Loop:
    """All state of process 1. run() returns the container's exit code."""

    def __init__(
        self, given: InheritedSignals, request: str, *, quiet: bool = False, wake_up: tuple[int, int] | None = None
    ) -> None:
        """wake_up: the pipe for signals of the previous program or loop."""
        self.given = given
        self.request = request
        self.quiet = quiet
        self.engine = Supervisor()
        self.facts: list[Event] = []
        self.effects: list[Effect] = []  # not carried out yet; the first one is being carried out
        self._gap_logged_at = -_GAPS_LOGGED_SECONDS
        self.stepping = False  # the engine is handling the first event
        self.errors_at: list[float] = []  # monotonic seconds of internal errors
        self.shortages_at: list[float] = []  # monotonic seconds of shortages that no part handled
        pid1.name_ourselves()
        self.poller = Poller()
        self.signals = SignalPipe(self.poller, wake_up)
        self.parts = Parts(self.poller, self.engine, given, self.emit, self.say)
        self.forwarding = Forwarding(self.engine, self.say)
        self.performer = Performer(self.parts, self.engine, request)

    def start(self, loader: Started | None = None) -> None:
        """The first turn of a new process: start the loader, unless it runs already (first_loader.py)."""
        if not pid1.is_process_1() and not pid1.become_subreaper():
            self.say("warning", "", pid1.CANNOT_REAP)
        if lost := pid1.environment_lost():
            self.say("warning", "", lost)
        if not tree.proc_is_ours():
            self.say("warning", "", tree.NO_PROC)
        elif not self.parts.children.trees.limits.span:
            self.say("warning", "", tree.NO_LIMITS)
        self.parts.opening.begin()
        if loader is not None:
            self.parts.loader.take_over(loader)
        else:
            self.parts.loader.start(self.request, {})

    def run(self) -> int | None:
        """Run until the engine exits; returns the exit code, or None if a new program is to replace this one.

        Any exception raised here is an internal error.
        """
        successor = self.parts.successor
        successor.accepted = False
        gc.freeze()  # objects of the start are permanent
        gc.enable()
        signals.set_mask(self.signals.mask)
        self.parts.children.reap()  # what ended before SIGCHLD had a handler
        while True:
            self._feed()
            if self.forwarding.early:
                self.facts += self.forwarding.requests(())
                self._feed()
            self.parts.control.settle()
            exit_code = self.performer.exit_code
            if exit_code is not None or (successor.accepted and not self.engine.reading.in_progress):
                return exit_code
            self._gather()

    def _gather(self) -> None:
        """Wait, and turn what has happened into events for the engine."""
        due = self.engine.deadline()
        patient = due is not None and self.engine.patient
        self.poller.call_at(_ENGINE, due, lambda: self.facts.append(events.Due()), patient=patient)
        self.poller.wait(_STOP_PART_SECONDS if due is not None and self.engine.stops else None)
        if (gap := self.poller.take_gap()) is not None:
            self._note_gap(*gap)
        self.signalled(self.signals.take())
        self.poller.run_timers(time.monotonic())

    def _note_gap(self, seconds: float, at_most: float) -> None:
        """Nothing ran for a time: what was reported meanwhile counts before any deadline does."""
        self.facts.insert(0, events.Gap(seconds, at_most))
        now = time.monotonic()
        if now >= self._gap_logged_at + _GAPS_LOGGED_SECONDS:
            self._gap_logged_at = now
            why = "a paused container, a suspended machine, or too little processor time"
            gap = format_duration(seconds)
            self.say("warning", "", f"did not run for {gap} or more ({why}): deadlines are postponed")

    def signalled(self, numbers: set[int]) -> None:
        """Turn signals into events for the engine."""
        requests = numbers & signals.STOP_SIGNALS
        if requests:  # signals that arrive together are one request
            self.facts.insert(0, events.StopRequested(min(requests), self._by(min(requests))))
        if self.engine.plan is not None and self.engine.plan.main_log:
            numbers = self._signalled_as_supervisord(numbers)
        if signals.HUP in numbers and not self.forwarding.takes_hup:
            self.facts.append(events.ReloadRequested())
            numbers = numbers - {signals.HUP}
        if numbers:
            self.facts += self.forwarding.requests(numbers)
        if signals.REEXECUTE in numbers:
            self.parts.successor.check()
        if signals.CHLD in numbers:
            self.parts.children.reap()

    def _signalled_as_supervisord(self, numbers: set[int]) -> set[int]:
        """Say which signals came, and do what supervisord does with HUP; returns the others, which are as ever.

        USR2 is only logged: a log file that was moved is opened anew in any case.
        """
        for number in sorted(numbers & signals.STOP_SIGNALS):
            self.say("warning", "", f"received {signal_name(number)} indicating exit request")
        if signals.HUP in numbers:
            self.say("warning", "", "received SIGHUP indicating restart request")
            self.facts.append(events.ReloadRequested(restart=True))
        if signals.USR2 in numbers:
            self.say("info", "", "received SIGUSR2 indicating log reopen request")
        return numbers - {signals.HUP, signals.USR2}

    def _by(self, number: int) -> str:
        """The signal and its sender; "" if that is not known: the signal alone says it then."""
        pid, uid = self.signals.senders.get(number, (0, 0))
        owner = self.parts.children.trees.owner(pid) if pid > 0 else None
        sender = signal_senders.describe(pid, uid, (owner or "").partition("\0")[0])
        return f"{signal_name(number)} from {sender}" if sender else ""

    def _feed(self) -> None:
        """Pass events to the engine and carry out its effects, until there are no more of both.

        An item leaves its queue after it has been handled: an internal error loses none (reexecution_state.py).
        """
        performer = self.performer
        while (self.facts or self.effects) and performer.exit_code is None:
            while self.effects and performer.exit_code is None:
                performer.perform(self.effects[0])
                del self.effects[0]
            if self.facts:
                self.stepping = True
                self.effects = self.engine.step(self.facts[0], time.monotonic())
                del self.facts[0]
                self.stepping = False
                self.parts.control.stepped()
                self._write_main_log()

    def _write_main_log(self) -> None:
        """After a step of the engine: what it did, if our messages are the main log of supervisord."""
        if self.engine.plan is not None and self.engine.plan.main_log:
            for level, text in main_log.lines(self.engine, os.getpid()):
                self.parts.context.log(level, "", text)

    def emit(self, event: Event) -> None:
        """Queue an event for the engine. The texts of a service may contain a secret: a probe's output, for example."""
        mask = self.parts.output.mask
        if mask.texts and hasattr(event, "service"):
            for name, value in vars(event).items():
                if isinstance(value, str) and name != "service":
                    event = event.replace(**{name: mask.hide_text(value)})
                elif isinstance(value, Reason):
                    event = event.replace(**{name: value.with_texts(mask.hide_text)})
        self.facts.append(event)

    def say(self, level: str, service: str, text: str) -> None:
        """Write a log line of our own. Problems of the file are shown without a prefix: editors jump to them."""
        if level == "info" and self.quiet:
            return
        output = self.parts.output
        if level == "problem":
            output.say("error", "", text)
        else:
            output.say(level, OWN_NAME, f"{service}: {text}" if service else text)
