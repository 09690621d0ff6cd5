"""A controlling terminal and its foreground, for `init`: what a job-control shell does, for one job.

The command gets a process group of its own, so that a ^C of the terminal reaches it once, not twice. While we are in
the foreground, the command's group takes our place there. We take the place back whenever the command stops or ends.
In the background nothing is changed: `cohabit init … &` in a shell must not take its terminal (tini and catatonit
take it and do not give it back). SIGTTOU must be blocked. Sources: tcsetpgrp(3), credentials(7), and "Implementing a
Job Control Shell" in the glibc manual.
"""

from __future__ import annotations

from cohabit.reactor.linux import os


class Terminal:
    """Our controlling terminal. fd: -1 if there is none."""

    def __init__(self) -> None:
        self._ours = os.getpgrp()
        try:
            self.fd = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError:
            self.fd = -1

    @property
    def foreground(self) -> bool:
        """Whether our own process group is in the foreground."""
        return self._foreground_group() == self._ours

    def is_for(self, group: int) -> bool:
        """Whether our own process group or that one is in the foreground."""
        return self._foreground_group() in (self._ours, group)

    def lend(self, group: int) -> None:
        """Put another process group into the foreground, if ours is there."""
        if self.foreground:
            self._set(group)

    def take_back(self, group: int) -> None:
        """Return to the foreground, if that group is there or the foreground group no longer exists."""
        if self.fd >= 0 and self._foreground_group() in (group, 0):
            self._set(self._ours)

    def _foreground_group(self) -> int:
        if self.fd < 0:
            return -1
        try:
            return os.tcgetpgrp(self.fd)
        except OSError:
            return -1  # hung up

    def _set(self, group: int) -> None:
        try:
            os.tcsetpgrp(self.fd, group)
        except OSError:
            return  # hung up, or the group is gone
