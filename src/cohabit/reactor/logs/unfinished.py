"""Unfinished lines: which stream has written the beginning of a line and then nothing for 200 ms.

A prompt, a progress bar or a message without a newline is shown then. One timer serves all streams. It exists only
while there is an unfinished line. A stream that writes on does not move it: the timer looks at all when it is due.
"""

from __future__ import annotations

import select
import time

from cohabit.reactor.poller import is_ready

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.reactor.logs.mask import Mask
    from cohabit.reactor.logs.stream import Stream
    from cohabit.reactor.poller import Poller

_TIMER = ("output", "unfinished")
SILENCE_SECONDS = 0.2
_CHARACTER_MAX = 4  # bytes of a character: utf-8(7)
_CONTINUATION = range(0x80, 0xC0)
_LEADS = (0xC0, 0xE0, 0xF0)  # the first byte of a character of more than one, two and three bytes is at least this
_ESCAPE_MAX = 32  # a longer sequence is not recognised
_PARAMETERS = bytes(range(0x20, 0x40))  # between ESC [ and the final byte: ECMA-48


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
            elif stream.held_by is not None:
                del self._read_at[stream]  # it is not read: what follows may be there (reader.py notes it again)
            elif read_at <= silent_since and _has_more(stream):
                self._read_at[stream] = time.monotonic()
            elif read_at <= silent_since:
                del self._read_at[stream]
                self._show(stream)
        if self._read_at:
            self._poller.call_at(_TIMER, min(self._read_at.values()) + SILENCE_SECONDS, self._due)


def _has_more(stream: Stream) -> bool:
    """Whether something is there to be read: then we were slow, and not the service."""
    if stream.fd < 0:
        return False
    poll = select.poll()
    poll.register(stream.fd, select.POLLIN)
    return is_ready(poll, 0.0) is not False


def hide_secrets(stream: Stream, mask: Mask) -> int:
    """Mask the unfinished line, but not an end that may begin a secret. What is shown of it stays as it is.

    Returns the length of the masked part.
    """
    if not mask.texts:
        return len(stream.partial)
    shown, rest = stream.partial[: stream.shown], bytes(stream.partial[stream.shown :])
    end = mask.settled(rest)
    masked = shown + mask.hide(rest[:end])
    stream.partial = masked + rest[end:]
    return len(masked)


def visible_part(stream: Stream, mask: Mask) -> bytes:
    """The unfinished line, masked, as far as it may be shown.

    An end that may begin a secret is left out, and so is a part of a character or of an escape sequence: something else
    may be written before the rest comes.
    """
    end = hide_secrets(stream, mask)
    line = bytes(stream.partial[:end])
    return line[: max(end - _begun_character(line), stream.shown)]


def _begun_character(line: bytes) -> int:
    """How many bytes at the end are the beginning of a character in UTF-8, or of an escape sequence; 0 for none."""
    for size in range(1, min(len(line), _CHARACTER_MAX - 1) + 1):
        byte = line[-size]
        if byte in _CONTINUATION:
            continue
        if byte >= _LEADS[size - 1]:
            return size
        break
    start = line.rfind(b"\x1b", -_ESCAPE_MAX)
    if start < 0:
        return 0
    sequence = line[start + 1 :]
    begun = not sequence or (sequence[:1] == b"[" and not sequence[1:].strip(_PARAMETERS))
    return len(line) - start if begun else 0
