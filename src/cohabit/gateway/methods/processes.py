"""The namespace `supervisor`: start, stop, signal, and what the clients say to processes."""

from __future__ import annotations

from cohabit.errors import UsageError
from cohabit.gateway.faults import BAD_SIGNAL, NOT_RUNNING, Fault
from cohabit.gateway.info import RUNNING, SIGNALLABLE
from cohabit.gateway.methods.registry import method
from cohabit.gateway.waiting import result, results, single, start, stop
from cohabit.units import parse_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from cohabit.gateway.configuration import Process
    from cohabit.gateway.gateway import Gateway


@method("supervisor.startProcess", "boolean", "string name", "boolean wait?")
def start_process(gateway: Gateway, name: str, wait: bool = True) -> Any:
    """Start a process, or `group:*`. wait: until it is RUNNING."""
    gateway.check_running()
    group, process = gateway.active.process(name)
    if process is None:
        return start_process_group(gateway, group.name, wait)
    return single(start(gateway, [process], wait=wait))


@method("supervisor.startProcessGroup", "array", "string name", "boolean wait?")
def start_process_group(gateway: Gateway, name: str, wait: bool = True) -> list[dict[str, Any]]:
    """Start those processes of a group that do not run."""
    gateway.check_running()
    return results(
        start(gateway, gateway.in_states(gateway.active.group(name).processes, RUNNING, others=True), wait=wait)
    )


@method("supervisor.startAllProcesses", "array", "boolean wait?")
def start_all_processes(gateway: Gateway, wait: bool = True) -> list[dict[str, Any]]:
    """Start all processes that do not run."""
    gateway.check_running()
    return results(start(gateway, gateway.in_states(gateway.active.processes(), RUNNING, others=True), wait=wait))


@method("supervisor.stopProcess", "boolean", "string name", "boolean wait?")
def stop_process(gateway: Gateway, name: str, wait: bool = True) -> Any:
    """Stop a process, or `group:*`. wait: until it has ended."""
    gateway.check_running()
    group, process = gateway.active.process(name)
    if process is None:
        return stop_process_group(gateway, group.name, wait)
    return single(stop(gateway, [process], wait=wait))


@method("supervisor.stopProcessGroup", "array", "string name", "boolean wait?")
def stop_process_group(gateway: Gateway, name: str, wait: bool = True) -> list[dict[str, Any]]:
    """Stop the running processes of a group."""
    gateway.check_running()
    return results(stop(gateway, gateway.in_states(gateway.active.group(name).processes, RUNNING), wait=wait))


@method("supervisor.stopAllProcesses", "array", "boolean wait?")
def stop_all_processes(gateway: Gateway, wait: bool = True) -> list[dict[str, Any]]:
    """Stop all running processes."""
    gateway.check_running()
    return results(stop(gateway, gateway.in_states(gateway.active.processes(), RUNNING), wait=wait))


@method("supervisor.signalProcess", "boolean", "string name", "string signal")
def signal_process(gateway: Gateway, name: str, signal: str) -> Any:
    """Send a signal (`HUP` or `1`) to a process, or to `group:*`."""
    gateway.check_running()
    group, process = gateway.active.process(name)
    if process is None:
        return signal_process_group(gateway, group.name, signal)
    _send(gateway, process, _number(signal))
    return True


@method("supervisor.signalProcessGroup", "array", "string name", "string signal")
def signal_process_group(gateway: Gateway, name: str, signal: str) -> list[dict[str, Any]]:
    """Send a signal to the processes of a group."""
    gateway.check_running()
    return _send_all(gateway, gateway.active.group(name).processes, signal)


@method("supervisor.signalAllProcesses", "array", "string signal")
def signal_all_processes(gateway: Gateway, signal: str) -> list[dict[str, Any]]:
    """Send a signal to all processes."""
    gateway.check_running()
    return _send_all(gateway, gateway.active.processes(), signal)


def _number(signal: str) -> int:
    try:
        return parse_signal(str(signal))
    except ValueError:
        raise Fault(BAD_SIGNAL, str(signal)) from None


def _send(gateway: Gateway, process: Process, number: int) -> None:
    if gateway.state_of(process).state not in SIGNALLABLE:
        raise Fault(NOT_RUNNING, process.namespec)
    try:
        gateway.client().signal(number, process.namespec, main_only=True)
    except UsageError:
        raise Fault(BAD_SIGNAL, str(number)) from None


def _send_all(gateway: Gateway, processes: Sequence[Process], signal: str) -> list[dict[str, Any]]:
    found = []
    for process in gateway.in_states(processes, SIGNALLABLE):
        fault = None
        try:
            _send(gateway, process, _number(signal))
        except Fault as error:
            fault = error
        found.append(result(process, fault))
    return found
