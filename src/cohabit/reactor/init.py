"""`cohabit init`: one command under an init, as with tini, dumb-init and `docker run --init`, with an orderly end.

All signals are blocked and taken one by one with sigwaitinfo(2): no signal handler and no polling. The command does
not notice any of this, because it gets the inherited mask and dispositions. Unlike tini and similar programs, `init`
ends what is left: when main has ended, every remaining process gets TERM, and `init` waits until the last one has ended
or the grace period is over. As process 1 the same happens when main has not ended a grace period after a stop signal.

Process groups and job control (docs/reference/init.md). Main leads a group of its own, except on a terminal whose
session is not ours, as under a shell: there main stays in our group. So the keys of the terminal reach the whole job as
they do without us: a pager in the same pipeline can read the terminal, and ^C and ^Z concern the script around us, too.
A signal of the terminal has reached main then, and is not forwarded.

With a group of its own, main is stopped alone by ^Z. If a shell can continue us, our process group stops as well, so
that the shell notices; when it continues us, we continue main's group. Where no shell would notice (as process 1, or
under another init), main is continued at once, as if ^Z had no effect.
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
    import signal
    from collections.abc import Callable

    from cohabit.reactor.signals import InheritedSignals

GRACE_SECONDS = 8.0  # with the least grace of the rest, 9 s in total: `docker stop` waits 10 s (docs/adr/0006)
_LEAST_GRACE_SECONDS = 1.0  # for the remaining processes, even if main used up the grace period
_STARTS_GRACE = frozenset({signals.TERM, signals.INT, signals.QUIT})  # of main as process 1
_INTERRUPTED = 128 + signals.INT
_SI_KERNEL = 0x80  # si_code of a signal of the terminal: sigaction(2)
_GROUP_VARIABLE, _OFF = "COHABIT_INIT_GROUP", ("", "0", "no", "false")  # as -g, for `docker run -e`
_STEP_SOCKETS = "name its sockets"


class Rules:
    """The options of `init`.

    group: signals go to main's whole process group; None: the environment decides. rewrite: signal -> other signal, 0
    drops it. success: exit codes that become 0. grace_seconds: for main after a stop signal (process 1; 0: no limit),
    and for the processes that are left when main has ended. say(text): prints a warning. has_shell: whether a shell
    would notice that our process group stops. warn_on_reap: report each reaped orphan. verbose: report main's pid, each
    signal, and all that is reaped.
    """

    def __init__(self, say: Callable[[str], None], has_shell: Callable[[], bool]) -> None:
        self.say = say
        self.has_shell = has_shell
        self.group: bool | None = None
        self.rewrite: dict[int, int] = {}
        self.success: set[int] = set()
        self.grace_seconds = GRACE_SECONDS
        self.subreaper = True
        self.parent_death_signal = 0
        self.warn_on_reap = False
        self.verbose = False


class Init:
    """One main child, and the orphans that appear meanwhile.

    main: its pid. code: its exit code, None while it runs. alone: no child is left, so no descendant either.
    adopts: orphans of our descendants become our children. stop_signal: the first one that came, or 0.
    """

    def __init__(self, argv: tuple[str, ...], given: InheritedSignals, rules: Rules) -> None:
        self._rules = rules
        self._argv = argv
        self._given = given
        self._terminal = Terminal()
        self._shares_group = False
        self._taken = signals.ALL  # those that are blocked, and taken by sigwaitinfo
        self._pause_asked = False  # a TSTP was sent to us, for main
        self._stopped = False  # main is stopped, and not by STOP
        self._interrupted = False  # by the terminal, whose ^C has reached main too
        self._stop_asked_at: float | None = None
        self.stop_signal = 0
        self.main = 0
        self.code: int | None = None
        self.alone = False
        self.adopts = True

    def run(self) -> None:
        """Run the command until it has ended, or its grace period is over. Raises spawn.NotStartedError.

        What is left then is ended by reactor/processes/remaining.py, which is rarely needed: see `alone`.
        """
        self._prepare()
        start = SpawnSpec(self._argv, environment(), self._given, session=False)
        if self._rules.group is None:
            self._rules.group = start.environment.get(_GROUP_VARIABLE, "").lower() not in _OFF
        errors = self._spawn(start)
        early = signals.all_pending()  # before main was there, so they have not reached it
        directory = _leave_directory()
        while self.code is None:
            got = self._wait()
            if got is None:
                break
            if got.si_signo == signals.CHLD:
                self._reap()
            elif not (self._shares_group and self._has_reached_main(got)) or got.si_signo in early:
                self._forward(got.si_signo)
            early.discard(got.si_signo)
        signals.block_all()  # TTOU, for the change of the foreground
        if self._shares_group and (got := signals.wait_for({signals.INT}, 0)):
            self._has_reached_main(got)  # it came while we were stopped, and main has ended of it since
        self._terminal.take_back(self.main)
        signals.set_mask(self._taken)  # ^Z stops the wait for what remains, too
        if message := spawn.exec_errors(errors):  # read only now: nothing waits for the exec
            _return_to(directory)
            raise spawn.NotStartedError(start, message)

    @property
    def grace_left(self) -> float:
        """Seconds for the remaining processes: after a stop request, main and they share one grace period."""
        spent = 0.0 if self._stop_asked_at is None else time.monotonic() - self._stop_asked_at
        grace = self._rules.grace_seconds
        return max(min(grace, _LEAST_GRACE_SECONDS), grace - spent)

    @property
    def has_terminal(self) -> bool:
        """Whether the keys of the terminal reach us."""
        return self._terminal.foreground

    @property
    def died_of_interrupt(self) -> bool:
        """Whether a ^C of the terminal, which we got too, killed main: a shell above us must see the same of us."""
        return self._interrupted and self.code == _INTERRUPTED

    def _prepare(self) -> None:
        rules = self._rules
        pid1.name_ourselves()
        if rules.parent_death_signal and not pid1.set_parent_death_signal(rules.parent_death_signal):
            rules.say("cannot set the parent-death signal: this Python or kernel has no prctl (continuing without it)")
        if warning := pid1.environment_lost():
            rules.say(warning)
        if pid1.is_process_1():
            return
        self.adopts = rules.subreaper and pid1.become_subreaper()
        if rules.subreaper and not self.adopts:
            rules.say(pid1.CANNOT_REAP)

    def _spawn(self, start: SpawnSpec) -> int:
        """Fork main; returns the pipe that reports a failed exec."""
        if self._may_share_group():
            self._shares_group, start.session = True, None
            if self._rules.has_shell():  # the terminal may stop us too
                self._taken = signals.ALL - signals.JOB_CONTROL
                signals.set_mask(self._taken)
        elif self._terminal.foreground:
            start.terminal = self._terminal.fd
        if start.environment.get("LISTEN_PID") == str(os.getpid()):
            start.before_user = ((_STEP_SOCKETS, lambda: start.environment.update(LISTEN_PID=str(os.getpid()))),)
        try:
            self.main, errors = spawn.spawn(start)
        except OSError as error:
            raise spawn.NotStartedError(start, error=error) from error
        self._verbose(f"main is {self.main} ({self._argv[0]})")
        return errors

    def _may_share_group(self) -> bool:
        """Whether main may stay in our group. -g and -S need a group of main's own."""
        ours = self._terminal.fd >= 0 and self.adopts and not self._rules.group
        return ours and os.getsid(0) != os.getpid() and not pid1.is_process_1()

    def _wait(self) -> signal.struct_siginfo | None:
        """Wait for a signal; None if main has used up its grace period, which only process 1 gives."""
        grace = self._rules.grace_seconds
        if self._stop_asked_at is None or self.stop_signal not in _STARTS_GRACE or not (grace and pid1.is_process_1()):
            return signals.wait_for_ever(self._taken)
        return signals.wait_for(self._taken, max(0.0, self._stop_asked_at + grace - time.monotonic()))

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
            else:
                self.reaped(pid, status)

    def reaped(self, pid: int, status: int) -> None:
        """Note the end of a child: of main, or of an orphan."""
        code = spawn.exit_code(status)
        if pid == self.main:
            self.code = code
            self._verbose(f"main ended with {_describe(code, status)}")
        elif self._rules.warn_on_reap or self._rules.verbose:
            self._rules.say(f"reaped orphan {pid} ({_describe(code, status)})")

    def _has_reached_main(self, got: signal.struct_siginfo) -> bool:
        """Whether a signal was sent to our whole group, in which main is: by the terminal, or by ourselves."""
        by_terminal = got.si_code == _SI_KERNEL
        self._interrupted = self._interrupted or (by_terminal and got.si_signo == signals.INT)
        return by_terminal or got.si_pid == os.getpid()

    def _forward(self, number: int) -> None:
        wanted = self._rules.rewrite.get(number, number)
        self._verbose(f"{signal_name(number)}: {'dropped' if not wanted else 'forwarded as ' + signal_name(wanted)}")
        if not wanted:
            return
        if number in signals.STOP_SIGNALS and self._stop_asked_at is None:
            self._stop_asked_at = time.monotonic()
            self.stop_signal = number
        if wanted in (signals.TSTP, signals.CONT):
            self._pause_asked = wanted == signals.TSTP
        if wanted == signals.CONT:  # the terminal first: without it main could stop again
            self._lend_terminal()
        self._send(wanted, group=bool(self._rules.group) or (self._stopped and wanted == signals.CONT))
        if self._stopped and number in signals.STOP_SIGNALS:  # to receive it, as with systemd
            self._send(signals.CONT, group=True)

    def _send(self, number: int, *, group: bool) -> None:
        """Send a signal to main, or to its group: a stop of the terminal has stopped the group, so CONT is for all."""
        self._stopped = self._stopped and number != signals.CONT
        try:
            if not group:
                os.kill(self.main, number)
                return
            try:
                os.kill(0 if self._shares_group else -self.main, number)
            except ProcessLookupError:  # main has not created its group yet
                os.kill(self.main, number)
        except OSError as error:
            self._verbose(f"cannot send {signal_name(number)}: {error.strerror}")

    def _lend_terminal(self) -> None:
        try:
            if not self._shares_group or os.getpgid(self.main) == self.main:  # an interactive shell makes a group
                self._terminal.lend(self.main)
        except ProcessLookupError:
            return  # it has ended

    def _main_stopped(self, number: int) -> None:
        """The terminal has stopped main: stop with it if a shell can continue us, else continue it.

        A STOP (the command `suspend` of bash) is left as it is. In the foreground of a shell we stop, too, so that the
        shell notices.
        In a group that main shares with us under a shell, the terminal has stopped us, too, as far as it concerns us.
        """
        self._stopped = number != signals.STOP
        if not self._stopped and self._terminal.is_for(self.main) and self._rules.has_shell():
            signals.stop_ourselves()
        if not self._stopped or self._terminal.fd < 0 or self._taken is not signals.ALL:
            return
        self._terminal.take_back(self.main)
        if self._rules.has_shell():
            signals.stop_our_group()  # until the shell's `fg` or `bg`, whose CONT is forwarded
        elif self._pause_asked:
            return
        if number == signals.TSTP or self._terminal.foreground:
            self._lend_terminal()
            self._send(signals.CONT, group=True)

    def _verbose(self, text: str) -> None:
        if self._rules.verbose:
            self._rules.say(text)


def _describe(code: int, status: int) -> str:
    return describe_exit(code) if os.WIFSIGNALED(status) else f"exit code {code}"


def _leave_directory() -> str:
    """Change to /, so that a file system below which we were started can be unmounted; returns where we were, or ""."""
    try:
        directory = os.getcwd()
        os.chdir("/")
    except OSError:
        return ""
    return directory


def _return_to(directory: str) -> None:
    """Change back, for a message about a relative path."""
    try:
        os.chdir(directory)
    except OSError:
        return
