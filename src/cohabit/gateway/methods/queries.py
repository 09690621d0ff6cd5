"""The namespace `supervisor`: what asks and changes nothing."""

from __future__ import annotations

import os

from cohabit.gateway.gateway import STATE_NAMES
from cohabit.gateway.methods.registry import method

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.gateway.gateway import Gateway

API_VERSION = "3.0"
SUPERVISOR_VERSION = "4.3.0"  # whose interface this is


@method("supervisor.getAPIVersion supervisor.getVersion", "string")
def get_api_version(gateway: Gateway) -> str:
    """The version of this interface."""
    gateway.check_running()
    return API_VERSION


@method("supervisor.getSupervisorVersion", "string")
def get_supervisor_version(gateway: Gateway) -> str:
    """The version of supervisord that answers as cohabit does."""
    gateway.check_running()
    return SUPERVISOR_VERSION


@method("supervisor.getIdentification", "string")
def get_identification(gateway: Gateway) -> str:
    """The identifier in the section [supervisord]."""
    gateway.check_running()
    return gateway.active.newest.identifier


@method("supervisor.getState", "struct")
def get_state(gateway: Gateway) -> dict[str, Any]:
    """The state of the whole: statecode and statename."""
    gateway.check_running()
    return {"statecode": gateway.state, "statename": STATE_NAMES[gateway.state]}


@method("supervisor.getPID", "int")
def get_pid(gateway: Gateway) -> int:
    """The pid of cohabit."""
    gateway.check_running()
    return os.getppid()


@method("supervisor.getProcessInfo", "struct", "string name")
def get_process_info(gateway: Gateway, name: str) -> dict[str, Any]:
    """State, times and log files of a process."""
    gateway.check_running()
    return gateway.info(gateway.active.single(name))


@method("supervisor.getAllProcessInfo", "array")
def get_all_process_info(gateway: Gateway) -> list[dict[str, Any]]:
    """The same of all processes, in the order of their names."""
    gateway.check_running()
    return [gateway.info(one) for one in gateway.active.processes(lexical=True)]


@method("supervisor.getAllConfigInfo", "array")
def get_all_config_info(gateway: Gateway) -> list[dict[str, Any]]:
    """The options of all processes of the file as it was read last; inuse: whether their group is active."""
    gateway.check_running()
    groups = gateway.active.groups
    infos = [
        {**process.info, "inuse": group.name in groups}
        for group in gateway.active.newest.groups
        for process in group.processes
    ]
    return sorted(infos, key=lambda info: str(info["name"]))
