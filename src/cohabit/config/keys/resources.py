"""The field table's part about what a service is held to and handed: limits, sockets, secrets and configs.

Types as in fields.py, which these belong to, and with the same page and test. Nothing here reads anything.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Self

from msgspec import Meta, Struct

_WHOLE = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_OCTAL = re.compile(r"(?:0o)?([0-7]{1,5})", re.ASCII)
_LARGEST = 2**63 - 1


class Ranged(int):
    """A whole number between two others."""

    expected: ClassVar[str]
    least: ClassVar[int]
    most: ClassVar[int]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Number of "-5"; ValueError if it is none, or out of range."""
        if not _WHOLE.fullmatch(text) or not cls.least <= int(text) <= cls.most:
            raise ValueError(f"expected {cls.expected}, got {text[:40]!r}")
        return cls(text)


class Nice(Ranged):
    """A nice value: the larger, the more it lets others go first."""

    expected = "a whole number from -20 to 19"
    least, most = -20, 19


class OomScoreAdj(Ranged):
    """How readily the kernel takes it when memory runs out."""

    expected = "a whole number from -1000 to 1000"
    least, most = -1000, 1000


class Limit(Ranged):
    """A resource limit."""

    expected = "a whole number, -1 for unlimited"
    least, most = -1, _LARGEST


class Backlog(Ranged):
    """How many clients may wait."""

    expected = "a whole number from 1 to 65535"
    least, most = 1, 65_535


class Mode(int):
    """Permissions, octal however they are written: 440, 0440, 0o440."""

    expected: ClassVar[str] = "permissions in octal such as 0440"
    most: ClassVar[int] = 0o7777

    @classmethod
    def parse(cls, text: str) -> Self:
        """Number of "0440"; ValueError if it is none."""
        found = _OCTAL.fullmatch(text)
        if not found or int(found[1], 8) > cls.most:
            raise ValueError(f"expected {cls.expected}, got {text[:40]!r}")
        return cls(found[1], 8)


class Umask(Mode):
    """Permissions that new files shall not have."""

    expected = "permissions in octal such as 022"
    most = 0o777


class UlimitKeys(Struct, frozen=True, kw_only=True):
    """One entry of ulimits in its long form."""

    soft: Annotated[Limit, Meta(description="What holds at first; a process may raise it up to `hard`.")]
    hard: Annotated[Limit, Meta(description="What holds in any case.")]


class SocketKeys(Struct, frozen=True, kw_only=True):
    """One entry of sockets in its long form."""

    listen: Annotated[str, Meta(description="The address, as in the short form.")]
    name: Annotated[
        str | None, Meta(description="What `LISTEN_FDNAMES` says of it. Default: the name of the service.")
    ] = None
    backlog: Annotated[Backlog | None, Meta(description="How many clients may wait. Default `4096`.")] = None
    mode: Annotated[Mode | None, Meta(description="Permissions of a unix socket's file, octal. Default `0666`.")] = None
    user: Annotated[str | None, Meta(description="Who owns a unix socket's file. Default: as cohabit itself.")] = None
    group: Annotated[str | None, Meta(description="Its group. Default: the one of `user`, or our own.")] = None


class GrantKeys(Struct, frozen=True, kw_only=True):
    """One entry of a service's secrets or configs in its long form."""

    source: Annotated[str, Meta(description="Its name at the top of the file.")]
    target: Annotated[
        str | None,
        Meta(
            description="The file that the service finds, a path or a name. Default: the name, in /run/secrets for a "
            "secret, in / for a config."
        ),
    ] = None
    uid: Annotated[
        str | None, Meta(description="Who owns it. Default: the service's user; of a config, cohabit's.")
    ] = None
    gid: Annotated[str | None, Meta(description="Its group. Default: the service's; of a config, cohabit's.")] = None
    mode: Annotated[
        Mode | None,
        Meta(
            description="Its permissions, octal. Default `0400`, `0444` for a config and for what several users share."
        ),
    ] = None


_FOR_THE_ENGINE = frozenset({"driver", "driver_opts", "labels", "name", "template_driver"})


class SecretKeys(Struct, frozen=True, kw_only=True):
    """One entry of the top-level secrets."""

    elsewhere: ClassVar[frozenset[str]] = _FOR_THE_ENGINE

    file: Annotated[
        str | None, Meta(description="A file that has its text, relative to the directory of this one.")
    ] = None
    environment: Annotated[
        str | None,
        Meta(description="A variable of the container that has its text; no service is given that variable."),
    ] = None
    external: Annotated[
        bool | None, Meta(description="`true`: somebody else puts the file there, such as the engine.")
    ] = None


class ConfigKeys(Struct, frozen=True, kw_only=True):
    """One entry of the top-level configs."""

    elsewhere: ClassVar[frozenset[str]] = _FOR_THE_ENGINE

    file: Annotated[
        str | None, Meta(description="A file that has its text, relative to the directory of this one.")
    ] = None
    environment: Annotated[str | None, Meta(description="A variable of the container that has its text.")] = None
    content: Annotated[str | None, Meta(description="The text itself.")] = None
    external: Annotated[
        bool | None, Meta(description="`true`: somebody else puts the file there, such as the engine.")
    ] = None
