"""The variables from the env files that services read at their starts (`read: start`).

A side program reads the files (config/start_variables.py): a file system may not answer, and the parser is not for
process 1. It has a limit of memory, as each side program, and one of time. The values of the last start are kept,
because probes, hooks and `cohabit exec` have the environment of the command.
"""

from __future__ import annotations

import marshal
import time

from cohabit.errors import EXIT_BUG, EXIT_CANNOT_RUN, EXIT_KILLED, EXIT_SYSTEM
from cohabit.plan.reason import SKIPPED, STEP_FAILED, Reason
from cohabit.program import program
from cohabit.reactor.side_process import SideProcess
from cohabit.units import describe_exit, format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.plan.model import Service
    from cohabit.reactor.context import Context

_KEY = "\0env file"  # a child's key: the service's name, this and a number, since a killed one may not be reaped yet
_SECONDS_MAX = 10.0
_MARSHAL_VERSION = 2


def _owner(service: Service) -> int:
    """The user who may own the files beside root and cohabit's: the only one whose processes get the values.

    None if these have capabilities: other processes of the user could use them through LD_PRELOAD.
    """
    users = {hook.user or service.user for hook in (*service.post_start, *service.pre_stop, *service.post_stop)}
    users |= {service.user}
    uids = {user.uid if user else 0 for user in users}
    return uids.pop() if len(uids) == 1 and not service.limits.ambient else 0


class _Reading:
    """One read for one start. read(): it has succeeded; failed(why): it has not."""

    __slots__ = ("answer", "child", "failed", "read")

    def __init__(self, child: SideProcess, read: Callable[[], None], failed: Callable[[Reason], None]) -> None:
        self.child = child
        self.answer = b""
        self.read = read
        self.failed = failed


class StartVariables:
    """values: by service, those of its last start."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._readings: dict[str, _Reading] = {}
        self.values: dict[str, dict[str, str]] = {}

    def read(self, service: Service, read: Callable[[], None], failed: Callable[[Reason], None]) -> None:
        """Read the files of a service. One of the two functions is called later. Raises OSError: no room.

        A service whose conditions do not hold is skipped before the files are read; after a pre_start hook they do.
        """
        name = service.name
        self.forget(name)

        def on_data(data: bytes) -> None:
            reading.answer += data

        def on_exit(code: int, why: str) -> None:
            if self._readings.get(name) is reading:
                self._ended(service, code, why)

        child = SideProcess(self._context, "env file", f"{name}{_KEY}{time.monotonic_ns()}", on_data, on_exit)
        reading = _Reading(child, read, failed)
        child.start(program("env file"))
        self._readings[name] = reading
        conditions = () if service.pre_start else service.conditions
        request = {
            "files": [(each.path, each.required, each.raw) for each in service.env_files],
            "own": service.environment,
            "user": _owner(service),
            "conditions": [(each.kind, each.text, each.negated) for each in conditions],
        }
        child.input.write(marshal.dumps(request, _MARSHAL_VERSION))
        child.input.end()
        self._context.poller.call_at((_KEY, name), time.monotonic() + _SECONDS_MAX, lambda: self._too_late(name))

    def forget(self, name: str) -> None:
        """Forget the values of a service."""
        self.values.pop(name, None)

    def cancel(self, name: str) -> None:
        """Give up reading the files of a service; neither function is called."""
        reading = self._readings.pop(name, None)
        if reading is not None:
            self._context.poller.cancel((_KEY, name))
            reading.child.kill()

    def _too_late(self, name: str) -> None:
        """It may be blocked in the kernel, so its end is not waited for."""
        reading = self._readings[name]
        self.cancel(name)
        waited = format_duration(_SECONDS_MAX)
        reading.failed(Reason(STEP_FAILED, EXIT_SYSTEM, detail=f"read its env_file: no answer within {waited}"))

    def _ended(self, service: Service, code: int, why: str) -> None:
        reading = self._readings.pop(service.name)
        self._context.poller.cancel((_KEY, service.name))
        if why or code:
            detail = f"read its env_file: the program for it {why or f'ended with {describe_exit(code)}'}"
            killed = code == EXIT_KILLED  # by the kernel without memory, or by a user: not a bug
            reading.failed(Reason(STEP_FAILED, EXIT_SYSTEM if why or killed else EXIT_BUG, detail=detail))
            return
        answer = marshal.loads(reading.answer)  # noqa: S302 - from our own program, never from a user
        if "skipped" in answer:
            reading.failed(Reason(SKIPPED, detail=answer["skipped"]))
        elif "problem" in answer:
            reading.failed(Reason(STEP_FAILED, EXIT_CANNOT_RUN, detail=answer["problem"]))
        else:
            for warning in answer["warnings"]:
                self._context.log("warning", service.name, warning)
            self.values[service.name] = answer["values"]
            reading.read()
