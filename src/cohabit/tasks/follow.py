"""The follower: writes what a service adds to its log files to pipes of process 1; a child of process 1.

`python -I -S PATH/follow.py USER FILE...`. It is a separate program because a regular file waits as long as its file
system takes. USER is `UID GID GROUP...`, or `-`: the user whose rights it has for files, so that it can read what the
service can read, and nothing else. Only its effective user is that one: the service can neither signal nor trace it.

Each FILE is one argument `POSITIONS PATH`, whose lines go to the descriptor 3, 4 and so on. POSITIONS is `-` at the
first start of the service; otherwise `=` and `DEVICE:INODE:OFFSET` for each file that was followed under that path, as
process 1 knows from the bytes that it got: no line is lost or doubled when a follower ends. Standard input is

    read NUMBER    answer when everything is written that is in the files now; the end means: and then end

Standard output is

    at FILE COUNT DEVICE INODE OFFSET    what follows the first COUNT bytes of the pipe is this part of this file
                                         (device 0: it is of no file)
    closed FILE DEVICE INODE             this file is not followed any more: it was read to its end
    ready          the files are open, and what is added from now on is followed
    read NUMBER    the answer
    warning TEXT   for people

All signals are blocked, since a stop request to the whole container must not end it before the services. It waits for
inotify(7). Where that is not possible, it looks at the files every second.
"""

from __future__ import annotations

import os
import select
import signal
import sys

# Isolated Python does not find our package by itself.
sys.path.append(__file__.rpartition("/cohabit/")[0])

from cohabit.tasks import inotify
from cohabit.tasks.followed_file import FollowedFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.tasks.followed_file import Position
    from cohabit.tasks.inotify import Inotify

_FIRST_PIPE = 3
_INPUT_SIZE = 4096
_DEGRADED_MS = 1000


class Follower:
    """All log files of one service."""

    def __init__(self, arguments: list[str], watcher: Inotify | None) -> None:
        self._watcher = watcher
        self._watches: set[int] = set()
        self._asked: list[bytes] = []  # numbers of requests to answer
        self._files = [
            FollowedFile(path, _FIRST_PIPE + i, i, _positions(positions), _send)
            for i, (positions, path) in enumerate(argument.split(" ", 1) for argument in arguments)
        ]

    def look(self) -> None:
        """Find out what each path leads to now, and end the watches that are not needed any more."""
        for file in self._files:
            file.look(self._watcher)
        used = {file.watch for file in self._files}
        used |= {source.watch for file in self._files for source in file.sources}
        for watch in self._watches - used if self._watcher is not None else ():
            try:
                self._watcher.remove(watch)  # type: ignore[union-attr]
            except OSError:  # it has ended with its file
                continue
        self._watches = used

    def wait(self, *, busy: bool) -> bool:
        """Wait until there is something to do. False: process 1 wants no more. busy: there is something already."""
        poll = select.poll()
        poll.register(0, select.POLLIN)
        if self._watcher is not None:
            poll.register(self._watcher.fd, select.POLLIN)
        for file in self._files:
            if file.blocked:
                poll.register(file.pipe, select.POLLOUT)
        degraded = any(file.degraded for file in self._files)
        ready = {fd for fd, _ in poll.poll(0 if busy else _DEGRADED_MS if degraded else None)}
        changed = degraded and not ready
        if self._watcher is not None and self._watcher.fd in ready:
            masks = [event.mask for event in self._watcher.read()]
            changed = changed or any(mask != inotify.MODIFY for mask in masks)
        if changed:
            self.look()
        return 0 not in ready or self._read_requests()

    def _read_requests(self) -> bool:
        data = os.read(0, _INPUT_SIZE)
        numbers = [line.removeprefix(b"read ") for line in data.splitlines()]
        if numbers:
            self._asked = numbers
            self._look_and_aim(finally_=False)
        return bool(data)

    def _look_and_aim(self, *, finally_: bool) -> None:
        self.look()
        for file in self._files:
            file.aim(finally_=finally_)

    def pump(self) -> bool:
        """Write what there is. Returns whether there is more that can be written at once."""
        if self._asked and self._is_complete():
            for number in self._asked:
                _send(b"read " + number)
            self._asked.clear()
        busy = [file.pump() for file in self._files if not file.closed]  # each of them
        return any(busy)

    def _is_complete(self) -> bool:
        complete = [file.has_reached_goal() for file in self._files]
        return all(complete)

    def finish(self) -> None:
        """Write everything that is in the files now."""
        self._look_and_aim(finally_=True)
        while not self._is_complete():
            poll = select.poll()
            blocked = [file for file in self._files if file.blocked]
            for file in blocked:
                poll.register(file.pipe, select.POLLOUT)
            poll.poll(None if blocked else 0)


def _positions(text: str) -> list[Position] | None:
    if text == "-":
        return None
    found = [tuple(map(int, one.split(":"))) for one in text.split("=")[1:] if one]
    return [(device, inode, offset) for device, inode, offset in found]


def _send(line: bytes) -> None:
    """Write a line; process 1 always reads."""
    os.write(1, line + b"\n")


def _take_rights(user: str) -> None:
    """Access files as this user. Without root's rights that is our own user already."""
    if user != "-" and os.geteuid() == 0:
        uid, gid, *groups = map(int, user.split())
        os.setgroups(groups)
        os.setegid(gid)
        os.seteuid(uid)


def main(arguments: list[str]) -> int:
    """Follow until process 1 closes our input. Returns the exit code."""
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    _take_rights(arguments[0])
    watcher = None
    try:
        watcher = inotify.Inotify()
    except OSError as error:
        _send(f"warning cannot watch its log files: {error.strerror} (looking at them every second)".encode())
    follower = Follower(arguments[1:], watcher)
    follower.look()
    _send(b"ready")
    while follower.wait(busy=follower.pump()):
        pass
    follower.finish()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BrokenPipeError:  # process 1 is gone
        sys.exit(0)
