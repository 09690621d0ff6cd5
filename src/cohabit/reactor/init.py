"""`cohabit init`: one command under an init, as with tini, dumb-init and `docker run --init`, with an orderly end.

All signals are blocked and taken one by one with sigwaitinfo(2): no signal handler and no polling. The command does
not notice any of this, because it gets the inherited mask and dispositions. The main child is in a process group of
its own, in our session. Unlike tini and similar programs, `init` ends what is left: when main has ended, every
remaining process gets TERM, and `init` waits until the last one has ended or the grace period is over.

Job control: when the terminal stops main (^Z) and a shell is our parent, we stop too, so that the shell notices. When
the shell continues us, we continue main. Without a shell that could continue it (as process 1, or under another init),
main is continued at once, as if ^Z had no effect.
"""

from __future__ import annotations

import time

from cohabit.reactor import pid1, signals
from cohabit.reactor.linux import environment, os
from cohabit.reactor.processes import spawn
from cohabit.reactor.processes.child import SpawnSpec
from cohabit.reactor.processes.terminal import Terminal
from cohabit.units import describe_exit, signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.reactor.signals import InheritedSignals

_LEAST_GRACE_SECONDS = 1.0  # for the remaining processes, even if main used up the grace period


class Rules:
    """The options of `init`.

    group: signals go to main's whole process group. rewrite: signal -> other signal, 0 drops it. success: exit codes
    that become 0. grace_seconds: for the processes that are left when main has ended. say(text): prints a warning.
    warn_on_reap: report each reaped orphan. verbose: report each signal and the end of main.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.group = False
        self.rewrite: dict[int, int] = {}
        self.success: set[int] = set()
        self.grace_seconds = 9.0
        self.subreaper = True
        self.parent_death_signal = 0
        self.warn_on_reap = False
        self.verbose = False


class Init:
    """One main child, and the orphans that appear meanwhile."""

    def __init__(self, argv: tuple[str, ...], given: InheritedSignals, rules: Rules) -> None:
        self._rules = rules
        self._argv = argv
        self._given = given
        self._terminal = Terminal()
        self.alone = False  # no child is left, so no descendant either
        self.main = 0
        self._code: int | None = None
        self._stop_asked_at: float | None = None

    def run(self) -> int:
        """Run the command to its end; returns the exit code. Raises spawn.NotStartedError.

        Processes that outlive it are left to reactor/processes/sweep, which is rarely needed: see `alone`.
        """
        self._prepare()
        start = SpawnSpec(self._argv, environment(), self._given, session=False)
        errors = self._spawn(start)
        while self._code is None:
            got = signals.wait_for_ever(signals.ALL)
            if got.si_signo == signals.CHLD:
                self._reap()
            else:
                self._forward(got.si_signo)
        self._terminal.take_back(self.main)
        if message := spawn.exec_errors(errors):  # read only now: nothing waits for the exec
            raise spawn.NotStartedError(start, message)
        return 0 if self._code in self._rules.success else self._code

    @property
    def grace_left(self) -> float:
        """Seconds for the remaining processes: after a stop request, main and they share one grace period."""
        spent = 0.0 if self._stop_asked_at is None else time.monotonic() - self._stop_asked_at
        grace = self._rules.grace_seconds
        return max(min(grace, _LEAST_GRACE_SECONDS), grace - spent)

    def _prepare(self) -> None:
        rules = self._rules
        if rules.parent_death_signal and not pid1.set_parent_death_signal(rules.parent_death_signal):
            rules.say("cannot set the parent-death signal: this Python or kernel has no prctl (continuing without it)")
        if warning := pid1.environment_lost():
            rules.say(warning)
        if pid1.is_process_1():
            return
        if rules.subreaper and not pid1.become_subreaper():
            rules.say(pid1.CANNOT_REAP)

    def _spawn(self, start: SpawnSpec) -> int:
        """Fork main; returns the pipe that reports a failed exec."""
        if self._terminal.foreground:
            start.terminal = self._terminal.fd
        try:
            self.main, errors = spawn.spawn(start)
        except OSError as error:
            raise spawn.NotStartedError(start, error=error) from error
        return errors

    def _reap(self) -> None:
        """Handle every child that has ended or stopped. CHLD signals merge, so one may stand for several children."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                self.alone = True
                return
            if pid == 0:
                return
            if os.WIFSTOPPED(status):
                if pid == self.main:
                    self._main_stopped(os.WSTOPSIG(status))
            elif pid == self.main:
                self._code = spawn.exit_code(status)
                self._verbose(f"main ended with {describe_exit(self._code)}")
            elif self._rules.warn_on_reap:
                self._rules.say(f"reaped orphan {pid} ({describe_exit(spawn.exit_code(status))})")

    def _forward(self, number: int) -> None:
        if number in signals.STOP_SIGNALS and self._stop_asked_at is None:
            self._stop_asked_at = time.monotonic()
        wanted = self._rules.rewrite.get(number, number)
        self._verbose(f"{signal_name(number)}: {'dropped' if not wanted else 'forwarded as ' + signal_name(wanted)}")
        if number == signals.CONT:  # the terminal first: without it main could stop again
            self._terminal.lend(self.main)
        if wanted:
            self._send(wanted)

    def _send(self, number: int) -> None:
        try:
            if self._rules.group:
                try:
                    os.kill(-self.main, number)
                except ProcessLookupError:  # main has not created its group yet
                    os.kill(self.main, number)
            else:
                os.kill(self.main, number)
        except OSError as error:
            self._verbose(f"cannot send {signal_name(number)}: {error.strerror}")

    def _main_stopped(self, number: int) -> None:
        """The terminal has stopped main: stop with it if a shell is our parent, else continue it. Ignore a STOP."""
        if number == signals.STOP or (self._terminal.fd < 0 and not pid1.is_process_1()):
            return
        self._terminal.take_back(self.main)
        signals.stop_if_continuable()  # until the shell's `fg` or `bg`, whose CONT is forwarded
        if number == signals.TSTP:
            self._terminal.lend(self.main)
            os.kill(-self.main, signals.CONT)

    def _verbose(self, text: str) -> None:
        if self._rules.verbose:
            self._rules.say(text)
