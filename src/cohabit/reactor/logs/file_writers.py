"""The children that write log files: one for each file system with a `file` driver (log_writer.py).

A write to a regular file waits as long as its file system takes, so process 1 does not do it (docs/adr/0014). A child
that hangs stops the files of its own file system, and nothing else. Which file system a path is on is looked up in
/proc/self/mountinfo, because stat(2) could hang as well. A link on the way may lead to another one; then the two share
a child.
"""

from __future__ import annotations

from cohabit.reactor.linux import os
from cohabit.reactor.logs.file import FileSink
from cohabit.reactor.logs.log_writer import LogWriter
from cohabit.reactor.processes import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cohabit.reactor.context import Context, Ended


class FileWriters:
    """All children, by mount point. resume(sink): called when a sink can write again, or may be closed.

    count: of the files so far; their numbers are never used again, as a child may still know them.
    """

    def __init__(self, context: Context, resume: Callable[[FileSink], None]) -> None:
        self._context = context
        self._resume = resume
        self._writers: dict[str, LogWriter] = {}
        self.count = 0

    def sink(self, path: str) -> FileSink:
        """Return a new sink for a path."""
        self.count += 1
        writer = self._writer(mount_point(path))
        sink = writer.files[self.count] = FileSink(path, self.count, writer, self._sinks)
        return sink

    def _sinks(self) -> list[FileSink]:
        files = (file for writer in self._writers.values() for file in writer.files.values())
        return [file for file in files if isinstance(file, FileSink)]

    def _writer(self, where: str) -> LogWriter:
        writer = self._writers.get(where)
        if writer is None:
            writer = self._writers[where] = LogWriter(self._context, where, self._resume)
        return writer

    def tasks(self) -> dict[str, Ended]:
        """The running children: key -> what must be called when it ends."""
        return dict(one.task() for one in self._writers.values() if one.channel is not None)

    def descriptors(self) -> list[int]:
        """The descriptors that must stay open across the exec, without those of the sinks."""
        return [fd for one in self._writers.values() if one.channel for fd in one.channel.descriptors()]

    def to_plain(self) -> dict[str, Any]:
        """The state by mount point, without the sinks."""
        return {where: one.to_plain() for where, one in self._writers.items()}

    def restore(self, plain: dict[str, Any]) -> None:
        """Take over the state from to_plain(), before the sinks, whose numbers are not valid before restore_sink()."""
        for writer in self._writers.values():
            writer.files.clear()
        for where, one in plain.items():
            self._writer(where).restore(one)

    def restore_sink(self, sink: FileSink, plain: dict[str, Any]) -> None:
        """Give a sink its state, with the number under which the child knows it."""
        self.count = max(self.count, plain["number"])
        sink.writer = self._writer(plain["writer"])
        sink.writer.files[plain["number"]] = sink
        sink.restore(plain)

    def stop(self, *, end: bool) -> None:
        """The container is stopping: compress nothing more.

        end: the children end when they have written what they have, and start again for the container's last lines.
        """
        for writer in self._writers.values():
            writer.stop(end=end)


def mount_point(path: str) -> str:
    """Return the mount point that a path is below, without examining the path itself; "/" if that is not known."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            points = [proc.unescape(line.split(" ")[4]) for line in file]
    except (OSError, IndexError):
        return "/"
    absolute = path if path.startswith("/") else f"{os.getcwd()}/{path}"
    above = [point for point in points if absolute.startswith(point.rstrip("/") + "/")]
    return max(above, key=len, default="/")
