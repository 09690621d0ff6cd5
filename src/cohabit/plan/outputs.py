"""Whether services and where their output goes fit together: what is not to be seen in one entry of `logging` alone.

Pure. Of a service with a terminal only that is of interest here: it writes to that.
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


def unseen(draft: Draft, chosen: Mapping[str, DraftService]) -> Iterator[Diagnostic]:
    """Services whose output never comes by us, though something is to be done with it."""
    for name, item in chosen.items():
        service = item.service
        hides = draft.mask and (service.secrets or service.secret_files)
        if service.tty:
            if hides:
                passed = f"services.{name}.tty: what it writes on the terminal does not come by us"
                text = f"{passed}, so its secrets are not hidden in it (remove tty, or mind who sees it)"
                yield Diagnostic(item.place("tty"), text, warning=True)
            continue
        drivers = [entry.driver for entry in service.logging if entry.driver in UNSEEN]
        if not drivers:
            continue
        passed = f"services.{name}.logging: with {drivers[0]} its output does not come by us"
        if service.probe and service.probe.kind == "log":
            yield Diagnostic(
                item.place("logging"), f"{passed}, so its probe LOG cannot look at it (choose another driver)"
            )
        if hides:
            text = f"{passed}, so its secrets cannot be hidden in it (choose another driver, or remove x-cohabit: mask)"
            yield Diagnostic(item.place("logging"), text)


def torn_files(draft: Draft, chosen: Mapping[str, DraftService]) -> Iterator[Diagnostic]:
    """Files that several write to, and that each would have rotated in another way, or over another's."""
    owners: dict[str, tuple[str, SourceLocation, Logging]] = {}
    for owner, where, entry in _files(draft, chosen):
        first_owner, _, first = owners.setdefault(entry.path, (owner, where, entry))
        if owner != first_owner and _rotation(first) != _rotation(entry):
            text = f"{entry.path} is {first_owner}'s, too, with another max-size, max-file or compress (write the same)"
            yield Diagnostic(where, f"{_path(owner)}: {text}")
    for owner, _, entry in owners.values():
        for old in _old_names(entry):
            if old in owners:
                other, where, _ = owners[old]
                text = f"{old} is what {owner}'s {entry.path} is called when it is rotated (write another path)"
                yield Diagnostic(where, f"{_path(other)}: {text}")


def _files(draft: Draft, chosen: Mapping[str, DraftService]) -> Iterator[tuple[str, SourceLocation, Logging]]:
    """Whose each file is, and where that was written; those of the whole come first."""
    for entry in draft.logging:
        if entry.driver == "file":
            yield _WHOLE, draft.where, entry
    for name, item in chosen.items():
        for entry in item.service.logging:
            if entry.driver == "file" and not item.service.tty:
                yield name, item.place("logging"), entry


def _path(owner: str) -> str:
    return f"{_WHOLE}.logging" if owner == _WHOLE else f"services.{owner}.logging"


def _rotation(entry: Logging) -> tuple[int, int, bool]:
    return entry.bytes_max, entry.files_max, entry.compress


def _old_names(entry: Logging) -> Iterator[str]:
    """Other files that are touched for this one. Also without a limit: what is left of an earlier one is compressed."""
    if entry.bytes_max or entry.compress:
        for number in range(1, entry.files_max):
            yield f"{entry.path}.{number}"
            yield f"{entry.path}.{number}.gz"
