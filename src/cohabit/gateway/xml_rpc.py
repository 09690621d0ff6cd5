"""XML-RPC requests to values, and values to answers (xmlrpc.com/spec.md), with the standard library.

A document with a DOCTYPE is refused: without it there are no entities, whose expansion could fill the memory or read
files (docs/adr/0031).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.parsers import expat
from xmlrpc import client

from cohabit.gateway.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Characters that XML 1.0 does not permit, such as the escape sequences of coloured logs.
_NOT_IN_XML = dict.fromkeys(
    [*range(9), 11, 12, *range(14, 32), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF], "\N{REPLACEMENT CHARACTER}"
)


class InvalidRequestError(Exception):
    """The text is not a request of XML-RPC."""


def parse(data: bytes) -> tuple[str, tuple[Any, ...]]:
    """The name of the method, and the parameters. Raises InvalidRequestError."""
    target = client.Unmarshaller()
    target.xml("", None)  # the text is already decoded
    parser = expat.ParserCreate()
    parser.StartElementHandler = target.start
    parser.EndElementHandler = target.end
    parser.CharacterDataHandler = target.data
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(data, True)
        if target.getmethodname() is None:
            raise InvalidRequestError("it has no methodName")
        return str(target.getmethodname()), _parameters(target)
    except (expat.ExpatError, client.Error, ValueError, TypeError, LookupError, AttributeError) as error:
        raise InvalidRequestError(str(error)) from error


def _refuse(*_: object) -> None:
    raise ValueError("it has a DOCTYPE")


def _parameters(target: client.Unmarshaller) -> tuple[Any, ...]:
    return tuple(map(_plain, target.close()))


def _plain(value: Any) -> Any:
    """Binary data as bytes."""
    return value.data if isinstance(value, client.Binary) else value


def answer(call: Callable[[str, Sequence[Any]], Any], name: str, values: Sequence[Any]) -> bytes:
    """Carry out a request; returns its answer, or its fault, as a document."""
    try:
        text = client.dumps((_clean(call(name, values)),), methodresponse=True)
    except Fault as fault:
        text = client.dumps(client.Fault(fault.code, str(_clean(fault.text))), methodresponse=True)
    return text.encode()


def _clean(value: Any) -> Any:
    """The value without characters that XML does not permit."""
    if isinstance(value, str):
        return value if value.isprintable() else value.translate(_NOT_IN_XML)
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value]
    return value
