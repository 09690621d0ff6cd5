"""An Output without an event loop, and services that write to it, for tests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from cohabit.plan.model import Logging, Service
from cohabit.reactor.logs.output import Output
from cohabit.reactor.logs.sink import Sink
from unit.reactor_world import context_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cohabit.reactor.poller import Poller


def new_output(poller: Poller, stdout: Sink, stderr: Sink, **given: Any) -> Output:
    """An Output. run_program starts its children; by default it fails for lack of resources."""

    def log(level: str, service: str, text: str) -> None:
        output.say(level, "cohabit", f"{service}: {text}")

    output = Output(context_of(poller, log=log, **given), stdout, stderr)
    return output


def close_output(output: Output, *given: int) -> None:
    """Close the descriptors that an Output has opened for itself. given: those that its sinks write to."""
    sinks = [destination.sink for destination in output.destinations.containers.values()]
    for fd in {*output.reader.streams, *(sink._fd for sink in sinks if isinstance(sink, Sink))} - {*given}:
        os.close(fd)
    output.reader._sources.close()


def writing(name: str, *logging: Logging | str, **more: Any) -> Service:
    """A service with these logging drivers, by name or as entries; `prefix` if none is given."""
    entries: Sequence[Logging] = [Logging(one) if isinstance(one, str) else one for one in logging]
    return Service(name, ("true",), logging=tuple(entries) or (Logging(),), **more)
