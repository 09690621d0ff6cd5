"""Checks of `logging` that need more than one entry: drivers against services, and files against files. Pure.

A service with a terminal writes to the terminal, so its `logging` is not checked.
"""

from __future__ import annotations

from cohabit.plan.draft import Diagnostic
from cohabit.plan.model import UNSEEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cohabit.plan.draft import Draft, DraftService, SourceLocation
    from cohabit.plan.model import Logging

_WHOLE = "x-cohabit"


def console_of(chosen: Mapping[str, DraftService]) -> str:
    """The service that gets the terminal and the standard input of the container; "" for none.

    The command of `up -- COMMAND`, otherwise the only service with tty or stdin_open: of several, none is preferred.
    """
    given = [name for name, item in chosen.items() if item.service.console]
    asking = [name for name, item in chosen.items() if item.service.tty or item.service.stdin]
    alone = len(asking) == 1 and (chosen[asking[0]].replicas or 1) == 1
    return given[0] if given else asking[0] if alone else ""


def unseen(draft: Draft, chosen: Mapping[str, DraftService]) -> Iterator[Diagnostic]:
    """Services whose output cohabit does not see, though a probe or `mask` needs it."""
    console = console_of(chosen)
    for name, item in chosen.items():
        service = item.service
        hides = draft.mask and (service.secrets or service.secret_files)
        if service.tty and name == console:
            if hides:
                text = (
                    f"services.{name}.tty: cohabit does not see what the service writes to the terminal, so secrets "
                    "are not hidden there (remove tty, or make sure that only the right people see it)"
                )
                yield Diagnostic(item.place("tty"), text, warning=True)
            continue
        drivers = [entry.driver for entry in service.logging if entry.driver in UNSEEN]
        if not drivers:
            continue
        not_seen = f"services.{name}.logging: with driver {drivers[0]} cohabit does not see the output"
        if service.probe and service.probe.kind == "log":
            text = f"{not_seen}, so the LOG probe cannot work (choose another driver)"
            yield Diagnostic(item.place("logging"), text)
        if hides:
            text = f"{not_seen}, so secrets cannot be hidden (choose another driver, or remove x-cohabit: mask)"
            yield Diagnostic(item.place("logging"), text)


def torn_files(draft: Draft, chosen: Mapping[str, DraftService]) -> Iterator[Diagnostic]:
    """Files that several services rotate in different ways, or that have the name of another file after rotation."""
    owners: dict[str, tuple[str, SourceLocation, Logging]] = {}
    for owner, where, entry in _files(draft, chosen):
        first_owner, _, first = owners.setdefault(entry.path, (owner, where, entry))
        if owner != first_owner and _rotation(first) != _rotation(entry):
            text = f"{entry.path} is also a file of {first_owner}, with another max-size, max-file or compress"
            yield Diagnostic(where, f"{_path(owner)}: {text} (write the same)")
    for owner, _, entry in owners.values():
        for old in _old_names(entry):
            if old in owners:
                other, where, _ = owners[old]
                text = f"{old} is a name of {entry.path} of {owner} after rotation (write another path)"
                yield Diagnostic(where, f"{_path(other)}: {text}")


def _files(draft: Draft, chosen: Mapping[str, DraftService]) -> Iterator[tuple[str, SourceLocation, Logging]]:
    """The owner, location and entry of each file; those of the container-wide `logging` come first."""
    for entry in draft.logging:
        if entry.driver == "file":
            yield _WHOLE, draft.where, entry
    for name, item in chosen.items():
        for entry in item.service.logging:
            if entry.driver == "file":
                yield name, item.place("logging"), entry


def _path(owner: str) -> str:
    return f"{_WHOLE}.logging" if owner == _WHOLE else f"services.{owner}.logging"


def _rotation(entry: Logging) -> tuple[int, int, bool]:
    return entry.bytes_max, entry.files_max, entry.compress


def _old_names(entry: Logging) -> Iterator[str]:
    """Names of rotated files. Also without a size limit: rotated files of an earlier run are compressed."""
    if entry.bytes_max or entry.compress:
        for number in range(1, entry.files_max):
            yield f"{entry.path}.{number}"
            yield f"{entry.path}.{number}.gz"
