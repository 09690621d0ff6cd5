"""`logging` of a service or of x-cohabit -> plan.model.Logging: Compose's form, or a list of it.

The driver determines the options. An entry without a driver is based on the default entry, as a container's log
configuration is based on the daemon's in Docker. For Docker's own drivers the default is used. plan/outputs.py checks
conflicts between services.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from cohabit.config.keys.convert import UNSET
from cohabit.config.keys.logging_fields import (
    TLS,
    AssumedOptionKeys,
    FileOptionKeys,
    LineOptionKeys,
    LoggingKeys,
    SyslogOptionKeys,
)
from cohabit.config.values.address import SYSLOG_ADDRESS, syslog_format
from cohabit.nearest import did_you_mean
from cohabit.plan.model import LOG_BUFFER_BYTES, Logging

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cohabit.config.keys.convert import Converter
    from cohabit.plan.node import Node

_CONTAINER_OUTPUT = frozenset(
    {"prefix", "json", "logfmt", "raw", "inherit"}
)  # these write to the container's stdout and stderr
_WITHOUT_LINES = frozenset({"inherit", "none"})  # cohabit does not read the output
DRIVERS = ("prefix", "json", "logfmt", "raw", "inherit", "file", "syslog", "none")
_ENGINE_FILE_DRIVERS = frozenset({"json-file", "local"})  # what the engine does with the container's output by default
_ENGINE_DRIVERS = frozenset({"awslogs", "etwlogs", "fluentd", "gcplogs", "gelf", "journald", "logentries", "splunk"})
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
    """An entry. node: its Node in the file; path: its name in messages."""

    logging: Logging
    pattern: str
    node: Node
    path: str


class LoggingReader:
    """Reads every `logging` of one file. entries, pattern: the default, for services without `logging`."""

    def __init__(self, converter: Converter) -> None:
        self.entries: tuple[Logging, ...] = (Logging(),)
        self.pattern = ""
        self._converter = converter

    def read_default(self, node: Node | None, path: str) -> None:
        """Read the default."""
        self.entries, self.pattern = self.read(node, path)

    def read(self, node: Node | None, path: str) -> tuple[tuple[Logging, ...], str]:
        """The entries and the multiline pattern. path: the name of the node in messages."""
        if node is None or node.value == {}:
            return self.entries, self.pattern
        made: list[_Entry] = []
        if isinstance(node.value, list):
            for i, one in enumerate(node.value):
                made += self._entry(one, f"{path}[{i}]", "")
            if not node.value:
                self._report(node, path, "the list is empty (write driver: none for no output)")
        else:
            made += self._entry(node, path, "logging: ")
        self._check(made)
        pattern = next((entry.pattern for entry in made if entry.pattern), "")
        return tuple(entry.logging for entry in made) or self.entries, pattern

    def _report(self, node: Node, path: str, text: str, *, key: str = "", warning: bool = False) -> None:
        """Add a diagnostic for an entry or for one of its keys."""
        inner = node.value.get(key) if isinstance(node.value, dict) else None
        location = f"{path}.{key}" if key else path
        self._converter.report((inner or node).line, f"{location}: {text}", warning=warning)

    def _entry(self, node: Node, path: str, key: str) -> list[_Entry]:
        """The entries that one Node means: one; all default entries; none if it is invalid. key: text for hints."""
        if isinstance(node.value, str):
            driver = node.value if node.value in DRIVERS else "json"
            text = f"expected a map, got {node.describe()} (write {key}{{driver: {driver}}})"
            self._report(node, path, text)
            return []
        keys = self._converter.convert(node, LoggingKeys, path)
        written = node.value.get("driver") if isinstance(node.value, dict) else None
        if keys is UNSET or (written and written.value is not None and keys.driver is None):
            return []  # reported by the converter
        driver = keys.driver or ""
        options = keys.options if keys.options and keys.options.value != {} else None
        if driver and driver not in DRIVERS and not self._is_for_engine(driver, node, path):
            return []
        if driver not in DRIVERS and (driver or not options):
            return [_Entry(one, self.pattern, node, path) for one in self.entries]
        if driver:
            base = Logging(driver, address=SYSLOG_ADDRESS if driver == "syslog" else "")
            return self._with_options(_Entry(base, "", node, path), options, LineOptionKeys)
        one = len(self.entries) == 1
        base = self.entries[0] if one else Logging()
        return self._with_options(_Entry(base, self.pattern if one else "", node, path), options, AssumedOptionKeys)

    def _is_for_engine(self, driver: str, node: Node, path: str) -> bool:
        """Whether an unknown driver may be one of the engine, such as a plugin: a warning, otherwise an error."""
        hint = "" if driver in _ENGINE_DRIVERS | _ENGINE_FILE_DRIVERS else did_you_mean(driver, DRIVERS)
        if hint:
            self._report(node, path, f"unknown driver {driver[:40]!r}{hint}", key="driver")
        elif driver not in _ENGINE_FILE_DRIVERS:
            used = ", ".join(one.driver for one in self.entries)
            text = f"{driver[:40]!r} is not a driver of cohabit: {used} is used instead"
            self._report(node, path, text, key="driver", warning=True)
        return not hint

    def _with_options(self, entry: _Entry, options: Node | None, kind: type[LineOptionKeys]) -> list[_Entry]:
        """The entry with its options. kind: their type, unless the driver has its own."""
        driver = entry.logging.driver
        keys: Any = LineOptionKeys()
        if options and driver in _WITHOUT_LINES:
            text = f"the driver {driver} has no options: cohabit does not read the output (remove them)"
            self._report(entry.node, entry.path, text, key="options")
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
        if logging.address.startswith(TLS):
            used = ", ".join(one.driver for one in self.entries)
            text = f"TLS is not supported: {used} is used instead (write tcp://, or send the container's output)"
            self._report(options or entry.node, f"{entry.path}.options", text, key="syslog-address", warning=True)
            return [entry._replace(logging=one) for one in self.entries]
        if driver == "syslog":
            logging = self._with_format(logging, keys, options or entry.node, f"{entry.path}.options")
        if logging.blocking:
            if keys.max_buffer_size is not None and options:
                text = "only valid with mode: non-blocking (add that, or remove max-buffer-size)"
                self._report(options, f"{entry.path}.options", text, key="max-buffer-size")
            logging = logging.replace(buffer_bytes=LOG_BUFFER_BYTES)
        if driver == "file" and not logging.path:
            if not _has(options, "path"):
                text = "path is missing (write path: /var/log/name.log)"
                self._report(options or entry.node, f"{entry.path}.options", text)
            return []
        pattern = entry.pattern if keys.multiline_pattern is None else str(keys.multiline_pattern)
        return [entry._replace(logging=logging, pattern=pattern)]

    def _with_format(self, logging: Logging, keys: Any, node: Node, path: str) -> Logging:
        """A syslog entry with its format: as written, otherwise the default for its address."""
        if logging.format == "rfc5424micro":
            logging = logging.replace(format="rfc5424")
        if getattr(keys, "syslog_format", None) is None:
            return logging.replace(format=syslog_format(logging.address))
        if logging.format == "rfc3164" and not logging.address.startswith("unix"):
            text = f"rfc3164 is only valid for unix sockets, not for {logging.address} (remove it)"
            self._report(node, path, text, key="syslog-format")
        return logging

    def _check(self, made: Sequence[_Entry]) -> None:
        """Report entries that conflict with each other."""
        first: dict[str, _Entry] = {}
        for entry in made:
            one = entry.logging
            if one.driver in _WITHOUT_LINES and len(made) > 1:
                text = f"{one.driver} cannot be combined with other entries (remove it, or the others)"
                self._report(entry.node, entry.path, text, key="driver")
                return
            kind = "" if one.driver in _CONTAINER_OUTPUT else f"{one.driver} {one.path or one.address}"
            other = first.setdefault(kind, entry)
            if other is not entry and not kind:
                text = f"{other.logging.driver} already writes to the container's output (remove one of them)"
                self._report(entry.node, entry.path, text, key="driver")
            elif other is not entry and (one.driver == "file" or other.logging == one):
                self._report(entry.node, entry.path, f"{one.path or one.address} is listed twice (remove one of them)")
        patterns = [entry for entry in made if entry.pattern]
        for entry in patterns[1:]:
            if entry.pattern != patterns[0].pattern:
                text = f"multiline-pattern differs from {patterns[0].path}: a service has one pattern (remove this one)"
                self._report(entry.node, f"{entry.path}.options", text)


def _plain(value: str | int) -> str | int:
    """A value as a plain int, bool or str: marshal accepts no subclasses."""
    if isinstance(value, bool):
        return value
    return int(value) if isinstance(value, int) else str(value)


def _has(node: Node | None, key: str) -> bool:
    inner = node.value.get(key) if node and isinstance(node.value, dict) else None
    return inner is not None and inner.value is not None
