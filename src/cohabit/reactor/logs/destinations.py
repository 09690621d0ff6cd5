"""Every place that output goes to, each opened once however many services write there, and the ways to it.

Here an entry of `logging` becomes a target: which sink, in which format, and whether the service waits.
"""

from __future__ import annotations

import time

from cohabit.plan.model import Logging
from cohabit.reactor.logs.file import FileSink
from cohabit.reactor.logs.formats import Origin, Prefix, Raw
from cohabit.reactor.logs.json_format import Json
from cohabit.reactor.logs.logfmt import Logfmt
from cohabit.reactor.logs.recent_lines import OURSELVES
from cohabit.reactor.logs.syslog import SyslogSink
from cohabit.reactor.logs.syslog_format import Syslog
from cohabit.reactor.logs.target import Destination, Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from cohabit.reactor.logs.formats import Format
    from cohabit.reactor.logs.sink import Sink
    from cohabit.reactor.processes.child import SpawnSpec

    Launch = Callable[[str, SpawnSpec, Callable[[int, str], None]], None]

_COLOURS = (b"36", b"33", b"32", b"35", b"34", b"96", b"93", b"92", b"95", b"94")
_OWN_BYTES_MAX = 262_144  # our own messages never wait: more than that is dropped while nobody reads
_FORMATS = {"json": Json, "logfmt": Logfmt}
_CONTAINERS = frozenset({"prefix", "json", "logfmt", "raw"})  # drivers that write to the container's own output
_NOWHERE = frozenset({"none", "inherit"})


