"""The registry of methods: what system.listMethods lists."""

from __future__ import annotations

from cohabit.gateway.faults import INCORRECT_PARAMETERS, UNKNOWN_METHOD, Fault
from cohabit.plan.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from cohabit.gateway.gateway import Gateway

    Function = Callable[..., Any]

_OPTIONAL = "?"
# The types of XML-RPC that a parameter may have. supervisord converts numbers that come as text.
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str, bytes),
    "int": (int, str),
    "boolean": (bool, int),
    "array": (list,),
}


class Method(Record):
    """One method. function: called with the Gateway and the parameters.

    parameters: "TYPE NAME", an optional one with a "?" at the end.
    """

    name: str
    returns: str
    parameters: tuple[str, ...]
    function: Callable[..., Any]

    @property
    def signature(self) -> list[str]:
        """The type of the result, and those of the parameters."""
        return [self.returns, *(one.partition(" ")[0] for one in self.parameters)]

    @property
    def help(self) -> str:
        """What it does, with supervisord's tags for parameters and result."""
        tags = [f"@param {one.removesuffix(_OPTIONAL)}" for one in self.parameters]
        return "\n".join([self.function.__doc__ or "", "", *tags, f"@return {self.returns}"])

    def call(self, gateway: Gateway, values: Sequence[Any]) -> Any:
        """Call it. Raises Fault."""
        required = sum(not one.endswith(_OPTIONAL) for one in self.parameters)
        if not required <= len(values) <= len(self.parameters):
            raise Fault(INCORRECT_PARAMETERS)
        for value, one in zip(values, self.parameters, strict=False):
            if not isinstance(value, _TYPES[one.partition(" ")[0]]):
                raise Fault(INCORRECT_PARAMETERS)
        return self.function(gateway, *values)


METHODS: dict[str, Method] = {}


def method(names: str, returns: str, *parameters: str) -> Callable[[Function], Function]:
    """Register a function under its names, separated by spaces."""

    def register(function: Function) -> Function:
        for name in names.split():
            METHODS[name] = Method(name, returns, parameters, function)
        return function

    return register


def call(gateway: Gateway, name: str, values: Sequence[Any]) -> Any:
    """Call a method by its name. Raises Fault."""
    found = METHODS.get(name)
    if found is None:
        raise Fault(UNKNOWN_METHOD)
    return found.call(gateway, values)
