"""`cohabit up -- COMMAND…`: one more service beside those of the file, in the foreground.

What `docker run IMAGE bash` expects of an image whose ENTRYPOINT is ["cohabit", "up", "--"]: the command has the
container's terminal and standard input, and the container lives exactly as long as it does.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from cohabit.plan.draft import Draft, DraftService, SourceLocation
from cohabit.plan.model import Service

if TYPE_CHECKING:
    from collections.abc import Sequence

_NO_NAME = re.compile(r"[^a-zA-Z0-9._-]+", re.ASCII)
_RESERVED = "cohabit"


def add(draft: Draft, command: Sequence[str], *, terminal: bool) -> tuple[Draft, str]:
    """The Draft with the command as a service named like its program, and that name.

    terminal: it gets the terminal. Whichever service of the file wanted that gives way, and none of them is
    essential: the command is what the container is for.
    """
    where = SourceLocation("cohabit up")
    name = _free_name(command[0], draft)
    service = Service(name, tuple(command), service=name, tty=terminal, stdin=not terminal, logging=draft.logging)
    services = {
        other: item.replace(service=item.service.replace(tty=False, stdin=False), essential=False)
        for other, item in draft.services.items()
    }
    services[name] = DraftService(service, where, essential=True)
    return draft.replace(services=services), name


def _free_name(program: str, draft: Draft) -> str:
    stem = _NO_NAME.sub("-", os.path.basename(program)).strip("-.") or "command"
    taken = {_RESERVED, *draft.services}
    numbered = (stem if number == 1 else f"{stem}-{number}" for number in range(1, len(taken) + 2))
    return next(name for name in numbered if name not in taken)
