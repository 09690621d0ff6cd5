"""The namespace `system`: introspection, and several calls in one."""

from __future__ import annotations

from cohabit.gateway.faults import FAILED, INCORRECT_PARAMETERS, SIGNATURE_UNSUPPORTED, Fault
from cohabit.gateway.methods.registry import METHODS, Method, call, method

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.gateway.gateway import Gateway

_MULTICALL = "system.multicall"


def _method(name: str) -> Method:
    found = METHODS.get(name)
    if found is None:
        raise Fault(SIGNATURE_UNSUPPORTED)
    return found


@method("system.listMethods", "array")
def list_methods(_gateway: Gateway) -> list[str]:
    """The names of all methods."""
    return sorted(METHODS)


@method("system.methodHelp", "string", "string name")
def method_help(_gateway: Gateway, name: str) -> str:
    """What a method does."""
    return _method(name).help


@method("system.methodSignature", "array", "string name")
def method_signature(_gateway: Gateway, name: str) -> list[str]:
    """The type of the result of a method, and those of its parameters."""
    return _method(name).signature


@method(_MULTICALL, "array", "array calls")
def multicall(gateway: Gateway, calls: list[Any]) -> list[Any]:
    """Carry out calls ({methodName, params}) one after another. A failed one gives {faultCode, faultString}."""
    return [_one(gateway, one) for one in calls]


def _one(gateway: Gateway, one: Any) -> Any:
    try:
        return call(gateway, _name(one), one.get("params", []))
    except Fault as fault:
        return {"faultCode": fault.code, "faultString": fault.text}
    except Exception as error:  # noqa: BLE001 - the other calls still have their answers
        return {"faultCode": FAILED, "faultString": f"FAILED: {type(error)}:{error}"}


def _name(one: Any) -> str:
    name = one.get("methodName") if isinstance(one, dict) else None
    if name is None:
        raise Fault(INCORRECT_PARAMETERS, "No methodName")
    if name == _MULTICALL:
        raise Fault(INCORRECT_PARAMETERS, "Recursive system.multicall forbidden")
    return str(name)
