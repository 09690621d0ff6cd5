"""The last word: why the container ended, for people and for Kubernetes.

Kubernetes shows what it finds in /dev/termination-log (terminationMessagePath) as the reason of a container's
end, at most 4096 bytes of it. Nobody else makes that file, so where it is not there, nothing is written.
"""

from __future__ import annotations

from cohabit.reactor.linux import os

TERMINATION_LOG = "/dev/termination-log"
_SIZE_MAX = 4096


def last_word(word: str, code: int, culprit: str, tail: list[bytes]) -> str:
    """The text: one line with the reason, then the culprit's last lines."""
    lines = [f"{word}: exit code {code}"]
    if culprit and tail:
        lines.append(f"last output of {culprit}:")
        lines += [f"  {line.decode('utf-8', 'replace')}" for line in tail[-10:]]
    return "\n".join(lines)


def write_termination_log(text: str) -> None:
    """Leave the text in /dev/termination-log if there is one and it takes it."""
    data = text.encode("utf-8", "replace")[:_SIZE_MAX]
    try:
        fd = os.open(TERMINATION_LOG, os.O_WRONLY | os.O_TRUNC | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.write(fd, data)
    except OSError:
        pass
    finally:
        os.close(fd)
