"""The program: serve the sockets that process 1 has opened for the server sections of supervisord.conf."""

from __future__ import annotations

import os
import sys
import threading

_PACKAGE_PARENT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if _PACKAGE_PARENT not in sys.path:
    sys.path.append(_PACKAGE_PARENT)

from cohabit.gateway.configuration import Active, read_configuration  # noqa: E402 - as above
from cohabit.gateway.gateway import RESTARTING, RUNNING, SHUTDOWN, Gateway  # noqa: E402
from cohabit.gateway.http import Site, listening_sockets  # noqa: E402
from cohabit.gateway.info import RUNNING as ALIVE  # noqa: E402
from cohabit.gateway.listeners.dispatcher import Dispatcher  # noqa: E402
from cohabit.gateway.listeners.payloads import group_change  # noqa: E402
from cohabit.gateway.listeners.sources import Sources  # noqa: E402
from cohabit.gateway.mirror import Mirror  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.client import Client
    from cohabit.gateway.configuration import Configuration, Group


CHANNEL = "listeners"  # the name of the socket on which process 1 passes the pipes of event listeners
STOPPING, STOPPED = "STOPPING", "STOPPED"  # STOPPED: on request
# The kernel closes the pipes of a process before it reports its end, so a listener may have ended before it.
_CLOSING_SECONDS = 1.0
_ENDS = frozenset({STOPPED, "EXITED", "FATAL", "BACKOFF"})


def main() -> None:
    """Serve until the end."""
    arguments = sys.argv[1:]

    def read() -> Configuration:
        return read_configuration(arguments)

    first = read()
    mirror = Mirror()
    gateway = Gateway(Active(first), mirror, read)
    events = mirror.follow(gateway.client(), recorded=True)
    seen_until = _last_end(gateway.client())
    sockets = listening_sockets(os.environ["LISTEN_FDNAMES"].split(":"))
    dispatcher = Dispatcher(first.listeners, first.identifier, sockets[CHANNEL])
    sources = Sources(dispatcher, gateway.active)

    def group_changed(group: Group, added: bool) -> None:
        if group.pool is not None:
            dispatcher.change(group.pool, added, sources.changed)
        dispatcher.post(group_change(group.name, added=added))

    gateway.post, gateway.group_changed = dispatcher.post, group_changed
    connected = dispatcher.connected()
    dispatcher.start()
    if seen_until:
        _restart_listeners(gateway, connected, seen_until)
    sources.start()
    for name in gateway.active.groups:
        gateway.post(group_change(name, added=True))
    gateway.post(("SUPERVISOR_STATE_CHANGE_RUNNING", ""))
    for server in first.servers:
        threading.Thread(target=Site(gateway, server).serve, args=(sockets[server.name],), daemon=True).start()
    for event in events:
        if not event.service and event.event == "stopping":
            gateway.state = SHUTDOWN
        elif not event.service and event.event == "reload failed" and gateway.state == RESTARTING:
            gateway.state = RUNNING
        if (event.time or 0.0) > seen_until:
            sources.happened(event)


def _restart_listeners(gateway: Gateway, connected: set[str], since: float) -> None:
    """Start those again that have lost their pipes with the gateway before this one, or have ended because of that."""
    lost = []
    for one in gateway.active.processes():
        state = gateway.state_of(one)
        listens = gateway.active.group(one.group).pool is not None and one.namespec not in connected
        ended = state.state != STOPPED and state.stopped >= since - _CLOSING_SECONDS
        if listens and (state.state in ALIVE or ended):
            lost.append(one.namespec)
    if lost:
        gateway.client().restart(*lost, wait=False)


def _last_end(client: Client) -> float:
    """When a gateway before this one ended (Unix seconds): listeners got the events until then. 0 for never."""
    own = next((one for one in client.status().services if one.pid == os.getpid()), None)
    ended = 0.0
    for event in own.history if own is not None else ():
        if event.event == STOPPING or (event.event in _ENDS and event.from_state != STOPPING):
            ended = event.time or 0.0
    return ended


if __name__ == "__main__":
    main()
