"""An Output without an event loop, and services that write to it, for tests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from cohabit.plan.model import Logging, Service
from cohabit.reactor.logs.multiline_assembler import MultilineAssembler
from cohabit.reactor.logs.output import Output
from cohabit.reactor.signals import InheritedSignals

if TYPE_CHECKING:
    import select
    from collections.abc import Sequence

    from cohabit.reactor.logs.sink import Sink


def _no_child(*_: object) -> None:
    raise OSError(11, "Resource temporarily unavailable")


def new_output(epoll: select.epoll, stdout: Sink, stderr: Sink, launch: Any = _no_child) -> Output:
    """An Output with a MultilineAssembler. `launch` starts its children; by default it fails for lack of resources."""
    output = Output(epoll, stdout, stderr)

    def say(level: str, service: str, text: str) -> None:
        output.say(level, "cohabit", f"{service}: {text}")

    output.destinations.launch = launch
    output.multiline = MultilineAssembler(
        InheritedSignals(frozenset(), frozenset()), dict(os.environ), epoll, output, launch=launch, say=say
    )
    return output


def writing(name: str, *logging: Logging | str, **more: Any) -> Service:
    """A service with these logging drivers, by name or as entries; `prefix` if none is given."""
    entries: Sequence[Logging] = [Logging(one) if isinstance(one, str) else one for one in logging]
    return Service(name, ("true",), logging=tuple(entries) or (Logging(),), **more)
