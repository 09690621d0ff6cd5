"""The level that a line of output shows at its beginning, in the form of one of the usual loggers.

The levels are syslog's (RFC 5424), with OpenTelemetry's `trace` and `fatal`: trace, debug, info, notice, warning,
error, critical, alert, emergency, fatal. Recognised are:

- separate words in capitals: `INFO`, `WARN:`, `[ERROR]`, and `LOG:`, `NOTE:`, `FINE:` with their colon;
- any case in brackets, `[error]`, `<Error>`, or after a key, `level=info`, `lvl=`, `severity=`;
- at the start of the line: `warning: …`, .NET's `fail: …`, Python's `ERROR:root:…`, `<3>` of sd-daemon(3), klog's
  `I1124 `, the sign of redis, Apache's `[module:error]`, Celery's `INFO/MainProcess`.

The first match counts. Only the first 80 bytes and 8 tokens are searched. Prose ("for more info see"), URLs and quoted
words do not match.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SEARCHED_BYTES = 80  # at the beginning of a line: `ts=… caller=… level=info` fits
_SEARCHED_BYTES_COLOURED = 160
_TOKENS_MAX = 8  # and one more if it is the last

# The spellings of loggers. The first of a tuple is the level's name.
_SPELLINGS = (
    (b"trace", b"trc"),
    (b"debug", b"dbg"),
    (b"info", b"inf"),
    (b"notice",),
    (b"warning", b"warn", b"wrn"),
    (b"error", b"err", b"severe"),
    (b"critical", b"crit"),
    (b"alert",),
    (b"emergency", b"emerg"),
    (b"fatal", b"panic", b"ftl", b"pnc"),
)
# Tokens in one form only: of PostgreSQL, java.util.logging, npm, MySQL, ClickHouse.
_LITERAL_TOKENS = {
    b"LOG:": b"info", b"NOTE:": b"notice", b"CONFIG:": b"info", b"FINE:": b"debug", b"FINER:": b"trace",
    b"FINEST:": b"trace", b"DEBUG1:": b"debug", b"DEBUG2:": b"debug", b"DEBUG3:": b"debug", b"DEBUG4:": b"debug",
    b"DEBUG5:": b"debug", b"ERR!": b"error", b"[note": b"notice", b"[Note": b"notice",
    b"<Information": b"info",
}  # fmt: skip
# At the start of a line only: .NET's. Below, any lower-case or capitalised spelling with a colon.
_DOTNET = {b"trce": b"trace", b"dbug": b"debug", b"fail": b"error"}
_SYSLOG = {
    b"<0": b"emergency", b"<1": b"alert", b"<2": b"critical", b"<3": b"error", b"<4": b"warning", b"<5": b"notice",
    b"<6": b"info", b"<7": b"debug",
}  # fmt: skip
_KLOG = {b"I": b"info", b"W": b"warning", b"E": b"error", b"F": b"fatal"}
_REDIS = {b".": b"debug", b"-": b"info", b"*": b"notice", b"#": b"warning"}
_REDIS_ROLES = frozenset((b":M", b":S", b":C", b":X"))
_REDIS_SIGN = 5  # tokens from the start
_CELERY_LEVEL = 3
_APACHE_MODULE = 5

# Separators of tokens. All else, as / . _ - " = and opening brackets, is part of a token, so that URLs, quoted words
# and variables are not levels.
_SEPARATORS = b" \t\r\n\v\f\0\x1b]()>{}|,;"
_TABLE = bytes(ord(" ") if code in _SEPARATORS else code for code in range(256))


def _tokens_anywhere() -> Iterator[tuple[bytes, bytes]]:
    """Tokens that show a level anywhere in the searched part."""
    for level, *others in _SPELLINGS:
        for word in (level, *others):
            capitals = word.upper()
            for form in (b"%b", b"%b:", b"[%b", b"[%b:", b"<%b"):
                yield form % capitals, level
            for form in (b"[%b", b"<%b"):
                yield form % word, level
                yield form % word.capitalize(), level
            for key in (b"level=", b"lvl=", b"severity="):
                yield key + word, level
                yield key + capitals, level
                yield b'%b"%b"' % (key, word), level


def _tokens_at_start() -> Iterator[tuple[bytes, bytes]]:
    """Tokens that show a level at the start of a line."""
    for level, *others in _SPELLINGS:
        for word in (level, *others):
            yield word, level
            yield word.capitalize(), level


_LEVELS = dict(_tokens_anywhere()) | _LITERAL_TOKENS
_LEVELS_AT_START = dict(_tokens_at_start()) | _DOTNET


def level_of(line: bytes) -> bytes:
    """The line's level, one of the names above; b"" if it shows none."""
    tokens = line[:_SEARCHED_BYTES].translate(_TABLE).split(None, _TOKENS_MAX)
    for word in tokens:
        if word in _LEVELS:
            return _LEVELS[word]
    if tokens and tokens[0][0] in _BY_FIRST_BYTE:
        return _BY_FIRST_BYTE[tokens[0][0]](tokens)
    return b""


def level_of_coloured(line: bytes) -> bytes:
    """level_of() for a line that may have terminal colours (ESC [ numbers m), also directly before the level."""
    if b"\x1b[" not in line[:_SEARCHED_BYTES]:
        return level_of(line)
    plain, *coloured = line[:_SEARCHED_BYTES_COLOURED].split(b"\x1b[")
    return level_of(plain + b"".join([piece.partition(b"m")[2] for piece in coloured]))


def _first_token(tokens: list[bytes]) -> bytes:
    """`warning: …`, `WARNING:root:…` of Python's basicConfig, klog's `W1124 …`."""
    first = tokens[0]
    word, colon, rest = first.partition(b":")
    if colon:
        return _LEVELS.get(word, b"") if rest else _LEVELS_AT_START.get(word, b"")
    if first[:1] in _KLOG and first[1:].isdigit() and len(first) == len("I1124"):
        return _KLOG[first[:1]]
    return b""


def _redis(tokens: list[bytes]) -> bytes:
    """`1:M 24 Nov 2024 12:00:00.000 * Ready`."""
    return _REDIS.get(tokens[_REDIS_SIGN], b"") if tokens[0][-2:] in _REDIS_ROLES and len(tokens) > _REDIS_SIGN else b""


def _in_brackets(tokens: list[bytes]) -> bytes:
    """Celery's `[2024-11-24 12:00:00,123: INFO/MainProcess]`, Apache's `[… 24 12:00:00.123456 2024] [core:notice]`."""
    if len(tokens) > _CELERY_LEVEL and tokens[_CELERY_LEVEL - 1].endswith(b":"):
        return _LEVELS.get(tokens[_CELERY_LEVEL].partition(b"/")[0], b"")
    if len(tokens) > _APACHE_MODULE and tokens[_APACHE_MODULE].startswith(b"["):
        return _LEVELS.get(b"[" + tokens[_APACHE_MODULE].rpartition(b":")[2], b"")
    return b""


def _syslog(tokens: list[bytes]) -> bytes:
    """`<3>` of sd-daemon(3)."""
    return _SYSLOG.get(tokens[0], b"")


# Lines without a token of _LEVELS, by their first byte.
_BY_FIRST_BYTE: dict[int, Callable[[list[bytes]], bytes]] = {}
_BY_FIRST_BYTE |= dict.fromkeys({word[0] for word in (*_LEVELS, *_LEVELS_AT_START)}, _first_token)
_BY_FIRST_BYTE |= dict.fromkeys(b"0123456789", _redis)
_BY_FIRST_BYTE |= {ord("["): _in_brackets, ord("<"): _syslog}
