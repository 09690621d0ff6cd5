"""The part of compose.py for `logging`: its entries with the options that differ from the defaults.

All values are strings, as in Compose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cohabit.config.values.address import SYSLOG_ADDRESS, syslog_format
from cohabit.config.values.facility import facility_name
from cohabit.config.values.size import format_size
from cohabit.plan.model import Logging

if TYPE_CHECKING:
    from collections.abc import Sequence

_DEFAULT = Logging(address=SYSLOG_ADDRESS)
_FORMAT = {"syslog": "syslog-format"}


def write_logging(entries: Sequence[Logging], pattern: str) -> Any:
    """`logging` as a map, or as a list of maps. pattern: the multiline pattern, written in the first entry."""
    written = [_entry(entry, pattern if i == 0 else "") for i, entry in enumerate(entries)]
    return written[0] if len(written) == 1 else written


def _entry(entry: Logging, pattern: str) -> dict[str, Any]:
    options = _options(entry, pattern)
    driver = "raw" if entry.driver == "prefix" and not entry.before else entry.driver
    return {"driver": driver, "options": options} if options else {"driver": driver}


def _form(entry: Logging) -> str:
    return syslog_format(entry.address) if entry.driver == "syslog" else _DEFAULT.format


def _options(entry: Logging, pattern: str) -> dict[str, str]:
    """The options that differ from the defaults. `found`: option -> (value, default, text of the value)."""
    found = {
        "mode": (entry.blocking, _DEFAULT.blocking, "non-blocking"),
        "max-buffer-size": (entry.buffer_bytes, _DEFAULT.buffer_bytes, format_size(entry.buffer_bytes)),
        "multiline-pattern": (pattern, "", pattern),
        "path": (entry.path, _DEFAULT.path, entry.path),
        _FORMAT.get(entry.driver, "format"): (entry.format, _form(entry), entry.format),
        "max-size": (entry.bytes_max, _DEFAULT.bytes_max, format_size(entry.bytes_max)),
        "max-file": (entry.files_max, _DEFAULT.files_max, str(entry.files_max)),
        "compress": (entry.compress, _DEFAULT.compress, "true"),
        "syslog-address": (entry.address or SYSLOG_ADDRESS, _DEFAULT.address, entry.address),
        "syslog-facility": (entry.facility, _DEFAULT.facility, facility_name(entry.facility)),
        "tag": (entry.tag, _DEFAULT.tag, entry.tag),
    }
    return {key: shown.replace("$", "$$") for key, (value, default, shown) in found.items() if value != default}
