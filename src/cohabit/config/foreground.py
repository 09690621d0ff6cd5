"""`cohabit up -- COMMAND…`: add the command to the services of the file, as a service in the foreground.

It serves `docker run IMAGE bash` with an image whose ENTRYPOINT is ["cohabit", "up", "--"]: the command has the
container's terminal and standard input, and the container stops when the command ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.config.values.service_name import free_name
from cohabit.plan.draft import Draft, DraftService, SourceLocation
from cohabit.plan.model import Service

if TYPE_CHECKING:
    from collections.abc import Sequence


def add(draft: Draft, command: Sequence[str], *, terminal: bool) -> tuple[Draft, str]:
    """The Draft with the command as a further service, and the name of that service (its program's name).

    terminal: the command gets the terminal. None of the services of the file is essential, and none has the container's
    terminal or standard input.
    """
    location = SourceLocation("cohabit up")
    name = free_name(command[0], draft.services)
    service = Service(
        name, tuple(command), service=name, tty=terminal, stdin=not terminal, console=True, logging=draft.logging
    )
    services = {other: item.replace(essential=False) for other, item in draft.services.items()}
    services[name] = DraftService(service, location, essential=True)
    return draft.replace(services=services, main=name), name
