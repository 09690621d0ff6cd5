"""The exit reason: why the container ended, for people and for Kubernetes.

Kubernetes shows the contents of /dev/termination-log (terminationMessagePath) as the reason of a container's end, at
most 4096 bytes. Only Kubernetes creates that file; where it does not exist, nothing is written.
"""

from __future__ import annotations

from cohabit import paths
from cohabit.reactor.linux import os

TERMINATION_LOG = "/dev/termination-log"
LINES_MAX = 10
_SIZE_MAX = 4096
_BEFORE_LINE = "\n  "


def exit_reason_text(reason: str, code: int, cause: str, last_lines: list[bytes]) -> str:
    """One line with the reason and the exit code, then the last lines of the service that caused it.

    cause: the service's name, "" for none. Of last_lines, the last ten at most, as far as 4096 bytes allow.
    """
    head = f"{reason}: exit code {code}"
    if not cause or not last_lines:
        return head
    head += f"\nlast output of {cause}:"
    room = _SIZE_MAX - len(head.encode("utf-8", "replace"))
    lines: list[bytes] = []
    for line in reversed(last_lines[-LINES_MAX:]):
        shown = _visible_part(line)
        room -= len(_BEFORE_LINE) + len(shown)
        if room < 0:
            if not lines:
                lines.append(shown[-room:])
            break
        lines.append(shown)
    return head + "".join(_BEFORE_LINE + line.decode("utf-8", "replace") for line in reversed(lines))


def _visible_part(line: bytes) -> bytes:
    """What a terminal shows of a line that overwrites itself (a progress bar)."""
    return line.rstrip(b"\r").rpartition(b"\r")[2]


def write_termination_log(text: str) -> None:
    """Write the text to /dev/termination-log, if it exists and can be written safely. Errors are ignored."""
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
