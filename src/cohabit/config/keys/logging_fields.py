"""The field table's part about where output goes: an entry of `logging`, and the options of each driver.

Types as in fields.py, with docs/reference/logs.md as their page. Which options there are hangs on the driver, so
`options` stays a Node until logging.py knows that. Nothing here reads anything.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from cohabit.config.keys.resources import Ranged
from cohabit.config.text.node import Node  # noqa: TC001 - msgspec looks it up
from cohabit.config.values.address import syslog_address
from cohabit.config.values.facility import parse_facility
from cohabit.config.values.pattern import check_pattern
from cohabit.config.values.size import parse_size

_BUFFER_BYTES_MOST = 1 << 30  # it is kept in memory
_FILE_BYTES_MOST = 1 << 60
_NO_ROTATION = ("-1", "0")
_LONGEST_TAG = 48  # APP-NAME of RFC 5424
# Options of Docker's json-file and local, which who names no driver may have meant for the engine.
_FOR_THE_ENGINE = """
    compress env env-regex labels labels-regex max-file max-size tag
"""


class BufferSize(int):
    """How much may be kept in memory."""

    expected: ClassVar[str] = "a size such as 4m"

    @classmethod
    def parse(cls, text: str) -> BufferSize:
        """Bytes of "4m"; ValueError if it is no size, or no use."""
        size = parse_size(text)
        if not 0 < size <= _BUFFER_BYTES_MOST:
            raise ValueError(f"expected a size from 1 byte to 1g, got {text[:40]!r}")
        return cls(size)


class FileSize(int):
    """How large a file may become; 0 for any size."""

    expected: ClassVar[str] = "a size such as 10m, or -1"

    @classmethod
    def parse(cls, text: str) -> FileSize:
        """Bytes of "10m", 0 for "-1"; ValueError if it is no size."""
        size = 0 if text in _NO_ROTATION else parse_size(text)
        if size > _FILE_BYTES_MOST:
            raise ValueError(f"{text[:40]!r} is larger than any file (write -1 for no rotation)")
        return cls(size)


class FileCount(Ranged):
    """How many files there are."""

    expected = "a whole number from 1 to 1000"
    least, most = 1, 1000


class LogPath(str):
    """A file's path, written in one way: a file must not be opened twice."""

    __slots__ = ()
    expected: ClassVar[str] = "a whole path"

    @classmethod
    def parse(cls, text: str) -> LogPath:
        """The path without `//` and `/./`; ValueError if it is not whole, has `..` in it or is a directory's."""
        if not text.startswith("/"):
            raise ValueError(f"a whole path is needed, beginning with /, got {text[:60]!r}")
        parts = text.split("/")
        if ".." in parts:
            raise ValueError(f"{text[:60]!r} has .. in it (write the path without ..)")
        if parts[-1] in ("", "."):
            raise ValueError(f"{text[:60]!r} is a directory (name a file in it)")
        return cls("/" + "/".join(part for part in parts if part not in ("", ".")))


class Pattern(str):
    """A regular expression."""

    __slots__ = ()
    expected: ClassVar[str] = "a regular expression"

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """The pattern itself; ValueError if it is none."""
        return cls(check_pattern(text, "any line would begin a record"))


class SyslogAddress(str):
    """Where a syslog server listens."""

    __slots__ = ()
    expected: ClassVar[str] = "an address such as udp://10.0.0.1:514"

    @classmethod
    def parse(cls, text: str) -> SyslogAddress:
        """The address with its port; ValueError if it is none."""
        return cls(syslog_address(text))


class Facility(int):
    """A facility's number."""

    expected: ClassVar[str] = "a facility such as daemon"

    @classmethod
    def parse(cls, text: str) -> Facility:
        """Number of "daemon" or "3"; ValueError if there is none."""
        return cls(parse_facility(text))


class Tag(str):
    """What stands for the service's name in a message: APP-NAME of RFC 5424."""

    __slots__ = ()
    expected: ClassVar[str] = "a name"

    @classmethod
    def parse(cls, text: str) -> Tag:
        """The name itself; ValueError if it can be none."""
        if "{{" in text:
            raise ValueError(f"{text[:60]!r} is a template, which only the engine fills in (write the name itself)")
        if len(text) > _LONGEST_TAG or not all("!" <= letter <= "~" for letter in text):
            raise ValueError(f"{text[:60]!r} can be no tag (at most {_LONGEST_TAG} letters of ASCII, no spaces)")
        return cls(text)


class LoggingKeys(Struct, frozen=True, kw_only=True):
    """An entry of logging."""

    driver: Annotated[
        str | None,
        Meta(
            description="To the container's output as `prefix` (lines with the service's name), `json`, `logfmt`, "
            "`raw` (bytes as they are); `inherit` (it has the container's output itself); `file`; `syslog`; `none`."
        ),
    ] = None
    options: Annotated[Node | None, Meta(description="Its options: [logs.md](logs.md).")] = None


class LineOptionKeys(Struct, frozen=True, kw_only=True, rename="kebab"):
    """Options of every driver that passes lines on; the only ones of prefix, json, logfmt and raw."""

    mode: Annotated[
        Literal["blocking", "non-blocking"] | None,
        Meta(
            description="While nobody takes its lines the service waits (`blocking`), or they are kept, and beyond "
            "`max-buffer-size` dropped and counted."
        ),
    ] = None
    max_buffer_size: Annotated[
        BufferSize | None, Meta(description="How much is kept then. Only with `mode: non-blocking`.")
    ] = None
    multiline_pattern: Annotated[
        Pattern | None,
        Meta(
            description="A regular expression (Python's; `$` is written `$$`): where it is found in a line, a record "
            "begins, which goes on to the next such line. One for the whole service."
        ),
    ] = None


class AssumedOptionKeys(LineOptionKeys, frozen=True, kw_only=True):
    """The same where no driver is written."""

    elsewhere: ClassVar[frozenset[str]] = frozenset(_FOR_THE_ENGINE.split())


class FileOptionKeys(LineOptionKeys, frozen=True, kw_only=True):
    """Options of file."""

    path: Annotated[LogPath | None, Meta(description="The file. Several services may share one.")] = None
    format: Annotated[
        Literal["raw", "prefix", "json", "logfmt"] | None, Meta(description="How lines are written, as by that driver.")
    ] = None
    max_size: Annotated[
        FileSize | None, Meta(description="Before it grows beyond this the file is renamed; `-1` or `0`: it never is.")
    ] = None
    max_file: Annotated[
        FileCount | None, Meta(description="So many files there are, the newest included; the oldest is removed.")
    ] = None
    compress: Annotated[bool | None, Meta(description="`true`: renamed files are compressed with gzip.")] = None


class SyslogOptionKeys(LineOptionKeys, frozen=True, kw_only=True):
    """Options of syslog."""

    syslog_address: Annotated[SyslogAddress | None, Meta(description="The server; without a port it is 514.")] = None
    syslog_facility: Annotated[
        Facility | None, Meta(description="What kind of program it is, as syslog(3) has it.")
    ] = None
    syslog_format: Annotated[
        Literal["rfc5424", "rfc3164"] | None,
        Meta(
            description="`rfc5424`, or the form of syslog(3), which is all that most programs behind /dev/log read and "
            "therefore the default there. The latter for unix sockets only."
        ),
    ] = None
    tag: Annotated[Tag | None, Meta(description="What stands there as the program's name.")] = None
