"""The namespace `supervisor`: reread, add and remove groups, restart and end the whole."""

from __future__ import annotations

import os
import signal
import threading

from cohabit.errors import CohabitError
from cohabit.gateway.configuration import UnreadableError
from cohabit.gateway.faults import CANT_REREAD, FAILED, STILL_RUNNING, Fault
from cohabit.gateway.gateway import RESTARTING, SHUTDOWN
from cohabit.gateway.info import STOPPED
from cohabit.gateway.methods.registry import method
from cohabit.gateway.waiting import start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.gateway.configuration import Group
    from cohabit.gateway.gateway import Gateway


@method("supervisor.reloadConfig", "array")
def reload_config(gateway: Gateway) -> list[list[list[str]]]:
    """Read the file again and change nothing; returns the names of added, changed and removed groups."""
    gateway.check_running()
    try:
        newest = gateway.read()
    except UnreadableError as error:
        raise Fault(CANT_REREAD, str(error)) from None
    return [list(gateway.active.renew(newest))]


@method("supervisor.addProcessGroup", "boolean", "string name")
def add_process_group(gateway: Gateway, name: str) -> bool:
    """Make a group of the file active, and start its processes that have autostart."""
    gateway.check_running()
    group = gateway.active.add(name)
    gateway.group_changed(group, True)
    try:
        gateway.client().reload()
        _autostart(gateway, group)
    except CohabitError as error:
        gateway.active.remove(name)
        gateway.group_changed(group, False)
        raise Fault(FAILED, str(error)) from None
    return True


@method("supervisor.removeProcessGroup", "boolean", "string name")
def remove_process_group(gateway: Gateway, name: str) -> bool:
    """Make a group inactive whose processes are all stopped."""
    gateway.check_running()
    group = gateway.active.group(name)
    if gateway.in_states(group.processes, STOPPED, others=True):
        raise Fault(STILL_RUNNING, name)
    gateway.active.remove(name)
    if all(one.name != name for one in gateway.active.newest.groups):
        gateway.client().reload()
    gateway.group_changed(group, False)
    return True


@method("supervisor.shutdown", "boolean")
def shutdown(gateway: Gateway) -> bool:
    """Stop everything, and cohabit with it."""
    gateway.check_running()
    gateway.state = SHUTDOWN
    gateway.client().down()
    return True


@method("supervisor.restart", "boolean")
def restart(gateway: Gateway) -> bool:
    """Stop everything, read the file again, and start everything: this process, too."""
    gateway.check_running()
    threading.Thread(target=_restart, args=(gateway,), daemon=True).start()
    gateway.state = RESTARTING
    return True


def _restart(gateway: Gateway) -> None:
    """As SIGHUP does; servers and pools are those of the newest file then."""
    try:
        gateway.read()
        os.kill(os.getppid(), signal.SIGHUP)
    except UnreadableError:  # as supervisord does, which ends with code 2 then
        gateway.client().down()
        gateway.close()


def _autostart(gateway: Gateway, group: Group) -> None:
    """Start those processes of a group that have autostart and do not run."""
    for _ in start(gateway, [one for one in group.processes if one.info["autostart"]], wait=False):
        pass
