"""All destinations. Each is opened once, however many services write to it.

An entry of `logging` becomes a target here: a destination, a format, and a buffer size or blocking mode (target.py).
"""

from __future__ import annotations

import time

from cohabit.plan.model import COLOUR, MAIN_LOG, NAME, OWN_NAME, PREFIX_COLOURS, TIME, Logging
from cohabit.reactor.linux import environment
from cohabit.reactor.logs.destination import Destination
from cohabit.reactor.logs.file_writers import FileWriters
from cohabit.reactor.logs.formats import Origin, Prefix, Raw
from cohabit.reactor.logs.json_format import Json
from cohabit.reactor.logs.logfmt import Logfmt
from cohabit.reactor.logs.main_log_format import MainLog
from cohabit.reactor.logs.syslog import SyslogSink
from cohabit.reactor.logs.syslog_format import Syslog
from cohabit.reactor.logs.target import Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from cohabit.reactor.context import Context
    from cohabit.reactor.logs.file import FileSink
    from cohabit.reactor.logs.formats import Format
    from cohabit.reactor.logs.sink import Sink

_OWN_BUFFER_BYTES_MIN = 262_144  # own messages never wait; beyond their buffer they are dropped
_FORMATS = {"json": Json, "logfmt": Logfmt}
_CONTAINER_DRIVERS = frozenset(
    {"prefix", "json", "logfmt", "raw", MAIN_LOG}
)  # they write to the container's own output
_NO_TARGET = frozenset({"none", "inherit"})


