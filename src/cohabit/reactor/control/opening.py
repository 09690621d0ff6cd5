"""Opens the control socket at the start, or later when it cannot be opened at once.

What prevents it (no free descriptor, a directory that is mounted later) may be temporary, so cohabit retries with
growing pauses. One message says that the socket is missing, and one that it is open.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Openable(Protocol):
        """The part of server.Control that is used here."""

        @property
        def is_open(self) -> bool:
            """Whether the socket is open."""

        def open(self) -> None:
            """Bind the socket. Raises OSError."""


_RETRYING = "retrying; until then `cohabit ps` and other client commands do not work"
_PAUSE_SECONDS, _PAUSE_SECONDS_MAX = 1.0, 60.0  # before the first retry; doubled for each further one


class Opening:
    """Opens the control socket. log(level, service, text) writes a message; the service is always ""."""

    def __init__(self, control: Openable, log: Callable[[str, str, str], None]) -> None:
        self._control = control
        self._log = log
        self._pause_seconds = _PAUSE_SECONDS
        self._retry_at: float | None = None  # monotonic seconds
        self._warned = False

    def begin(self) -> None:
        """Open the socket, or schedule a retry."""
        try:
            self._control.open()
        except OSError as error:
            self._retry_at = time.monotonic() + self._pause_seconds
            self._pause_seconds = min(2 * self._pause_seconds, _PAUSE_SECONDS_MAX)
            if not self._warned:
                why = error.strerror or str(error)
                self._log("warning", "", f"cannot open the control socket: {why} ({_RETRYING})")
            self._warned = True
            return
        self._retry_at = None
        if self._warned:
            self._log("info", "", "the control socket is open now")

    def resume(self) -> None:
        """After a re-execution: retry if the socket is still missing, without a second warning."""
        self._warned = not self._control.is_open
        self._retry_at = time.monotonic() + self._pause_seconds if self._warned else None

    def deadline(self) -> float | None:
        """Return the time of the next attempt, in monotonic seconds, or None."""
        return self._retry_at

    def due(self, now: float) -> None:
        """Retry if the time has come."""
        if self._retry_at is not None and self._retry_at <= now:
            self.begin()

    def close(self) -> None:
        """Stop retrying."""
        self._retry_at = None
