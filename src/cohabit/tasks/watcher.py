"""The watcher: reports changes of files, for `up --watch`; a child of process 1.

`python -I -S PATH/watcher.py`. It is a separate program because it walks through directories, which may wait for a
disk, and matches patterns of users.

Standard input begins with eight digits, the size of what follows: (SINCE, RULES), as marshal. SINCE: what was modified
after this time (Unix seconds) has changed. RULES: a list of (GROUP, PATH, IGNORE, INCLUDE), see watch_rules.py.
Standard output is whole lines:

    changed GROUP NUMBER PATH   files of a group have changed: how many, and the first of them, with escapes
    watching NUMBER             everything is watched, in so many directories
    warning TEXT                for people

Changes that follow each other within half a second are one report, as in Compose; if they do not stop, there is one
every ten seconds. When standard input closes, the watcher ends.
"""

from __future__ import annotations

import marshal
import os
import select
import sys
import time

# Isolated Python does not find our package by itself.
sys.path.append(__file__.rpartition("/cohabit/")[0])

from cohabit.tasks.inotify import Inotify
from cohabit.tasks.watch_rules import Rule
from cohabit.tasks.watch_tree import Tree, printable, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

QUIET_SECONDS = 0.5  # as in Compose
LONGEST_SECONDS = 10.0
_COUNTED_MAX = 1000  # paths of one report
SIZE_DIGITS = 8


class Changes:
    """The changes that are not reported yet, by group. `now` is in monotonic seconds."""

    def __init__(self) -> None:
        self._paths: dict[int, dict[str, None]] = {}
        self._times: dict[int, tuple[float, float]] = {}  # of the first and of the last change

    def add(self, group: int, path: str, now: float) -> None:
        """A file of a group has changed."""
        paths = self._paths.setdefault(group, {})
        if len(paths) < _COUNTED_MAX:
            paths[path] = None
        self._times[group] = (self._times.get(group, (now, now))[0], now)

    @property
    def due(self) -> float | None:
        """When the next report is due; None without changes."""
        return min(map(_due, self._times.values()), default=None)

    def take(self, now: float) -> Iterator[tuple[int, list[str]]]:
        """The groups whose report is due, with their paths."""
        for group in [group for group, times in self._times.items() if _due(times) <= now]:
            del self._times[group]
            yield group, [*self._paths.pop(group)]


def _due(times: tuple[float, float]) -> float:
    first, last = times
    return min(last + QUIET_SECONDS, first + LONGEST_SECONDS)


def main() -> int:
    """Report changes until process 1 ends."""
    since, written = _request()
    changes = Changes()
    rules = [Rule(*rule) for rule in written]
    try:
        watches = Inotify()
    except OSError as error:
        _write(f"warning cannot watch files: {error.strerror}")
        return 1
    tree = Tree(
        watches,
        rules,
        lambda rule, path: changes.add(rule.group, path, time.monotonic()),
        lambda text: _write(f"warning {text}"),
    )
    tree.begin(since)
    _write(f"watching {len(tree)}")
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(watches.fd, select.POLLIN)
    while True:
        due = changes.due
        ready = {fd for fd, _ in poll.poll(None if due is None else max(0.0, due - time.monotonic()) * 1000)}
        if 0 in ready:
            return 0
        for event in watches.read():
            tree.handle(event)
        for group, paths in changes.take(time.monotonic()):
            _write(f"changed {group} {len(paths)} {shown(paths[0])}")


def _request() -> tuple[float, list[tuple[int, str, tuple[str, ...], tuple[str, ...]]]]:
    request: tuple[float, list[tuple[int, str, tuple[str, ...], tuple[str, ...]]]] = marshal.loads(  # noqa: S302
        _read(int(_read(SIZE_DIGITS)))  # from process 1
    )
    return request


def _read(size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = os.read(0, size - len(data))
        if not more:  # process 1 is gone
            sys.exit(0)
        data += more
    return data


def _write(line: str) -> None:
    """Write a line. What users name as they like does not make another line of it."""
    os.write(1, printable(line).encode("utf-8", "replace") + b"\n")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:  # process 1 is gone
        sys.exit(0)
