"""The registry of readers, and the way from a request to a Draft: find the input, choose its reader, read.

A reader is a module with `read(source, environ) -> Draft`. Problems of the input are diagnostics of the Draft; a text
that cannot be parsed at all is a SyntaxProblemError.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cohabit.config.readers.find import ARGUMENTS, NoInputError, find
from cohabit.plan.draft import Draft, located
from cohabit.plan.node import SyntaxProblemError
from cohabit.plan.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_HEAD = 1024  # characters of a text that decide on its format
_SECTIONS = ("[supervisord]", "[unix_http_server]", "[inet_http_server]", "[program:")


class Reader(Record):
    """A format. can_read(path, head): whether an input with this beginning has it; ARGUMENTS stands for a path.

    name: with which a Source can demand it. module: imported when the reader is used, since a parser takes longer to
    import than a file to read.
    """

    module: str
    can_read: Callable[[str, str], bool]
    name: str = ""


def _is_supervisord(path: str, head: str) -> bool:
    """Whether a file is a supervisord.conf. Its sections are no YAML, and have other names than tables of TOML."""
    return path.endswith(".conf") or any(line.startswith(_SECTIONS) for line in head.splitlines())


# The first that can read an input reads it.
READERS = [
    Reader("cohabit.config.readers.commands", lambda path, _: path == ARGUMENTS),
    Reader("cohabit.config.readers.supervisord", _is_supervisord, "supervisord"),
    Reader("cohabit.config.readers.compose", lambda _path, _head: True),
]


def read(request: Mapping[str, Any], environ: Mapping[str, str]) -> Draft:
    """The Draft of the input that a request names. The content of the input never raises.

    Raises ModuleNotFoundError: the reader needs a library that is not installed.
    """
    try:
        source = find(request, environ)
        head = source.text[:_HEAD]
        named = (one for one in READERS if source.format and one.name == source.format)
        reader = next(named, None) or next(one for one in READERS if one.can_read(source.path, head))
        try:
            draft: Draft = import_module(reader.module).read(source, environ)
        except SyntaxProblemError as error:
            where = located(source.name, error.line)
            raise NoInputError(where, f"cannot read {where.file}: {error}") from error
    except NoInputError as error:
        return Draft(error.where, {}, problems=(error.diagnostic,))
    return draft
