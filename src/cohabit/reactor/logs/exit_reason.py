"""The last word: why the container ended, for people and for Kubernetes.

Kubernetes shows what it finds in /dev/termination-log (terminationMessagePath) as the reason of a container's
end, at most 4096 bytes of it. Nobody else makes that file, so where it is not there, nothing is written.
"""

from __future__ import annotations

from cohabit import paths
from cohabit.reactor.linux import os

TERMINATION_LOG = "/dev/termination-log"
LINES_MAX = 10
_SIZE_MAX = 4096
_BEFORE_LINE = "\n  "


def last_word(word: str, code: int, culprit: str, tail: list[bytes]) -> str:
    """The text: one line with the reason, then the culprit's last lines, as many as there is room for at its end."""
    head = f"{word}: exit code {code}"
    if not culprit or not tail:
        return head
    head += f"\nlast output of {culprit}:"
    room = _SIZE_MAX - len(head.encode("utf-8", "replace"))
    lines: list[bytes] = []
    for line in reversed(tail[-LINES_MAX:]):
        shown = _as_seen(line)
        room -= len(_BEFORE_LINE) + len(shown)
        if room < 0:
            if not lines:
                lines.append(shown[-room:])
            break
        lines.append(shown)
    return head + "".join(_BEFORE_LINE + line.decode("utf-8", "replace") for line in reversed(lines))


def _as_seen(line: bytes) -> bytes:
    """What a terminal shows in the end of a line that overwrote itself (a progress bar)."""
    return line.rstrip(b"\r").rpartition(b"\r")[2]


def write_termination_log(text: str) -> None:
    """Leave the text in /dev/termination-log if there is one and it takes it."""
    data = text.encode("utf-8", "replace")[:_SIZE_MAX]
    try:
        with paths.locate(TERMINATION_LOG) as place:
            found = place.look()
            if found is None or (not place.private and place.why_not_written(found)):
                return
            fd = place.open(os.O_WRONLY | os.O_TRUNC)
    except OSError:
        return
    try:
        os.write(fd, data)
    except OSError:
        pass
    finally:
        os.close(fd)
