"""Texts of supervisord.conf -> values. Each function raises ValueError with supervisord's own words.

The texts of errors never have a value of `environment`, where supervisord quotes it.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import signal
from typing import TYPE_CHECKING

from cohabit.config.values.user import group_id

if TYPE_CHECKING:
    from collections.abc import Mapping

AUTO, NONE, SYSLOG = "auto", "", "syslog"  # names of log files that are no paths
LEVELS = ("critical", "error", "warn", "info", "debug", "trace", "blather")
RESTART_ALWAYS, RESTART_NEVER, RESTART_UNEXPECTED = "true", "false", "unexpected"
# `[supervisord] environment` and its like, whose text is never quoted.
SECRET = ("environment", "password")

_TRUE, _FALSE = ("yes", "true", "on", "1"), ("no", "false", "off", "0")
_UNITS = {"kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}
_WORD_CHARACTERS = "/.+-():"  # beside letters, digits and _, in a value of `environment` without quotes
_LAST_EXIT_CODE = 255
_LAST_PORT = 65_535
_WIDE = re.compile(r"%\([^)]*\)[#0 +-]*[0-9.]{6}")  # a width of gigabytes
_SIGNALS = {
    name: int(number)
    for name, number in vars(signal).items()
    if name.startswith("SIG") and not name.startswith("SIG_") and isinstance(number, int)
}


class MissingVariableError(ValueError):
    """A variable of the container that an option needs is not set: it may be there at run time only."""


def expand(text: str, names: Mapping[str, object], option: str) -> str:
    """The text with %(NAME)s replaced by values: Python's % formatting. option: for the error."""
    shown = "'…'" if option.rpartition(".")[2] in SECRET else repr(text)
    if _WIDE.search(text):
        raise ValueError(f"Format string {shown} for {option!r} is badly formatted: the width is too large")
    try:
        return text % names
    except KeyError as error:
        known = ", ".join(sorted(names))
        why = f"contains names ({error}) which cannot be expanded. Available names: {known}"
        kind = MissingVariableError if str(error).startswith("'ENV_") else ValueError
        raise kind(f"Format string {shown} for {option!r} {why}") from None
    except Exception as error:  # noqa: BLE001 - % has several errors, and formats that are none of its
        raise ValueError(f"Format string {shown} for {option!r} is badly formatted: {error}") from None


def name(text: str) -> str:
    """The name of a program or group."""
    for letter in " :/":
        if letter in text.strip():
            raise ValueError(f"Invalid name: {text.strip()!r} because of character: {letter!r}")
    return text.strip()


def boolean(text: str) -> bool:
    """yes, true, on, 1, or the opposite, in any case."""
    if text.lower() not in _TRUE + _FALSE:
        raise ValueError(f"not a valid boolean value: {text!r}")
    return text.lower() in _TRUE


def size(text: str) -> int:
    """Bytes: a number, or one with KB, MB or GB."""
    number, unit = text.lower()[:-2], text.lower()[-2:]
    return int(number) * _UNITS[unit] if unit in _UNITS else int(text.lower())


def octal(text: str) -> int:
    """A mode, such as 022."""
    try:
        return int(text, 8)
    except ValueError:
        raise ValueError(f"{text} can not be converted to an octal type") from None


def level(text: str) -> str:
    """A level of the main log."""
    if text.lower() not in LEVELS:
        raise ValueError(f"bad logging level name {text!r}")
    return text.lower()


def restart(text: str) -> str:
    """One of RESTART_…."""
    if text.lower() == RESTART_UNEXPECTED:
        return RESTART_UNEXPECTED
    if text.lower() not in _TRUE + _FALSE:
        raise ValueError(f"invalid 'autorestart' value {text.lower()!r}")
    return RESTART_ALWAYS if text.lower() in _TRUE else RESTART_NEVER


