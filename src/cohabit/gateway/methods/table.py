"""All methods: the modules that register them, and the call of one by its name."""

from __future__ import annotations

from cohabit.gateway.faults import UNKNOWN_METHOD, Fault
from cohabit.gateway.methods import configuration, logs, processes, queries, system
from cohabit.gateway.methods.registry import METHODS, call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from cohabit.gateway.gateway import Gateway

MODULES = (configuration, logs, processes, queries, system)
_SUPERVISOR = "supervisor."


def call_published(gateway: Gateway, name: str, values: Sequence[Any]) -> Any:
    """Call a method for a client. Raises Fault.

    Without [rpcinterface:supervisor] in the file there is no namespace `supervisor`.
    """
    if name.startswith(_SUPERVISOR) and not gateway.active.newest.supervisor_namespace:
        raise Fault(UNKNOWN_METHOD)
    return call(gateway, name, values)


__all__ = ["METHODS", "MODULES", "call_published"]
