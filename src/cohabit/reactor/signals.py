"""Signals: what we inherited, what we handle, and how a child gets back what we inherited.

The C module `_signal` is imported instead of its wrapper `signal`, which imports enum: 4 to 7 ms and half a megabyte
in process 1. No other module of the reactor imports either.

A program inherits a mask and, for each signal, "default" or "ignored" (signal(7), "Signal mask and pending signals");
both survive exec. An init must pass both on unchanged: nohup ignores HUP, a shell's background job ignores INT.
CPython ignores PIPE and XFSZ before our first line runs, and Python cannot read what they were before. So the
`cohabit` script reads the field `sigignore` of /proc/self/stat first and passes it as `-X cohabit-sigignore=N`.
Without that option, both are taken as default.
"""

from __future__ import annotations

from cohabit.reactor import pid1
from cohabit.reactor.linux import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Iterable
else:
    import _signal as signal

TERM, INT, QUIT, HUP, CHLD, CONT, KILL, STOP = (
    int(number)
    for number in (
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGHUP,
        signal.SIGCHLD,
        signal.SIGCONT,
        signal.SIGKILL,
        signal.SIGSTOP,
    )
)
TSTP, TTIN, TTOU = int(signal.SIGTSTP), int(signal.SIGTTIN), int(signal.SIGTTOU)
WINCH, USR2 = int(signal.SIGWINCH), int(signal.SIGUSR2)
JOB_CONTROL = frozenset({TSTP, TTIN, TTOU})  # they stop a process

# Stop requests: from Docker, a terminal, a power failure, and from podman and systemd-nspawn.
STOP_SIGNALS = frozenset({TERM, INT, QUIT, int(signal.SIGPWR), int(signal.SIGRTMIN) + 3})

REEXECUTE = int(signal.SIGRTMIN) + 25  # as with systemd(1)

ALL = frozenset(int(number) for number in signal.valid_signals())
_FAULTS = frozenset(
    int(number)
    for number in (
        signal.SIGSEGV,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGTRAP,
        signal.SIGABRT,
        signal.SIGSYS,
    )
)
_BY_CPYTHON = frozenset({int(signal.SIGPIPE), int(signal.SIGXFSZ)})

# What `up` and `run` forward to a main command: all that they do not use, and that is not about this process itself.
FORWARDED = ALL - _FAULTS - _BY_CPYTHON - STOP_SIGNALS - JOB_CONTROL - {CHLD, HUP, CONT, KILL, STOP, REEXECUTE}

wait_for = signal.sigtimedwait
wait_for_ever = signal.sigwaitinfo


class InheritedSignals:
    """The mask and the ignored signals with which we were started."""

    __slots__ = ("ignored", "mask")

    def __init__(self, mask: Iterable[int], ignored: Iterable[int]) -> None:
        self.mask = frozenset(int(number) for number in mask)
        self.ignored = frozenset(ignored)

    @classmethod
    def at_start(cls, before: Iterable[int] | None = None) -> InheritedSignals:
        """Read both before they change, and block every signal so that none is lost from then on.

        before: the mask, if the signals have been blocked already (__main__.py).
        """
        mask = signal.pthread_sigmask(signal.SIG_SETMASK, ALL) if before is None else before
        ignored = {number for number in ALL - _BY_CPYTHON if signal.getsignal(number) is signal.SIG_IGN}
        if CHLD in ignored:  # the kernel would reap our children, and their status would be lost
            signal.signal(CHLD, signal.SIG_DFL)
            _changed.add(CHLD)
        bits = int(pid1.option("cohabit-sigignore") or 0)
        return cls(mask, ignored | {number for number in _BY_CPYTHON if bits >> (number - 1) & 1})

    def restore(self) -> None:
        """In a child before its exec: restore the dispositions, then the mask.

        So a pending signal meets the disposition that it would have met without us.
        """
        for number in _changed | _BY_CPYTHON | {INT}:
            wanted = signal.SIG_IGN if number in self.ignored else signal.SIG_DFL
            signal.signal(number, wanted)
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)


_changed: set[int] = set()


def block_all() -> frozenset[int]:
    """Block every signal that can be blocked; returns the mask before."""
    return frozenset(int(number) for number in signal.pthread_sigmask(signal.SIG_SETMASK, ALL))


def pending(numbers: Iterable[int]) -> bool:
    """Whether one of these blocked signals is pending."""
    return not signal.sigpending().isdisjoint(numbers)


def all_pending() -> set[int]:
    """Return the signals that are blocked and pending."""
    return {int(number) for number in signal.sigpending()}


def set_mask(mask: Iterable[int]) -> None:
    """Set the mask of this thread, the only one of the process."""
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def stop_our_group() -> None:
    """Stop our process group as a terminal's TSTP does, until a shell continues it.

    The kernel stops no orphaned process group (setpgid(2)) and no process 1: then this has no effect on us.
    """
    before = signal.signal(TSTP, signal.SIG_DFL)
    os.kill(0, TSTP)
    mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, {TSTP})  # here we stop
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    signal.signal(TSTP, before)


def stop_ourselves() -> None:
    """Stop this process until a CONT. No effect on process 1."""
    os.kill(os.getpid(), STOP)


def die_of_interrupt() -> None:
    """End this process as INT does by default; has no effect on process 1."""
    signal.signal(INT, signal.SIG_DFL)
    os.kill(os.getpid(), INT)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {INT})


def listen(numbers: Iterable[int], fd: int) -> frozenset[int]:
    """Write one byte, the signal's number, to `fd` for each arrival of these signals.

    Returns the mask to wait with. All other signals stay blocked, so that a stray USR1 or ALRM cannot end us (it ends
    supervisord); except faults of our own and job control, whose defaults are right.
    """
    for number in numbers:
        signal.signal(number, _note)
        signal.siginterrupt(number, False)
        _changed.add(int(number))
    signal.set_wakeup_fd(fd, warn_on_full_buffer=False)
    return frozenset(ALL - set(numbers) - _FAULTS - JOB_CONTROL - {CONT})


noted: set[int] = set()  # signals that have arrived since the loop last read them, even if their bytes are lost


def _note(number: int, _frame: object) -> None:
    """The byte in the wake-up pipe wakes the loop. If the pipe had no memory for it, the next event does."""
    noted.add(int(number))


def send_by_pidfd(fd: int, number: int) -> None:
    """Call pidfd_send_signal(2). Raises OSError if the process has ended."""
    signal.pidfd_send_signal(fd, number)
