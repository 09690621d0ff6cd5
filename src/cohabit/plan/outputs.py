"""Whether services and where their output goes fit together: what is not to be seen in one entry of `logging` alone.

Pure. A service with a terminal is left out: it writes to that.
"""

from __future__ import annotations

from cohabit.plan.draft import Problem
from cohabit.plan.model import UNSEEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cohabit.plan.draft import Draft, DraftService
    from cohabit.plan.model import Logging


def unseen(draft: Draft, chosen: Mapping[str, DraftService]) -> Iterator[Problem]:
    """Services whose output never comes by us, though something is to be done with it."""
    for name, item in chosen.items():
        service = item.service
        drivers = [entry.driver for entry in service.logging if entry.driver in UNSEEN]
        if not drivers or service.tty:
            continue
        passed = f"services.{name}.logging: with {drivers[0]} its output does not come by us"
        if service.probe and service.probe.kind == "log":
            yield Problem(
                item.place("logging"), f"{passed}, so its probe LOG cannot look at it (choose another driver)"
            )
        if draft.mask and (service.secrets or service.secret_files):
            text = f"{passed}, so its secrets cannot be hidden in it (choose another driver, or remove x-cohabit: mask)"
            yield Problem(item.place("logging"), text)


def torn_files(draft: Draft, chosen: Mapping[str, DraftService]) -> Iterator[Problem]:
    """Files that several write to, and that each would have rotated in another way."""
    owners = {entry.path: ("x-cohabit", entry) for entry in draft.logging if entry.driver == "file"}
    for name, item in chosen.items():
        for entry in item.service.logging:
            if entry.driver != "file" or item.service.tty:
                continue
            owner, first = owners.setdefault(entry.path, (name, entry))
            if owner != name and _rotation(first) != _rotation(entry):
                text = f"{entry.path} is {owner}'s, too, with another max-size, max-file or compress (write the same)"
                yield Problem(item.place("logging"), f"services.{name}.logging: {text}")


def _rotation(entry: Logging) -> tuple[int, int, bool]:
    return entry.bytes_max, entry.files_max, entry.compress