def exit_codes(text: str) -> tuple[int, ...]:
    """Numbers, separated by commas; none for an empty text."""
    try:
        codes = tuple(map(int, text.split(","))) if text else ()
    except ValueError:
        codes = (-1,)
    if any(not 0 <= code <= _LAST_EXIT_CODE for code in codes):
        raise ValueError(f"not a valid list of exit codes: {text!r}")
    return codes


def stop_signal(text: str) -> int:
    """TERM, SIGTERM or 15."""
    try:
        number = int(text)
    except ValueError:
        word = text.strip().upper()
        word = word if word.startswith("SIG") else f"SIG{word}"
        if word not in _SIGNALS:
            raise ValueError(f"value {text!r} is not a valid signal name") from None
        return _SIGNALS[word]
    if number not in _SIGNALS.values():
        raise ValueError(f"value {text!r} is not a valid signal number")
    return number


def strings(text: str) -> tuple[str, ...]:
    """Texts, separated by commas."""
    return tuple(one.strip() for one in text.split(",")) if text else ()


def directory(text: str) -> str:
    """A directory that exists."""
    path = os.path.expanduser(text)
    if not os.path.isdir(path):
        raise ValueError(f"{text} is not an existing directory")
    return path


def file_path(text: str) -> str:
    """A path whose directory exists."""
    path = os.path.expanduser(text)
    if os.path.dirname(path) and not os.path.isdir(os.path.dirname(path)):
        raise ValueError(f"The directory named as part of the path {text} does not exist")
    return path


def log_file(text: str) -> str:
    """A path, or AUTO, NONE or SYSLOG."""
    if text.lower() in ("none", "off"):
        return NONE
    return text.lower() if text.lower() in (AUTO, SYSLOG) else file_path(text)


def normal_path(path: str) -> str:
    """An absolute path."""
    return os.path.normpath(os.path.abspath(os.path.expanduser(path)))


def user_id(text: str) -> int:
    """The number of a user. A number needs no entry in /etc/passwd, other than with supervisord."""
    try:
        return int(text)
    except ValueError:
        try:
            return pwd.getpwnam(text).pw_uid
        except (KeyError, ValueError):
            raise ValueError(f"Invalid user name {text}") from None


def owner(text: str) -> tuple[int, int]:
    """Numbers of "user" or "user:group"; the group is -1 if it is not given."""
    user, colon, group = text.partition(":")
    try:
        return user_id(user), group_id(group) if colon else -1
    except (LookupError, ValueError):
        raise ValueError(f"Invalid user:group definition {text}") from None


def port(text: str) -> int:
    """A port number."""
    number = int(text)
    if number < 1:
        raise ValueError(f"{number} is below lower bound (1)")
    if number > _LAST_PORT:
        raise ValueError(f"{number} is above upper bound ({_LAST_PORT})")
    return number


def inet_address(text: str) -> tuple[str, int]:
    """Host and port of "host:port", ":port", "*:port" or "port"; the host is "" for all interfaces."""
    host, colon, digits = text.rpartition(":")
    if colon and not digits:
        raise ValueError("no port number specified in ''")
    if not colon:
        try:
            return "", port(digits)
        except ValueError:
            raise ValueError(f"not a valid port number: {digits!r} ") from None
    number = port(digits)
    return "" if host == "*" else host.lower(), number


def variables(text: str) -> dict[str, str]:
    """KEY=value pairs, separated by commas. The words are those of shlex, so some values need quotes.

    As with supervisord, what follows a value up to the next pair is one word, whatever it is: normally a comma.
    """
    lexer = shlex.shlex(text)
    lexer.wordchars += _WORD_CHARACTERS
    words = list(lexer)
    found: dict[str, str] = {}
    for first in range(0, len(words), 4):
        key, *rest = words[first : first + 3]
        if len(rest) < 2 or rest[0] != "=":  # noqa: PLR2004 - the sign and the value
            after = f" after {list(found)[-1]}" if found else ""
            hint = "values with other characters than letters, digits and _/.+-(): need quotes"
            raise ValueError(f"Unexpected end of key/value pairs in value '…'{after} ({hint})")
        found[key] = rest[1].strip("'\"")
    return found
