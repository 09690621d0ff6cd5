"""One child that follows the log files of a service (tasks/follow.py), and the pipes with their lines.

Process 1 keeps both ends of the pipes. So it knows how many bytes a child that has ended had written, and from what the
child said of them (`at`), the position in each file: the next child goes on there, in the middle of a line if need be,
and no line is lost or doubled.
"""

from __future__ import annotations

from cohabit.plan.record import from_plain, to_plain
from cohabit.program import program
from cohabit.reactor import signals
from cohabit.reactor.linux import os
from cohabit.reactor.logs.sink import pipe_bytes
from cohabit.reactor.processes.children import OUTLASTING
from cohabit.reactor.side_process import SideProcess
from cohabit.reactor.signals import InheritedSignals
from cohabit.units import describe_exit, format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from cohabit.plan.model import Credentials, LogFile, Service
    from cohabit.reactor.context import Context
    from cohabit.reactor.logs.reader import Reader
    from cohabit.reactor.logs.stream import Stream

    Key: TypeAlias = tuple[int, int]
    Positions: TypeAlias = dict[Key, int]  # device and inode -> offset

KEY = OUTLASTING + "follow:"  # a child's key: this, a number and the service's name; a sweep does not wait for it
NEVER_READ = "-"  # instead of positions: at the first start, what is in the file already is not output
_FOLLOWED_MAX = 2  # files of one path, as in tasks/followed_file.py


class Pipe:
    """The pipe of one file. stream: our end of it; writer: the end that each child gets.

    positions: up to where files are in the pipe, oldest first, but for the present one; None as long as no child has
    opened them. present: the one whose bytes the pipe gets: (device, inode), its offset after N bytes of the pipe, N.
    """

    def __init__(self, file: LogFile, stream: Stream, writer: int, positions: Positions | None) -> None:
        self.file = file
        self.stream = stream
        self.writer = writer
        self.positions = positions
        self.present: tuple[Key, int, int] | None = None
        self.base = 0  # bytes that the pipe had got when the child was started

    def begin(self, count: int, key: Key, offset: int) -> None:
        """What follows the first `count` bytes of the child is this part of this file."""
        self._fold(self.base + count)
        if key[0]:
            self.present = key, offset, self.base + count

    def close_file(self, key: Key) -> None:
        """A file is not followed any more."""
        if self.present is not None and self.present[0] == key:
            self.present = None
        elif self.positions:
            self.positions.pop(key, None)

    def settle(self) -> None:
        """The child has ended, or none was started yet: the pipe has got what it has got."""
        if self.stream.fd >= 0:  # -1 at the end of the container
            self.base = self.stream.taken + pipe_bytes(self.stream.fd)
            self._fold(self.base)

    def _fold(self, written: int) -> None:
        """Note the position of the present file, of which the last byte is the one before `written`."""
        if self.present is not None:
            key, offset, begun = self.present
            positions = self.positions = self.positions or {}
            positions.pop(key, None)
            positions[key] = offset + written - begun
            if len(positions) > _FOLLOWED_MAX:
                del positions[next(iter(positions))]
            self.present = None

    def argument(self) -> str:
        """For the command line of the child."""
        if self.positions is None:
            known = NEVER_READ
        else:
            known = "".join(f"={device}:{inode}:{offset}" for (device, inode), offset in self.positions.items()) or "="
        return f"{known} {self.file.path}"


