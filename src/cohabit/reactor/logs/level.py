"""Which level a line of output shows, if it shows one: the look of the usual loggers, at its beginning.

The levels are syslog's words (RFC 5424) with OpenTelemetry's `trace` and `fatal`: trace, debug, info, notice, warning,
error, critical, alert, emergency, fatal. Seen are:

- words in capitals that stand alone: `INFO`, `WARN:`, `[ERROR]`, and `LOG:`, `NOTE:`, `FINE:` with their colon;
- any case in brackets, `[error]`, `<Error>`, or behind a key, `level=info`, `lvl=`, `severity=`;
- at the line's start: `warning: …`, .NET's `fail: …`, Python's `ERROR:root:…`, `<3>` of sd-daemon(3), klog's `I1124 `,
  redis' sign, Apache's `[module:error]`, Celery's `INFO/MainProcess`.

The first one counts, and only the first 80 bytes and 8 words are looked at. Prose ("for more info see"), URLs and
quoted words are none.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_REACH = 80  # bytes of a line that are looked at: `ts=… caller=… level=info` fits
_REACH_COLOURED = 160
_WORDS = 8  # and so many words; one more, where it is the last

# What each logger calls it. The first of a tuple is our word.
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
# Words that say it in one form only: PostgreSQL's, java.util.logging's, npm's, MySQL's, ClickHouse's.
_IN_ONE_FORM = {
    b"LOG:": b"info", b"NOTE:": b"notice", b"CONFIG:": b"info", b"FINE:": b"debug", b"FINER:": b"trace",
    b"FINEST:": b"trace", b"DEBUG1:": b"debug", b"DEBUG2:": b"debug", b"DEBUG3:": b"debug", b"DEBUG4:": b"debug",
    b"DEBUG5:": b"debug", b"ERR!": b"error", b"[note": b"notice", b"[Note": b"notice",
    b"<Information": b"info",
}  # fmt: skip
# At the start of a line only: .NET's, and below any lower-case or capitalised word with a colon.
_DOTNET = {b"trce": b"trace", b"dbug": b"debug", b"fail": b"error"}
_SYSLOG = {
    b"<0": b"emergency", b"<1": b"alert", b"<2": b"critical", b"<3": b"error", b"<4": b"warning", b"<5": b"notice",
    b"<6": b"info", b"<7": b"debug",
}  # fmt: skip
_KLOG = {b"I": b"info", b"W": b"warning", b"E": b"error", b"F": b"fatal"}
_REDIS = {b".": b"debug", b"-": b"info", b"*": b"notice", b"#": b"warning"}
_REDIS_ROLES = frozenset((b":M", b":S", b":C", b":X"))
_REDIS_SIGN = 5  # words from the start
_CELERY_LEVEL = 3
_APACHE_MODULE = 5

# What stands between words. All else, like / . _ - " = and the opening brackets, is part of one, so that URLs, quoted
# words and variables are no levels.
_BETWEEN = b" \t\r\n\v\f\0\x1b]()>{}|,;"
_TABLE = bytes(ord(" ") if code in _BETWEEN else code for code in range(256))


def _everywhere() -> Iterator[tuple[bytes, bytes]]:
    """Words that show a level wherever they stand."""
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


def _at_the_start() -> Iterator[tuple[bytes, bytes]]:
    """Words that show it at the beginning of a line."""
    for level, *others in _SPELLINGS:
        for word in (level, *others):
            yield word, level
            yield word.capitalize(), level


_LEVELS = dict(_everywhere()) | _IN_ONE_FORM
_FIRST = dict(_at_the_start()) | _DOTNET


def level_of(line: bytes) -> bytes:
    """One of the words above, b"" where the line shows none."""
    words = line[:_REACH].translate(_TABLE).split(None, _WORDS)
    for word in words:
        if word in _LEVELS:
            return _LEVELS[word]
    if words and words[0][0] in _SHAPES:
        return _SHAPES[words[0][0]](words)
    return b""


def level_of_coloured(line: bytes) -> bytes:
    """The same, for a line that may have colours of a terminal (ESC [ numbers m), also right before the word."""
    if b"\x1b[" not in line[:_REACH]:
        return level_of(line)
    plain, *coloured = line[:_REACH_COLOURED].split(b"\x1b[")
    return level_of(plain + b"".join([piece.partition(b"m")[2] for piece in coloured]))


def _first_word(words: list[bytes]) -> bytes:
    """`warning: …`, `WARNING:root:…` of Python's basicConfig, klog's `W1124 …`."""
    first = words[0]
    word, colon, rest = first.partition(b":")
    if colon:
        return _LEVELS.get(word, b"") if rest else _FIRST.get(word, b"")
    if first[:1] in _KLOG and first[1:].isdigit() and len(first) == len("I1124"):
        return _KLOG[first[:1]]
    return b""


def _redis(words: list[bytes]) -> bytes:
    """`1:M 24 Nov 2024 12:00:00.000 * Ready`."""
    return _REDIS.get(words[_REDIS_SIGN], b"") if words[0][-2:] in _REDIS_ROLES and len(words) > _REDIS_SIGN else b""


def _in_brackets(words: list[bytes]) -> bytes:
    """Celery's `[2024-11-24 12:00:00,123: INFO/MainProcess]`, Apache's `[… 24 12:00:00.123456 2024] [core:notice]`."""
    if len(words) > _CELERY_LEVEL and words[_CELERY_LEVEL - 1].endswith(b":"):
        return _LEVELS.get(words[_CELERY_LEVEL].partition(b"/")[0], b"")
    if len(words) > _APACHE_MODULE and words[_APACHE_MODULE].startswith(b"["):
        return _LEVELS.get(b"[" + words[_APACHE_MODULE].rpartition(b":")[2], b"")
    return b""


def _syslog(words: list[bytes]) -> bytes:
    """`<3>`: sd-daemon(3)."""
    return _SYSLOG.get(words[0], b"")


# Lines without a word for their level, by their first byte.
_SHAPES: dict[int, Callable[[list[bytes]], bytes]] = {}
_SHAPES |= dict.fromkeys({word[0] for word in (*_LEVELS, *_FIRST)}, _first_word)
_SHAPES |= dict.fromkeys(b"0123456789", _redis)
_SHAPES |= {ord("["): _in_brackets, ord("<"): _syslog}