class Destinations:
    """All of them. stdout, stderr: the container's own; the same object twice where they are one.

    launch: Children's; trouble(text): a warning for people.
    """

    def __init__(self, stdout: Sink, stderr: Sink, *, trouble: Callable[[str], None]) -> None:
        out = Destination(stdout)
        self.containers = {"stdout": out, "stderr": out if stderr is stdout else Destination(stderr)}
        self.launch: Launch
        self._trouble = trouble
        self._files: dict[str, tuple[Destination, FileSink]] = {}
        self._servers: dict[str, tuple[Destination, SyslogSink]] = {}
        self._numbers: dict[str, int] = {}
        self._width = len(OURSELVES)
        both = {"stdout": stdout, "stderr": stderr}
        self._terminals = {self.containers[stream] for stream, sink in both.items() if sink.is_terminal}
        self._splicing = {stream for stream, sink in both.items() if sink.takes_splices}

    def name_services(self, names: list[str]) -> None:
        """All names at once, so that prefixes line up and colours stay."""
        self._width = max(len(name) for name in (*names, OURSELVES))
        self._numbers = {name: number for number, name in enumerate(names)}

    @property
    def names(self) -> list[str]:
        """Those of the services, in their order."""
        return list(self._numbers)

    def takes_splices(self, stream: str) -> bool:
        """Whether splice(2) into the container's stdout or stderr never waits."""
        return stream in self._splicing

    def all(self) -> list[Destination]:
        """Each once."""
        return [*dict.fromkeys(self.containers.values()), *(destination for destination, _ in self._others())]

    def _others(self) -> list[tuple[Destination, FileSink | SyslogSink]]:
        return [*self._files.values(), *self._servers.values()]

    def tasks(self) -> dict[str, Callable[[int, str], None]]:
        """The side programs that are ours, with whom their ends are told."""
        return {key: ended for _, sink in self._others() for key, ended in sink.tasks()}

    # --- targets -------------------------------------------------------------------------------------

    def targets(self, entries: Iterable[Logging], origin: Origin) -> tuple[Target, ...]:
        """The ways of one stream."""
        return tuple(self._target(entry, origin) for entry in entries if entry.driver not in _NOWHERE)

    def own(self, entries: Iterable[Logging]) -> tuple[Target, ...]:
        """The ways of our own messages: as those of a service `cohabit`, and to the container's stderr in any case."""
        origin = Origin(OURSELVES, "stderr")
        wanted = [
            entry.replace(blocking=False, buffer_bytes=max(_OWN_BYTES_MAX, entry.buffer_bytes))
            for entry in entries
            if entry.driver not in _NOWHERE and entry.driver != "raw"
        ]
        if not any(entry.driver in _CONTAINERS for entry in wanted):
            wanted.append(Logging("prefix", blocking=False, buffer_bytes=_OWN_BYTES_MAX))
        return self.targets(wanted, origin)

    def _target(self, entry: Logging, origin: Origin) -> Target:
        destination = self._destination(entry, origin.stream)
        terminal = destination in self._terminals
        form = self._format(entry, origin, terminal=terminal)
        ours = self._format(entry, Origin(OURSELVES, origin.stream), terminal=terminal)

        bytes_max = None if entry.blocking else entry.buffer_bytes
        return Target(form, destination, bytes_max, _notice(ours, f"{origin.name}: "))

    def _format(self, entry: Logging, origin: Origin, *, terminal: bool) -> Format:
        kind = entry.format if entry.driver == "file" else entry.driver
        if kind == "syslog":
            return Syslog(origin, entry.facility, entry.tag, local=entry.format == "rfc3164")
        if kind in _FORMATS:
            return _FORMATS[kind](origin)
        return Prefix(self._label(origin.name, terminal=terminal)) if kind == "prefix" else Raw()

    def _label(self, name: str, *, terminal: bool) -> bytes:
        label = name.ljust(self._width).encode() + b" | "
        if not terminal:
            return label
        colour = _COLOURS[self._numbers.get(name, -1) % len(_COLOURS)]
        return b"\x1b[" + colour + b"m" + label + b"\x1b[0m"

    def _destination(self, entry: Logging, stream: str) -> Destination:
        if entry.driver == "file":
            destination, sink = self._file(entry.path)
            sink.set_rotation(entry.bytes_max, entry.files_max, compress=entry.compress)
            return destination
        if entry.driver == "syslog":
            return self._server(entry.address)
        return self.containers[stream]

    def _file(self, path: str) -> tuple[Destination, FileSink]:
        found = self._files.get(path)
        if found is None:
            sink = FileSink(path, launch=self.launch, on_trouble=self._trouble)
            found = self._files[path] = (Destination(sink), sink)
        return found

    def _server(self, address: str) -> Destination:
        found = self._servers.get(address)
        if found is None:
            sink = SyslogSink(address, launch=self.launch, on_trouble=self._trouble)
            found = self._servers[address] = (Destination(sink), sink)
        return found[0]

    def close_unused(self, used: set[Destination]) -> None:
        """Let go of files and servers that nobody writes to any more and that have taken all. used: the others."""
        unused = [sink for one, sink in self._others() if one not in used and not one.busy]
        for sink in unused:
            sink.close()
        self._files = {path: pair for path, pair in self._files.items() if pair[1] not in unused}
        self._servers = {address: pair for address, pair in self._servers.items() if pair[1] not in unused}

    # --- crossing a re-execution ---------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """What must stay open across the exec."""
        return [fd for _, sink in self._others() for fd in sink.descriptors()]

    def stop_tasks(self) -> None:
        """Nothing is compressed any more: everybody has to go."""
        for _, sink in self._files.values():
            sink.stop_compressing()

    def to_plain(self, elsewhere: set[Target]) -> dict[str, Any]:
        """What was not written yet, by destination; without what these targets keep.

        containers, files, servers: by name what the sink wrote down, and what else is kept for it, as bytes.
        """
        containers = {one: stream for stream, one in reversed(self.containers.items())}  # each once
        return {
            "containers": {stream: _to_plain(one, elsewhere) for one, stream in containers.items()},
            "files": {path: _to_plain(one, elsewhere) for path, (one, _) in self._files.items()},
            "servers": {address: _to_plain(one, elsewhere) for address, (one, _) in self._servers.items()},
        }

    def restore(self, plain: dict[str, Any]) -> None:
        """Take over where to_plain was called, after the streams: they know how their files are rotated."""
        for name, one in plain["containers"].items():
            _restore(self.containers[name], one)
        for path, one in plain["files"].items():
            _restore(self._file(path)[0], one)
        for address, one in plain["servers"].items():
            _restore(self._server(address), one)


def _notice(form: Format, begin: str) -> Callable[[str], bytes | memoryview]:
    """Words of ours about lost lines, in a form. begin: what they begin with."""
    return lambda text: form.message("warning", f"{begin}{text}".encode(), time.time_ns())


def _to_plain(destination: Destination, elsewhere: set[Target]) -> tuple[Any, bytes]:
    return destination.sink.to_plain(), destination.kept(elsewhere)


def _restore(destination: Destination, plain: tuple[Any, bytes]) -> None:
    sink, kept = plain
    destination.sink.restore(sink)
    if kept:
        destination.sink.write(kept)
