"""Unfinished lines: which stream has written the beginning of a line and then nothing for 200 ms.

A prompt, a progress bar or a message without a newline is shown then. One timer serves all streams. It exists only
while there is an unfinished line. A stream that writes on does not move it: the timer looks at all when it is due.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.reactor.logs.mask import Mask
    from cohabit.reactor.logs.stream import Stream
    from cohabit.reactor.poller import Poller

_TIMER = ("output", "unfinished")
SILENCE_SECONDS = 0.2


class UnfinishedLines:
    """The streams with an unfinished line that is not shown. show(stream): called after the silence."""

    def __init__(self, poller: Poller, show: Callable[[Stream], None]) -> None:
        self._poller = poller
        self._show = show
        self._read_at: dict[Stream, float] = {}  # monotonic seconds of its last read

    def note(self, stream: Stream) -> None:
        """The stream was read, and its last line is unfinished."""
        now = time.monotonic()
        if not self._read_at:
            self._poller.call_at(_TIMER, now + SILENCE_SECONDS, self._due)
        self._read_at[stream] = now

    def _due(self) -> None:
        silent_since = time.monotonic() - SILENCE_SECONDS
        for stream, read_at in list(self._read_at.items()):
            if not stream.partial:
                del self._read_at[stream]
            elif read_at <= silent_since:
                del self._read_at[stream]
                self._show(stream)
        if self._read_at:
            self._poller.call_at(_TIMER, min(self._read_at.values()) + SILENCE_SECONDS, self._due)


def hide_secrets(stream: Stream, mask: Mask) -> None:
    """Mask the unfinished line. What is shown of it stays as it is."""
    if mask.texts:
        shown = stream.partial[: stream.shown]
        stream.partial = shown + mask.hide(bytes(stream.partial[stream.shown :]))


def visible_part(stream: Stream, mask: Mask) -> bytes:
    """The unfinished line, masked, as far as it may be shown: an end that may begin a secret is left out."""
    hide_secrets(stream, mask)
    line = bytes(stream.partial)
    return line[: max(len(line) - mask.begun(line), stream.shown)]