class Follower:
    """The log files of one service. number: of this object, never used again.

    on_event(follower): it is ready, has answered a request, or has ended. ready: what is added to the files is
    followed, or will be. ended: for good.
    """

    def __init__(
        self, context: Context, reader: Reader, service: Service, number: int, on_event: Callable[[Follower], None]
    ) -> None:
        self.service = service
        self.number = number
        self.ready = self.ending = self.ended = False
        self._asked = self._answered = 0  # numbers of requests
        self.pipes: list[Pipe] = []
        self._context = context
        self._reader = reader
        self._on_event = on_event
        self._unread = b""
        key = f"{KEY}{number}:{service.name}"
        given = InheritedSignals(signals.ALL, ())  # a stop request to all processes must not end it
        self.process = SideProcess(context, "follow", key, self._on_data, self._on_exit, given=given)

    # --- the child -----------------------------------------------------------------------------------

    def start(self, positions: dict[str, Positions]) -> None:
        """Open the pipes and start the child. positions: by path, where former ones were. Raises OSError: no room."""
        try:
            for file in self.service.log_files:
                stream, writer = self._reader.open_file(self.service, file.stream)
                self.pipes.append(Pipe(file, stream, writer, positions.get(file.path)))
            self._start_child()
        except OSError:
            self._close_pipes()
            raise

    def _start_child(self) -> None:
        for pipe in self.pipes:
            pipe.settle()
        arguments = [_rights(self.service.user), *(pipe.argument() for pipe in self.pipes)]
        self.process.start(program("follow", *arguments), descriptors=tuple(pipe.writer for pipe in self.pipes))
        if not self.is_complete():
            self._request()

    def _restart(self) -> None:
        try:
            self._start_child()
        except OSError:
            self.process.start_later(self._restart)

    def ask(self) -> bool:
        """Request a report when everything is read that is in the files now. False: none would come."""
        if not self.ready or self.ending:
            return False
        self._asked += 1
        self._request()
        return True

    def _request(self) -> None:
        """Send the last request; a child that is not running gets it when it is started."""
        self.process.input.write(b"read %d\n" % self._asked)

    def is_complete(self) -> bool:
        """Whether the last request is answered."""
        return self._answered == self._asked

    def end(self) -> None:
        """Read what is in the files now, and end."""
        if not self.ending:
            self.ending = True
            self.process.input.end()
            if not self.process.running:
                self._finish()

    # --- what it says --------------------------------------------------------------------------------

    def _on_data(self, data: bytes) -> None:
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            kind, _, rest = line.partition(b" ")
            if kind == b"warning":
                self._warn(rest.decode("utf-8", "surrogateescape"))
            elif kind in (b"at", b"closed"):
                file, *numbers = map(int, rest.split())
                pipe = self.pipes[file]
                if kind == b"at":
                    count, device, inode, offset = numbers
                    pipe.begin(count, (device, inode), offset)
                else:
                    pipe.close_file((numbers[0], numbers[1]))
            elif kind == b"ready":
                self.ready = True
                for pipe in self.pipes:
                    pipe.positions = pipe.positions or {}
                self._on_event(self)
            elif kind == b"read":
                self._answered = int(rest)
                self._on_event(self)

    def _warn(self, text: str) -> None:
        self._context.log("warning", self.service.name, text)

    def _on_exit(self, code: int, why: str) -> None:
        self._unread = b""
        for pipe in self.pipes:
            pipe.settle()
        if self.ending:
            self._finish()
            return
        how = f"cannot be started: {why}" if why else f"ended with {describe_exit(code)}"
        delay = self.process.start_later(self._restart)
        self._warn(
            f"the process that follows its log files {how} (the next one starts in {format_duration(delay)} and goes "
            "on there; no line is lost)"
        )

    def _finish(self) -> None:
        self.process.reset()
        self.ended = True
        self._close_pipes()
        self._on_event(self)

    def _close_pipes(self) -> None:
        """Close our write ends: the streams end when they are read."""
        for pipe in self.pipes:
            os.close(pipe.writer)
            pipe.writer = -1

    def streams(self) -> list[Stream]:
        """Its streams that can be read now: open, and their destinations accept more."""
        streams = [pipe.stream for pipe in self.pipes]
        return [stream for stream in streams if stream.fd >= 0 and not stream.blocked_by()]

    def positions(self) -> dict[str, Positions]:
        """By path, up to where its files were read, for the next Follower of the service."""
        return {pipe.file.path: pipe.positions for pipe in self.pipes if pipe.positions is not None}

    # --- re-execution --------------------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """The descriptors that must stay open across the exec, but for those of the streams."""
        return [*(pipe.writer for pipe in self.pipes if pipe.writer >= 0), *self.process.descriptors()]

    def to_plain(self) -> dict[str, Any]:
        """Plain values for restore(). The child keeps running."""
        return {
            "number": self.number,
            "service": to_plain(self.service),
            "process": self.process.to_plain(),
            "states": (self.ready, self.ending, self._unread),
            "requests": (self._asked, self._answered),
            "pipes": [
                (to_plain(pipe.file), pipe.stream.fd, pipe.writer, pipe.positions, pipe.present, pipe.base)
                for pipe in self.pipes
            ],
        }

    def restore(self, plain: dict[str, Any]) -> None:
        """Take over the state from to_plain(), after the streams."""
        self.ready, self.ending, self._unread = plain["states"]
        self._asked, self._answered = plain["requests"]
        for file, fd, writer, positions, present, base in plain["pipes"]:
            os.set_inheritable(writer, False)
            pipe = Pipe(from_plain(file), self._reader.streams[fd], writer, positions)
            pipe.present, pipe.base = present, base
            self.pipes.append(pipe)
        self.process.restore(plain["process"])
        if not self.process.running:
            self.process.start_later(self._restart)


def _rights(user: Credentials | None) -> str:
    return " ".join(map(str, (user.uid, user.gid, *user.groups))) if user is not None else "-"
