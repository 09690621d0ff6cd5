"""The tables of keys of `develop`. They are apart, because a file without `develop` does not need them."""

from typing import Annotated, Literal

from cohabit.config.keys.fields import HookKeys
from cohabit.config.keys.table import Keys


class WatchKeys(Keys):
    """One rule."""

    action: Annotated[
        Literal["restart", "sync+restart", "sync", "sync+exec", "rebuild"],
        (
            "What a change causes. `restart`, `sync+restart`: the service is restarted. `sync`: nothing, since the "
            "container engine has the files in place (a bind mount). `sync+exec`, `rebuild`: not supported; a warning "
            "says so."
        ),
    ]
    path: Annotated[str, "The file or directory that is watched, relative to the directory of the cohabit file."]
    target: Annotated[
        str | None,
        "Its place in the container; for `sync+restart` this is watched. Required for the actions with `sync`.",
    ] = None
    ignore: Annotated[
        str | list[str] | None,
        "Patterns, relative to the path, of what is not watched: those of `.dockerignore`, with `**` and `!`.",
    ] = None
    include: Annotated[
        str | list[str] | None, "Patterns of the files that are watched. Default: all that are not ignored."
    ] = None
    exec: Annotated[HookKeys | None, "The command of `sync+exec`, as in a hook."] = None
    initial_sync: Annotated[bool, "For the engine."] = False


class DevelopKeys(Keys):
    """The map `develop`."""

    watch: Annotated[list[WatchKeys] | None, "The rules."] = None
