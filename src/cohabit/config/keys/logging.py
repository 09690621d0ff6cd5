"""`logging` of a service, or of the whole in x-cohabit -> plan.model.Logging: Compose's form, or a list of such.

The driver says which options there are. An entry without a driver builds on the default's, as a container's does on the
daemon's in Docker. Drivers of Docker's are for the engine: the default stands in. What needs more than one service to
be seen is plan/outputs.py's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import UNSET

from cohabit.config.keys.logging_fields import (
    AssumedOptionKeys,
    FileOptionKeys,
    LineOptionKeys,
    LoggingKeys,
    SyslogOptionKeys,
)
from cohabit.config.values.address import SYSLOG_ADDRESS, syslog_format
from cohabit.plan.model import LOG_BUFFER_BYTES, Logging
from cohabit.plan.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cohabit.config.keys.convert import Converter
    from cohabit.config.text.node import Node

_CONTAINER = frozenset({"prefix", "json", "logfmt", "raw", "inherit"})  # they go to its own stdout and stderr
_ALONE = frozenset({"inherit", "none"})  # no line of theirs is passed on
DRIVERS = ("prefix", "json", "logfmt", "raw", "inherit", "file", "syslog", "none")
_ENGINES_FILES = frozenset({"json-file", "local"})  # what an engine does with the container's output anyway
_ENGINES = frozenset({"awslogs", "etwlogs", "fluentd", "gcplogs", "gelf", "journald", "logentries", "splunk"})
_OPTIONS: dict[str, type[LineOptionKeys]] = {"file": FileOptionKeys, "syslog": SyslogOptionKeys}
_FIELDS = {
    "max_buffer_size": "buffer_bytes",
    "path": "path",
    "format": "format",
    "max_size": "bytes_max",
    "max_file": "files_max",
    "compress": "compress",
    "syslog_address": "address",
    "syslog_facility": "facility",
    "syslog_format": "format",
    "tag": "tag",
}


class _Entry(NamedTuple):
    """An entry that was read. node: where it stands, path: how messages name it."""

    logging: Logging
    pattern: str
    node: Node
    path: str


class LoggingReader:
    """Reads all `logging` of one file. entries, pattern: the default, which stands where nothing is written."""

    def __init__(self, converter: Converter) -> None:
        self.entries: tuple[Logging, ...] = (Logging(),)
        self.pattern = ""
        self._converter = converter

    def read_default(self, node: Node | None, path: str) -> None:
        """Take what is written there for the default."""
        self.entries, self.pattern = self.read(node, path)

    def read(self, node: Node | None, path: str) -> tuple[tuple[Logging, ...], str]:
        """The entries, and the pattern that begins a record."""
        if node is None or node.value == {}:
            return self.entries, self.pattern
        made: list[_Entry] = []
        if isinstance(node.value, list):
            for i, one in enumerate(node.value):
                made += self._entry(one, f"{path}[{i}]", "")
            if not node.value:
                self._tell(node, path, "the list is empty (write driver: none for no output)")
        else:
            made += self._entry(node, path, "logging: ")
        self._check(made)
        pattern = next((entry.pattern for entry in made if entry.pattern), "")
        return tuple(entry.logging for entry in made) or self.entries, pattern

    def _tell(self, node: Node, path: str, text: str, *, key: str = "", warning: bool = False) -> None:
        """Note what is wrong with an entry, or with one of its keys."""
        inner = node.value.get(key) if isinstance(node.value, dict) else None
        where = f"{path}.{key}" if key else path
        self._converter.problem((inner or node).line, f"{where}: {text}", warning=warning)

    def _entry(self, node: Node, path: str, key: str) -> list[_Entry]:
        """What an entry comes to: one, all of the default's, or none if it is wrong. key: how messages begin it."""
        if isinstance(node.value, str):
            driver = node.value if node.value in DRIVERS else "json"
            text = f"expected a map, got {node.describe()} (write {key}{{driver: {driver}}})"
            self._tell(node, path, text)
            return []
        keys = self._converter.convert(node, LoggingKeys, path)
        written = node.value.get("driver") if isinstance(node.value, dict) else None
        if keys is UNSET or (written and written.value is not None and keys.driver is None):
            return []  # that was told
        driver = keys.driver or ""
        options = keys.options if keys.options and keys.options.value != {} else None
        if driver and driver not in DRIVERS and not self._is_engines(driver, node, path):
            return []
        if driver not in DRIVERS and (driver or not options):
            return [_Entry(one, self.pattern, node, path) for one in self.entries]
        if driver:
            base = Logging(driver, address=SYSLOG_ADDRESS if driver == "syslog" else "")
            return self._with_options(_Entry(base, "", node, path), options, LineOptionKeys)
        one = len(self.entries) == 1
        base = self.entries[0] if one else Logging()
        return self._with_options(_Entry(base, self.pattern if one else "", node, path), options, AssumedOptionKeys)

    def _is_engines(self, driver: str, node: Node, path: str) -> bool:
        """Whether a driver that is none of ours is for the engine: one of Docker's, or a plugin."""
        hint = "" if driver in _ENGINES | _ENGINES_FILES else did_you_mean(driver, DRIVERS)
        if hint:
            self._tell(node, path, f"there is no driver {driver[:40]!r}{hint}", key="driver")
        elif driver not in _ENGINES_FILES:
            used = ", ".join(one.driver for one in self.entries)
            text = f"{driver[:40]!r} is for the engine that runs the container; in here it is {used}"
            self._tell(node, path, text, key="driver", warning=True)
        return not hint

    def _with_options(self, entry: _Entry, options: Node | None, kind: type[LineOptionKeys]) -> list[_Entry]:
        """The entry with its options. kind: their type, if the driver has none of its own."""
        driver = entry.logging.driver
        keys: Any = LineOptionKeys()
        if options and driver in _ALONE:
            text = f"{driver} has no options: no line of it is passed on (remove them)"
            self._tell(entry.node, entry.path, text, key="options")
            return [entry]
        if options:
            keys = self._converter.convert(options, _OPTIONS.get(driver, kind), f"{entry.path}.options")
            if keys is UNSET:
                return []
        found = {
            field: _plain(value) for key, field in _FIELDS.items() if (value := getattr(keys, key, None)) is not None
        }
        if keys.mode:
            found["blocking"] = keys.mode == "blocking"
        logging = entry.logging.replace(**found)
        if driver == "syslog":
            logging = self._with_form(logging, keys, options or entry.node, f"{entry.path}.options")
        if logging.blocking:
            if keys.max_buffer_size is not None and options:
                text = "is for mode: non-blocking only (write that, too, or remove this line)"
                self._tell(options, f"{entry.path}.options", text, key="max-buffer-size")
            logging = logging.replace(buffer_bytes=LOG_BUFFER_BYTES)
        if driver == "file" and not logging.path:
            if not _has(options, "path"):
                text = "path is missing (write path: /var/log/name.log)"
                self._tell(options or entry.node, f"{entry.path}.options", text)
            return []
        pattern = entry.pattern if keys.multiline_pattern is None else str(keys.multiline_pattern)
        return [entry._replace(logging=logging, pattern=pattern)]

    def _with_form(self, logging: Logging, keys: Any, node: Node, path: str) -> Logging:
        """A syslog entry in the form that was asked for, or that is usual there."""
        if getattr(keys, "syslog_format", None) is None:
            return logging.replace(format=syslog_format(logging.address))
        if logging.format == "rfc3164" and not logging.address.startswith("unix"):
            text = f"rfc3164 is for unix sockets, not for {logging.address} (remove it)"
            self._tell(node, path, text, key="syslog-format")
        return logging

    def _check(self, made: Sequence[_Entry]) -> None:
        """Whether the entries fit together."""
        first: dict[str, _Entry] = {}
        for entry in made:
            one = entry.logging
            if one.driver in _ALONE and len(made) > 1:
                self._tell(
                    entry.node, entry.path, f"{one.driver} stands alone (remove it, or the other entries)", key="driver"
                )
                return
            kind = "" if one.driver in _CONTAINER else f"{one.driver} {one.path or one.address}"
            other = first.setdefault(kind, entry)
            if other is not entry and not kind:
                text = f"{other.logging.driver} goes to the container's output already (remove one of them)"
                self._tell(entry.node, entry.path, text, key="driver")
            elif other is not entry and (one.driver == "file" or other.logging == one):
                self._tell(entry.node, entry.path, f"{one.path or one.address} is there twice (remove one of them)")
        patterns = [entry for entry in made if entry.pattern]
        for entry in patterns[1:]:
            if entry.pattern != patterns[0].pattern:
                text = f"its multiline-pattern is not that of {patterns[0].path} (a service has one: remove this)"
                self._tell(entry.node, f"{entry.path}.options", text)


def _plain(value: str | int) -> str | int:
    """A value without the type that it was read with: the Plan is marshalled."""
    if isinstance(value, bool):
        return value
    return int(value) if isinstance(value, int) else str(value)


def _has(node: Node | None, key: str) -> bool:
    """Whether something is written there."""
    inner = node.value.get(key) if node and isinstance(node.value, dict) else None
    return inner is not None and inner.value is not None
