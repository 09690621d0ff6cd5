"""The tables of keys for limits, sockets, secrets and configs. Part of fields.py, documented on the same page."""

import re
from typing import Annotated, ClassVar, Self

from cohabit.config.keys.table import Keys
from cohabit.lazy_pattern import lazy_pattern

_WHOLE = lazy_pattern(r"-?[0-9]{1,19}", re.ASCII)
_FRACTION = lazy_pattern(r"(?<=[0-9])\.0+\Z", re.ASCII)
_DECIMAL = lazy_pattern(r"[1-9][0-9]{0,3}", re.ASCII)
_OCTAL = lazy_pattern(r"(?:0o)?([0-7]{1,5})", re.ASCII)
_LARGEST = 2**63 - 1


def whole(text: str) -> str:
    """The digits of a number whose fraction is 0: "5" of "5.0"; any other text as it is."""
    return _FRACTION.sub("", text)


class Ranged(int):
    """A whole number between two others."""

    expected: ClassVar[str]
    least: ClassVar[int]
    most: ClassVar[int]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Number of "-5". ValueError: not a whole number, or out of range."""
        number = whole(text)
        if not _WHOLE.fullmatch(number) or not cls.least <= int(number) <= cls.most:
            raise ValueError(f"expected {cls.expected}, got {text[:40]!r}")
        return cls(number)


class Nice(Ranged):
    """A nice value."""

    expected = "a whole number from -20 to 19"
    least, most = -20, 19


class OomScoreAdj(Ranged):
    """A value for /proc/PID/oom_score_adj."""

    expected = "a whole number from -1000 to 1000"
    least, most = -1000, 1000


class Limit(Ranged):
    """A resource limit."""

    expected = "a whole number, -1 for unlimited"
    least, most = -1, _LARGEST


class Backlog(Ranged):
    """Length of a socket's queue (listen(2))."""

    expected = "a whole number from 1 to 65535"
    least, most = 1, 65_535


class Mode(int):
    """Permissions in octal: 440, 0440 and 0o440 are the same, and 288, which cannot be octal.

    `docker compose config` prints 0440 as the decimal number 288.
    """

    expected: ClassVar[str] = "permissions in octal such as 0440"
    most: ClassVar[int] = 0o7777
    also_decimal: ClassVar[bool] = True

    @classmethod
    def parse(cls, text: str) -> Self:
        """Number of "0440". ValueError: not a number, or too large."""
        found = _OCTAL.fullmatch(text)
        number = int(found[1], 8) if found else int(text) if cls.also_decimal and _DECIMAL.fullmatch(text) else -1
        if not 0 <= number <= cls.most:
            raise ValueError(f"expected {cls.expected}, got {text[:40]!r}")
        return cls(number)


class Umask(Mode):
    """Permissions that are removed from new files."""

    expected = "permissions in octal such as 022"
    most = 0o777
    also_decimal = False


class UlimitKeys(Keys):
    """One entry of ulimits in its long form."""

    soft: Annotated[Limit, "The limit at the start. A process may raise it up to `hard`."]
    hard: Annotated[Limit, "The maximum of the soft limit."]


class SocketKeys(Keys):
    """One entry of sockets in its long form."""

    listen: Annotated[str, "The address, as in the short form."]
    name: Annotated[str | None, "Its name in `LISTEN_FDNAMES`. Default: the name of the service."] = None
    backlog: Annotated[Backlog | None, "Maximum number of waiting clients. Default `4096`."] = None
    mode: Annotated[Mode | None, "Permissions of a unix socket's file, octal. Default `0666`."] = None
    user: Annotated[str | None, "Owner of a unix socket's file. Default: the user of cohabit."] = None
    group: Annotated[
        str | None,
        "Group of a unix socket's file. Default: that of `user`, otherwise that of cohabit.",
    ] = None


class FileMountKeys(Keys):
    """One entry of a service's secrets or configs in its long form."""

    source: Annotated[str, "Its name in the top-level section."]
    target: Annotated[
        str | None,
        (
            "Path of the file for the service. A relative path is in /run/secrets for a secret, in / for a "
            "config. Default: the name."
        ),
    ] = None
    uid: Annotated[
        str | None,
        "Owner of the file. Default: the service's user; for a config, the user of cohabit.",
    ] = None
    gid: Annotated[str | None, "Group of the file. Default: the service's; for a config, that of cohabit."] = None
    mode: Annotated[
        Mode | None,
        (
            "Permissions of the file, octal. Default `0400`; `0444` for a config and for a secret that "
            "several users share."
        ),
    ] = None


_FOR_THE_ENGINE = frozenset({"driver", "driver_opts", "labels", "name", "template_driver"})


class ExternalKeys(Keys):
    """`external` in its old form."""

    name: Annotated[str | None, "The name that the engine knows."] = None


class SecretKeys(Keys):
    """One entry of the top-level secrets."""

    ignored: ClassVar[frozenset[str]] = _FOR_THE_ENGINE

    file: Annotated[str | None, "A file with the text; the path is relative to the directory of the cohabit file."] = (
        None
    )
    environment: Annotated[
        str | None,
        "A variable of the container with the text. It is removed from the environment of services.",
    ] = None
    external: Annotated[
        bool | ExternalKeys | None, "`true`: the file is provided from outside, for example by the engine."
    ] = None


class ConfigKeys(Keys):
    """One entry of the top-level configs."""

    ignored: ClassVar[frozenset[str]] = _FOR_THE_ENGINE

    file: Annotated[str | None, "A file with the text; the path is relative to the directory of the cohabit file."] = (
        None
    )
    environment: Annotated[str | None, "A variable of the container with the text."] = None
    content: Annotated[str | None, "The text itself."] = None
    external: Annotated[
        bool | ExternalKeys | None, "`true`: the file is provided from outside, for example by the engine."
    ] = None
