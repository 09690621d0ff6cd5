"""`up --watch`: whether the rules of develop.watch have an effect here, and what is said of the others. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.errors import EXIT_USAGE
from cohabit.plan.draft import Diagnostic
from cohabit.plan.model import REBUILD, SYNC, SYNC_EXEC

if TYPE_CHECKING:
    from cohabit.plan.draft import Draft
    from cohabit.plan.model import Plan

_NO_RULE = (
    "cannot watch: no service that takes part has develop.watch (write develop: {watch: [{action: restart, "
    "path: DIR}]} below a service, or leave out --watch)"
)
# Actions that restart nothing here, with the reason.
_WITHOUT_EFFECT = {
    SYNC: "a change causes nothing here: the container engine puts the files in place (mount PATH at TARGET)",
    SYNC_EXEC: "the command is not run (write action: restart, or run it outside: cohabit exec SERVICE -- COMMAND)",
    REBUILD: "cohabit builds no images (outside, after a change: docker build, and a new container)",
}


def watched(plan: Plan, draft: Draft) -> tuple[Plan, tuple[Diagnostic, ...]]:
    """The Plan with `watches`; an error if there is no rule, and one warning for each action without an effect."""
    names = {service.service for service in plan.services.values()}
    chosen = [(name, item) for name, item in draft.services.items() if name in names and item.service.watch]
    if not chosen:
        return plan, (Diagnostic(draft.where, _NO_RULE, exit_code=EXIT_USAGE),)
    notes = []
    for action, why in _WITHOUT_EFFECT.items():
        having = [name for name, item in chosen if any(rule.action == action for rule in item.service.watch)]
        if having:
            place = draft.services[having[0]].place("develop")
            notes.append(Diagnostic(place, f"develop.watch: {action} ({', '.join(having)}): {why}", warning=True))
    return plan.replace(watches=True), tuple(notes)
