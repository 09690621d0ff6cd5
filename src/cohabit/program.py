"""How our own programs are started. A build without files, or with another interpreter, changes this module only.

The programs that start before it can be imported (bootstrap.py, isolation.py) know only how they were started
themselves.
"""

from __future__ import annotations

import marshal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PACKAGE = __file__.rpartition("/")[0]  # may be relative, since process 1 never changes its working directory
_ISOLATED = ("-I",)
_WITHOUT_SITE = ("-I", "-S")  # no third-party libraries: faster
_MARSHAL_VERSION = 2  # every Python reads it; nothing of a later version is needed
_PROGRAMS = {
    "cohabit": (_WITHOUT_SITE, "__main__.py"),
    "loader": (_WITHOUT_SITE, "config/__main__.py"),  # config/loader.py finds its libraries
    "doctor": (_ISOLATED, "doctor/__main__.py"),
    "gateway": (_WITHOUT_SITE, "gateway/__main__.py"),
    "supervisord sections": (_WITHOUT_SITE, "config/supervisord_sections.py"),
    "env file": (_WITHOUT_SITE, "config/start_variables.py"),
    "clock": (_ISOLATED, "tasks/clock.py"),
    "compress": (_WITHOUT_SITE, "tasks/compress.py"),
    "follow": (_WITHOUT_SITE, "tasks/follow.py"),
    "log writer": (_WITHOUT_SITE, "tasks/log_writer.py"),
    "match": (_WITHOUT_SITE, "tasks/match.py"),
    "multiline": (_WITHOUT_SITE, "tasks/multiline.py"),
    "resolve": (_WITHOUT_SITE, "tasks/resolve.py"),
    "watcher": (_WITHOUT_SITE, "tasks/watcher.py"),
    "write input": (_WITHOUT_SITE, "tasks/write_input.py"),
}


def program(name: str, *arguments: str, options: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the command that starts one of our programs; its first word is the file to execute.

    name: "cohabit", or that of a side program. options: of the interpreter (`-X name=value`), for "cohabit".
    """
    flags, file = _PROGRAMS[name]
    return (sys.executable, *flags, *options, f"{PACKAGE}/{file}", *arguments)


def packed(values: Any) -> str:
    """Return plain values as one argument for a program of ours, which reads it with unpacked()."""
    return marshal.dumps(values, _MARSHAL_VERSION).hex()


def unpacked(argument: str) -> Any:
    """Return the values of packed(). Nothing in them is executed, and marshal needs no import."""
    return marshal.loads(bytes.fromhex(argument))  # noqa: S302 - written by a program of ours