class Destinations:
    """All destinations: the container's stdout and stderr, files and syslog servers.

    stdout, stderr: sinks; the same object twice if both lead to the same file.
    """

    def __init__(self, context: Context, stdout: Sink, stderr: Sink) -> None:
        poller = context.poller
        out = Destination(poller, stdout, "stdout")
        self.containers = {"stdout": out, "stderr": out if stderr is stdout else Destination(poller, stderr, "stderr")}
        self._context = context
        self._files: dict[str, tuple[Destination, FileSink]] = {}
        self.writers = FileWriters(context, self._resume_file)
        self._servers: dict[str, tuple[Destination, SyslogSink]] = {}
        self._indexes: dict[str, int] = {}
        self._width = len(OWN_NAME)
        both = {"stdout": stdout, "stderr": stderr}
        variables = environment()
        colours = not variables.get("NO_COLOR") and variables.get("TERM") != "dumb"  # no-color.org
        self._coloured = {self.containers[stream] for stream, sink in both.items() if sink.is_terminal and colours}
        self._spliceable = {stream for stream, sink in both.items() if sink.can_splice}

    def name_services(self, names: list[str]) -> None:
        """Set all service names, so that prefixes have one width and colours stay the same."""
        self._width = max(len(name) for name in (*names, OWN_NAME))
        self._indexes = {name: number for number, name in enumerate(names)}

    @property
    def names(self) -> list[str]:
        """The names of the services, in their order."""
        return list(self._indexes)

    def can_splice(self, stream: str) -> bool:
        """Whether splice(2) into the container's stdout or stderr never waits. stream: "stdout" or "stderr"."""
        return stream in self._spliceable

    def all(self) -> list[Destination]:
        """All destinations, each once."""
        return [*dict.fromkeys(self.containers.values()), *(destination for destination, _ in self._opened())]

    def _opened(self) -> list[tuple[Destination, FileSink | SyslogSink]]:
        return [*self._files.values(), *self._servers.values()]

    def tasks(self) -> dict[str, Callable[[int, str], None]]:
        """The running side programs: key -> what must be called when it ends."""
        servers = {key: ended for _, sink in self._servers.values() for key, ended in sink.tasks()}
        return {**servers, **self.writers.tasks()}

    # --- targets -------------------------------------------------------------------------------------

    def targets(self, entries: Iterable[Logging], origin: Origin) -> tuple[Target, ...]:
        """The targets of one stream, one for each entry that is written to."""
        return tuple(self._target(entry, origin) for entry in entries if entry.driver not in _NO_TARGET)

    def own(self, entries: Iterable[Logging]) -> tuple[Target, ...]:
        """The targets of own messages: those of a service named `cohabit`, and always the container's stderr."""
        origin = Origin(OWN_NAME, "stderr")
        wanted = [
            entry.replace(blocking=False, buffer_bytes=max(_OWN_BUFFER_BYTES_MIN, entry.buffer_bytes))
            for entry in entries
            if entry.driver not in _NO_TARGET and entry.driver != "raw"
        ]
        if not any(entry.driver in _CONTAINER_DRIVERS for entry in wanted):
            before = next((entry.before for entry in entries), Logging.before)
            wanted.append(Logging("prefix", blocking=False, buffer_bytes=_OWN_BUFFER_BYTES_MIN, before=before))
        return self.targets(wanted, origin)

    def _target(self, entry: Logging, origin: Origin) -> Target:
        destination = self._destination(entry, origin.stream)
        coloured = destination in self._coloured and COLOUR in entry.before
        form = self._format(entry, origin, coloured=coloured)
        own = self._format(entry, Origin(OWN_NAME, origin.stream), coloured=coloured)
        bytes_max = None if entry.blocking else entry.buffer_bytes
        return Target(form, destination, bytes_max, _notice(own, f"{origin.name}: "))

    def _format(self, entry: Logging, origin: Origin, *, coloured: bool) -> Format:
        kind = entry.format if entry.driver == "file" else entry.driver
        if kind == "syslog":
            return Syslog(origin, entry.facility, entry.tag, local=entry.format == "rfc3164")
        if kind in _FORMATS:
            return _FORMATS[kind](origin)
        if kind == "raw":
            return Raw()
        if kind == MAIN_LOG:
            return MainLog()
        label = self._label(origin.name, coloured=coloured) if NAME in entry.before else b""
        return Prefix(label, timestamps=TIME in entry.before)

    def _label(self, name: str, *, coloured: bool) -> bytes:
        label = name.ljust(self._width).encode() + b" | "
        if not coloured:
            return label
        colour = PREFIX_COLOURS[self._indexes.get(name, -1) % len(PREFIX_COLOURS)]
        return b"\x1b[" + colour.encode() + b"m" + label + b"\x1b[0m"

    def _destination(self, entry: Logging, stream: str) -> Destination:
        if entry.driver == "file":
            destination, sink = self._file(entry.path)
            sink.set_rotation(entry.bytes_max, entry.files_max, compress=entry.compress)
            return destination
        if entry.driver == "syslog":
            return self._server(entry.address)
        return self.containers[entry.output or stream]

    def _file(self, path: str) -> tuple[Destination, FileSink]:
        found = self._files.get(path)
        if found is None:
            sink = self.writers.sink(path)
            found = self._files[path] = (Destination(self._context.poller, sink, path), sink)
        found[1].unused = False
        return found

    def _resume_file(self, sink: FileSink) -> None:
        """The log writer accepts more, or has written everything of a file that is not used any more."""
        destination = self._files[sink.path][0]
        destination.resume()
        if _is_done(destination, sink):
            sink.close()
            del self._files[sink.path]

    def _server(self, address: str) -> Destination:
        found = self._servers.get(address)
        if found is None:

            def lookup_ended() -> None:
                destination.watch()

            sink = SyslogSink(address, self._context, lookup_ended)
            destination = Destination(self._context.poller, sink, address)
            found = self._servers[address] = (destination, sink)
        return found[0]

    def close_unused(self, used: set[Destination]) -> None:
        """Close files and servers that nothing writes to any more and that have no pending output. used: the others.

        A file is closed as soon as everything is confirmed.
        """
        for path, (destination, file) in list(self._files.items()):
            file.unused = destination not in used
            if _is_done(destination, file):
                file.close()
                del self._files[path]
        unused = [sink for one, sink in self._servers.values() if one not in used and not one.has_pending]
        for sink in unused:
            sink.close()
        self._servers = {address: pair for address, pair in self._servers.items() if pair[1] not in unused}

    # --- re-execution --------------------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """Descriptors that must stay open across the exec."""
        return [*self.writers.descriptors(), *(fd for _, sink in self._opened() for fd in sink.descriptors())]

    def to_plain(self, saved_elsewhere: set[Target]) -> dict[str, Any]:
        """Pending output by destination, without what the given targets save themselves.

        containers, files, servers: by name the sink's state, and what targets buffer for it, as bytes. writers: by
        mount point.
        """
        containers = {one: stream for stream, one in reversed(self.containers.items())}  # unique
        return {
            "containers": {stream: _to_plain(one, saved_elsewhere) for one, stream in containers.items()},
            "writers": self.writers.to_plain(),
            "file_count": self.writers.count,
            "files": {path: _to_plain(one, saved_elsewhere) for path, (one, _) in self._files.items()},
            "servers": {address: _to_plain(one, saved_elsewhere) for address, (one, _) in self._servers.items()},
        }

    def restore(self, plain: dict[str, Any]) -> None:
        """Take over the state from to_plain(), after the streams, which set the rotation of files."""
        for name, one in plain["containers"].items():
            _restore(self.containers[name], one)
        self.writers.restore(plain["writers"])
        self.writers.count = max(self.writers.count, plain["file_count"])
        for path, (state, buffered) in plain["files"].items():
            _, sink = self._file(path)
            self.writers.restore_sink(sink, state)
            sink.write(buffered)
        for address, one in plain["servers"].items():
            _restore(self._server(address), one)


def _is_done(destination: Destination, sink: FileSink) -> bool:
    """Whether a file is not used any more, and everything is written."""
    return sink.unused and not destination.has_pending and not sink.pending_bytes


def _notice(form: Format, beginning: str) -> Callable[[str], bytes | memoryview]:
    return lambda text: form.message("warning", f"{beginning}{text}".encode(), time.time_ns())


def _to_plain(destination: Destination, saved_elsewhere: set[Target]) -> tuple[Any, bytes]:
    return destination.sink.to_plain(), destination.buffered(saved_elsewhere)


def _restore(destination: Destination, plain: tuple[Any, bytes]) -> None:
    sink, buffered = plain
    destination.sink.restore(sink)
    if buffered:
        destination.sink.write(buffered)
