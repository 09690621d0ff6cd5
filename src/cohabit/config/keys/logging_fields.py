"""The tables of keys for `logging`: an entry, and the options of each driver.

Types as in fields.py; the options are documented in docs/reference/logs.md. `options` stays a Node, because its type
depends on the driver: logging.py converts it.
"""

from typing import Annotated, ClassVar, Literal, Self

from cohabit.config.keys.resources import Ranged
from cohabit.config.keys.table import Keys
from cohabit.config.values.address import syslog_address
from cohabit.config.values.facility import parse_facility
from cohabit.config.values.pattern import check_pattern
from cohabit.config.values.size import parse_size
from cohabit.plan.node import Node

_BUFFER_BYTES_MOST = 1 << 30  # the buffer is in memory
_FILE_BYTES_MOST = 1 << 60
_NO_ROTATION = ("-1", "0")
TLS = "tcp+tls://"  # a scheme of Docker's driver that ours does not have
_TEMPLATE = "{{"
_LONGEST_TAG = 48  # APP-NAME of RFC 5424
# Options of Docker's json-file and local. In an entry without a driver they may be for the engine.
_FOR_THE_ENGINE = """
    compress env env-regex labels labels-regex max-file max-size tag
"""


# Further options of Docker's syslog.
_OF_DOCKERS_SYSLOG = """
    env env-regex labels labels-regex syslog-tls-ca-cert syslog-tls-cert syslog-tls-key syslog-tls-skip-verify
"""


class BufferSize(int):
    """Size of a buffer in memory."""

    expected: ClassVar[str] = "a size such as 4m"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Bytes of "4m". ValueError: not a size from 1 byte to 1 GiB."""
        size = parse_size(text)
        if not 0 < size <= _BUFFER_BYTES_MOST:
            raise ValueError(f"expected a size from 1 byte to 1g, got {text[:40]!r}")
        return cls(size)


class FileSize(int):
    """Maximum size of a file; 0 for no limit."""

    expected: ClassVar[str] = "a size such as 10m, or -1"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Bytes of "10m", 0 for "-1". ValueError: not a size."""
        size = 0 if text in _NO_ROTATION else parse_size(text)
        if size > _FILE_BYTES_MOST:
            raise ValueError(f"{text[:40]!r} is larger than any file can be (write -1 for no rotation)")
        return cls(size)


class FileCount(Ranged):
    """Number of files."""

    expected = "a whole number from 1 to 1000"
    least, most = 1, 1000


class LogPath(str):
    """A file's path, normalized so that no file is opened twice."""

    __slots__ = ()
    expected: ClassVar[str] = "an absolute path"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The path without `//` and `/./`. ValueError: not absolute, contains `..`, or is a directory's."""
        if not text.startswith("/"):
            raise ValueError(f"expected {cls.expected}, got {text[:60]!r}")
        parts = text.split("/")
        if ".." in parts:
            raise ValueError(f"{text[:60]!r} contains .. (write the path without ..)")
        if parts[-1] in ("", "."):
            raise ValueError(f"{text[:60]!r} is a directory (name a file in it)")
        return cls("/" + "/".join(part for part in parts if part not in ("", ".")))


class Pattern(str):
    """A regular expression."""

    __slots__ = ()
    expected: ClassVar[str] = "a regular expression"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The pattern itself. ValueError: not a regular expression."""
        return cls(check_pattern(text, "any line would begin a record"))


class SyslogAddress(str):
    """Address of a syslog server."""

    __slots__ = ()
    expected: ClassVar[str] = "an address such as udp://10.0.0.1:514"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The address with its port. ValueError: not a valid address."""
        return cls(text if text.startswith(TLS) else syslog_address(text))


class Facility(int):
    """Number of a facility."""

    expected: ClassVar[str] = "a facility such as daemon"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Number of "daemon" or "3". ValueError: not a facility."""
        return cls(parse_facility(text))


class Tag(str):
    """APP-NAME of RFC 5424, instead of the service's name."""

    __slots__ = ()
    expected: ClassVar[str] = "a name"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The name itself; "" for a template of Docker, such as {{.Name}}. ValueError: not a valid APP-NAME."""
        if _TEMPLATE in text:
            return cls()
        if len(text) > _LONGEST_TAG or not all("!" <= letter <= "~" for letter in text):
            raise ValueError(f"{text[:60]!r} is not a valid tag (at most {_LONGEST_TAG} ASCII characters, no spaces)")
        return cls(text)


class LoggingKeys(Keys):
    """An entry of logging."""

    driver: Annotated[
        str | None,
        (
            "To the container's output: `prefix` (lines with the service's name), `json`, `logfmt`, `raw` "
            "(unchanged bytes), `inherit` (the service writes there itself). Others: `file`, `syslog`, `none`."
        ),
    ] = None
    options: Annotated[Node | None, "Options of the driver: [logs.md](logs.md)."] = None


class LineOptionKeys(Keys):
    """Options of every driver that processes lines; prefix, json, logfmt and raw have no others."""

    kebab: ClassVar[bool] = True

    mode: Annotated[
        Literal["blocking", "non-blocking"] | None,
        (
            "When the destination does not accept output: `blocking`: the service blocks on write; "
            "`non-blocking`: lines are buffered, and beyond `max-buffer-size` dropped and counted."
        ),
    ] = None
    max_buffer_size: Annotated[BufferSize | None, "Size of that buffer. Only with `mode: non-blocking`."] = None
    multiline_pattern: Annotated[
        Pattern | None,
        (
            "A regular expression (Python's syntax; `$` is written `$$`). A line in which it is found "
            "begins a record; the lines up to the next such line belong to it. One per service."
        ),
    ] = None


class AssumedOptionKeys(LineOptionKeys):
    """Options of an entry without a driver."""

    ignored: ClassVar[frozenset[str]] = frozenset(_FOR_THE_ENGINE.split())


class FileOptionKeys(LineOptionKeys):
    """Options of file."""

    path: Annotated[LogPath | None, "Absolute path of the file. Several services may share one."] = None
    format: Annotated[
        Literal["raw", "prefix", "json", "logfmt"] | None,
        "Format of the lines, as of the driver of that name.",
    ] = None
    max_size: Annotated[
        FileSize | None, "The file is rotated before it exceeds this size; `-1` or `0`: no rotation."
    ] = None
    max_file: Annotated[FileCount | None, "Number of files, including the current one; the oldest is removed."] = None
    compress: Annotated[bool | None, "`true`: rotated files are compressed with gzip."] = None


class SyslogOptionKeys(LineOptionKeys):
    """Options of syslog."""

    ignored: ClassVar[frozenset[str]] = frozenset(_OF_DOCKERS_SYSLOG.split())

    syslog_address: Annotated[SyslogAddress | None, "Address of the server. Default port: 514."] = None
    syslog_facility: Annotated[Facility | None, "The facility, as in syslog(3)."] = None
    syslog_format: Annotated[
        Literal["rfc5424", "rfc5424micro", "rfc3164"] | None,
        (
            "`rfc5424` or `rfc5424micro`, which are the same, or `rfc3164`, the format of syslog(3), for unix "
            "sockets only. Default for /dev/log is `rfc3164`, because most programs that read /dev/log accept "
            "nothing else."
        ),
    ] = None
    tag: Annotated[
        Tag | None,
        "The program name in the messages. Default, and for a template such as `{{.Name}}`: the service's name.",
    ] = None
