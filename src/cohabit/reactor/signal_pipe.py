"""Signals as events of the loop: a pipe into which one byte, the signal's number, is written for each arrival.

That is the "self-pipe trick" (signal.set_wakeup_fd). Stop requests come through a signalfd if there is one, with
their senders (signal_senders.py); the others do not, because a signalfd needs ctypes. A pidfd per
child would identify the child that ended, but there is none for an orphan; so SIGCHLD and waitpid(-1) are used for all.
"""

from __future__ import annotations

import select

from cohabit.reactor import signal_senders, signals
from cohabit.reactor.linux import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.poller import Poller

_HANDLED = signals.STOP_SIGNALS | signals.FORWARDED | {signals.CHLD, signals.HUP, signals.REEXECUTE}


class SignalPipe:
    """ends: its descriptors; mask: the signals to block while the loop runs.

    senders: of the stop requests that were read last, by number: (pid, uid).
    """

    def __init__(self, poller: Poller, ends: tuple[int, int] | None = None) -> None:
        """ends: the pipe of the previous program or loop, so that a re-execution needs no new descriptor."""
        self.ends = ends or os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for fd in self.ends:
            os.set_inheritable(fd, False)
        self._ready = False
        poller.add(self.ends[0], select.EPOLLIN, self._is_ready)
        self.mask = signals.listen(_HANDLED, self.ends[1])
        self.senders: dict[int, tuple[int, int]] = {}
        self._signalfd = signal_senders.open_signalfd(signals.STOP_SIGNALS)
        if self._signalfd >= 0:
            self.mask |= signals.STOP_SIGNALS
            poller.add(self._signalfd, select.EPOLLIN, self._is_ready)

    def _is_ready(self, _fd: int) -> None:
        self._ready = True

    def take(self) -> set[int]:
        """Return the numbers of the signals that have arrived, after each wait of the poller."""
        return self.read() if self._ready or signals.noted else set()

    def read(self) -> set[int]:
        """Return the numbers of the signals that have arrived since the last call."""
        self._ready = False
        numbers: set[int] = set()
        noted = signals.noted.copy()  # their bytes are in the pipe, unless it had no memory for them
        try:
            while data := os.read(self.ends[0], 512):
                numbers.update(data)
        except BlockingIOError:
            pass
        numbers |= noted
        signals.noted.difference_update(numbers)
        if self._signalfd >= 0:
            self.senders = signal_senders.read_senders(self._signalfd)
        return numbers | self.senders.keys()
