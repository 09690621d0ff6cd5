"""The program: serve the sockets that process 1 has opened for the server sections of supervisord.conf."""

from __future__ import annotations

import os
import sys
import threading

_PACKAGE_PARENT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if _PACKAGE_PARENT not in sys.path:
    sys.path.append(_PACKAGE_PARENT)

from cohabit.gateway.configuration import Active, read_configuration  # noqa: E402 - as above
from cohabit.gateway.gateway import SHUTDOWN, Gateway  # noqa: E402
from cohabit.gateway.http import Site, listening_sockets  # noqa: E402
from cohabit.gateway.listeners.dispatcher import Dispatcher  # noqa: E402
from cohabit.gateway.listeners.payloads import group_change  # noqa: E402
from cohabit.gateway.listeners.sources import Sources  # noqa: E402
from cohabit.gateway.mirror import Mirror  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.api.status import Event
    from cohabit.client import Client
    from cohabit.gateway.configuration import Configuration


CHANNEL = "listeners"  # the name of the socket on which process 1 passes the pipes of event listeners


def main() -> None:
    """Serve until the end."""
    arguments = sys.argv[1:]

    def read() -> Configuration:
        return read_configuration(arguments)

    first = read()
    mirror = Mirror()
    gateway = Gateway(Active(first), mirror, read)
    events = mirror.follow(gateway.client(), recorded=bool(first.listeners) and _is_first_run(gateway.client()))
    sockets = listening_sockets(os.environ["LISTEN_FDNAMES"].split(":"))
    happened: Callable[[Event], None] = _ignore
    if first.listeners:
        dispatcher = Dispatcher(first.listeners, first.identifier, sockets[CHANNEL])
        sources = Sources(dispatcher, gateway.active.processes())
        gateway.post, happened = dispatcher.post, sources.happened
        dispatcher.start()
        sources.start()
        for name in gateway.active.groups:
            gateway.post(group_change(name, added=True))
        gateway.post(("SUPERVISOR_STATE_CHANGE_RUNNING", ""))
    for server in first.servers:
        threading.Thread(target=Site(gateway, server).serve, args=(sockets[server.name],), daemon=True).start()
    for event in events:
        if not event.service and event.event == "stopping":
            gateway.state = SHUTDOWN
        happened(event)


def _is_first_run(client: Client) -> bool:
    """Whether this is not a restart of the gateway, before which listeners got events already."""
    return all(one.starts <= 1 for one in client.status().services if one.pid == os.getpid())


def _ignore(_event: Event) -> None:
    """There are no event listeners."""


if __name__ == "__main__":
    main()
